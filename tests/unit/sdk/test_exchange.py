"""The real exchange is what the SDK promises."""

from __future__ import annotations

from typing import Any

from gatewright.sdk import Consumer, ExchangeView, Policy, PolicyConfig
from gatewright.snapshot.model import Respond
from gatewright.testing.rig import Rig, route


class Look(Policy[PolicyConfig]):
    """Keep the exchange."""

    name, stage, config = "look", "transform", PolicyConfig
    later = frozenset({"response_trailers"})  # of response body hooks alone
    seen: Any = None

    def on_request(self, ex: ExchangeView) -> None:
        Look.seen = {name: getattr(ex, name) for name in {*ExchangeView.__annotations__, "route_name"} - Look.later}
        ex.vars["look.here"] = 1
        ex.consumer = Consumer("me")
        ex.max_body = 10


def test_policies_see_all_that_is_promised(rig: Rig) -> None:
    rig.add_policy(Look)
    rig.apply(route("all", "/{id}", policies={"look": {}}, respond=Respond(200, "hello")))
    rig.client().send(b"GET /7?q HTTP/1.1\r\nhost: x\r\n\r\n")
    seen = Look.seen
    assert (seen["route_name"], seen["params"], seen["client_addr"]) == ("all", {b"id": b"7"}, "127.0.0.1")
    assert (seen["consumer"], seen["reply"], seen["response"]) == (None, None, None)
    assert (seen["request"].path, seen["request"].query) == (b"/7", b"q")
    assert seen["protocol"] == "http1"
    assert seen["started"] == rig.clock.now
    assert seen["max_body"] == 64 * 1024 * 1024
    (record,) = rig.records
    assert record.vars == {"look.here": 1}
    assert record.consumer is not None
    assert record.consumer.name == "me"
