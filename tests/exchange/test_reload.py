"""A new configuration while exchanges run."""

from __future__ import annotations

import gc

from gatewright.proxy.runtime import Runtime
from gatewright.testing.rig import Rig, route, upstream

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def runtimes() -> int:
    return sum(type(each) is Runtime for each in gc.get_objects())


def test_unchanged_routes_and_upstreams_live_on(rig: Rig) -> None:
    one, two = route("one", "/one", to="a", digest="1"), route("two", "/two", to="a", digest="2")
    first = rig.apply(one, two, upstream("a"))
    second = rig.apply(one, route("two", "/two", to="a", digest="3"), upstream("a"))
    assert second.routes["one"] is first.routes["one"]
    assert second.routes["two"] is not first.routes["two"]
    assert second.upstreams["a"] is first.upstreams["a"]


def test_old_runtimes_are_freed_without_the_collector(rig: Rig) -> None:
    gc.collect()
    before = runtimes()
    gc.disable()
    try:
        for digest in "1234":
            rig.apply(route("all", to="a", digest=digest), upstream("a"))
        client = rig.client()
        client.send(GET)
        origin = rig.origin("a").accept()
        rig.apply(route("all", to="a", digest="5"), upstream("a"))
        origin.send(OK)
        assert client.received.endswith(b"ok")
        assert runtimes() == before + 1
    finally:
        gc.enable()


def test_connections_to_endpoints_that_are_gone_are_closed(rig: Rig) -> None:
    rig.apply(route("all", to="u"), upstream("u", "a"))
    client = rig.client()
    client.send(GET)
    origin = rig.origin("a").accept()
    origin.send(OK)
    assert not origin.closed
    rig.apply(route("all", to="u"), upstream("u", "b"))
    rig.settle()
    assert origin.closed
    client.send(GET)
    rig.origin("b").accept().send(OK)


def test_exchange_in_flight_ends_at_the_endpoint_that_is_gone(rig: Rig) -> None:
    rig.apply(route("all", to="u"), upstream("u", "a"))
    client = rig.client()
    client.send(GET)
    origin = rig.origin("a").accept()
    rig.apply(route("all", to="u"), upstream("u", "b"))
    origin.send(OK)
    rig.settle()
    assert client.received.endswith(b"ok")
    assert origin.closed


def test_refused_configuration_changes_nothing(rig: Rig) -> None:
    first = rig.apply(route("all", to="a"), upstream("a"))
    try:
        rig.apply(route("all", to="a", policies={"cors": {"origins": ["~("]}}), upstream("a", "x"))
    except ValueError:
        pass
    else:
        raise AssertionError("it was not refused")
    assert rig.runtime is first
    assert [each.key for each in first.upstreams["a"].endpoints] == ["http://a:80"]
