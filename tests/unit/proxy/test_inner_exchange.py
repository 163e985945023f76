"""What an inner exchange does not do. What it does is in test_service.py."""

from __future__ import annotations

from tests.unit.proxy.test_service import GET, OK, Asks

from gatewright.sdk import Policy, PolicyConfig
from gatewright.testing.rig import Rig, route, upstream


class Nothing(PolicyConfig):
    """Nothing to choose."""


class Counts(Policy[Nothing]):
    """Counts hooks."""

    __slots__ = ()
    name, stage, config = "counts", "admission", Nothing
    seen: list[str] = []  # noqa: RUF012 - shared on purpose

    def on_request(self, ex: object) -> None:
        self.seen.append("request")

    def on_response(self, ex: object) -> None:
        self.seen.append("response")

    def on_record(self, ex: object) -> None:
        self.seen.append("record")


def test_policies_records_and_the_counts_of_routes_are_for_clients(rig: Rig) -> None:
    rig.add_policy(Counts)
    rig.add_policy(Asks)
    Asks.heard, Asks.headers, Counts.seen = [], (), []
    rig.apply(upstream("a"), route("all", to="a", policies={"counts": {}, "asks": {}}))
    client = rig.client()
    client.send(GET)
    rig.origin("auth").accept().send(OK)
    rig.origin("a").accept().send(OK)
    assert Counts.seen == ["request", "response", "record"]
    assert len(rig.records) == 1
    assert rig.runtime is not None
    assert sum(rig.runtime.routes["all"].stats.counts.values()) == 1
    assert rig.runtime.unmatched.stats.counts == {}
