"""What is tried again, where, and what the client is told when nothing helps."""

from __future__ import annotations

from typing import Any

import pytest

from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream
from gatewright.testing.wires import Peer

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nab"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


def serve(
    rig: Rig, *endpoints: str, attempts: int = 1, on: tuple[str, ...] = ("connect", "reset"), **options: Any
) -> Peer:
    retries = model.Retries(attempts=attempts, on=on, backoff=0.01)
    failover = options.pop("failover", None)
    rig.apply(
        route("all", to="u", retries=retries),
        upstream("u", *(endpoints or ("a",)), passive=None, failover=failover, **options),
        upstream("f", passive=None),
    )
    return rig.client()


def test_another_endpoint_is_tried_and_the_client_sees_one_answer(rig: Rig) -> None:
    client = serve(rig, "a", "b")
    client.send(GET)
    first, second = ("a", "b") if rig.origin("a").waiting else ("b", "a")
    rig.origin(first).refuse()
    rig.advance(0.1)
    rig.origin(second).accept().send(OK)
    assert client.received.startswith(b"HTTP/1.1 200 ")
    assert (rig.records[0].tries, rig.records[0].endpoint.host) == (2, second)


def test_the_last_failure_is_what_the_client_is_told(rig: Rig) -> None:
    client = serve(rig)
    client.send(GET)
    rig.origin("a").refuse()
    rig.advance(0.1)
    while rig.origin("a").waiting:
        rig.origin("a").refuse("connect_timeout")
        rig.advance(0.1)
    assert client.received.startswith(b"HTTP/1.1 50")
    assert b"upstream.connect" in client.received


def test_an_upstream_without_endpoints(rig: Rig) -> None:
    rig.apply(route("all", to="u"), model.Upstream("u", ()))
    client = rig.client()
    client.send(GET)
    assert client.received.startswith(b"HTTP/1.1 503 ")
    assert b"upstream.none" in client.received


def test_an_upstream_without_endpoints_fails_over(rig: Rig) -> None:
    rig.apply(route("all", to="u"), model.Upstream("u", (), failover="f"), upstream("f"))
    client = rig.client()
    client.send(POST)
    origin = rig.origin("f").accept()
    assert origin.received.endswith(b"\r\n\r\nab")
    origin.send(OK)
    assert client.received.startswith(b"HTTP/1.1 200 ")
    assert rig.records[0].upstream_name == "f"


@pytest.mark.parametrize(("request_", "fails_over"), [(GET, True), (POST, False)])
def test_a_request_that_may_have_been_done_fails_over_only_when_that_does_not_matter(
    rig: Rig, request_: bytes, fails_over: bool
) -> None:
    client = serve(rig, attempts=0, failover="f")
    client.send(request_)
    rig.origin("a").accept().reset()
    assert (rig.origin("f").waiting == 1) is fails_over
    assert client.received.startswith(b"HTTP/1.1 502 ") is not fails_over
    client.reset()
    while rig.origin("f").waiting:
        rig.origin("f").refuse()


def test_a_status_worth_another_try_and_then_the_failover(rig: Rig) -> None:
    client = serve(rig, on=("503",), failover="f")
    client.send(GET)
    origin = rig.origin("a").accept()
    origin.send(UNAVAILABLE)
    assert client.received == b""
    rig.advance(0.1)
    for peer in rig.origin("a").connections:
        if not peer.closed:
            peer.send(UNAVAILABLE)
    while rig.origin("a").waiting:
        rig.origin("a").accept().send(UNAVAILABLE)
    rig.advance(0.1)
    rig.origin("f").accept().send(OK)
    assert client.received.startswith(b"HTTP/1.1 200 ")
    assert client.received.count(b"HTTP/1.1 ") == 1


def test_a_status_is_passed_on_when_all_tries_are_used(rig: Rig) -> None:
    client = serve(rig, on=("503",), attempts=0)
    client.send(GET)
    rig.origin("a").accept().send(UNAVAILABLE)
    assert client.received.startswith(b"HTTP/1.1 503 ")
    assert rig.records[0].reason == ""


def test_stale_connections_do_not_count_as_tries_for_ever(rig: Rig) -> None:
    """RFC 9112 section 9.3.1: a request on a connection that was closed meanwhile may be sent again."""
    client = serve(rig, attempts=0)
    clients = [rig.client() for _ in range(6)]
    for each in clients:
        each.send(GET)
    peers = [rig.origin("a").accept() for _ in clients]
    for peer in peers:
        peer.send(OK)
        peer.take()
    client.send(GET)
    ended = 0
    while (asked := next((peer for peer in peers if not peer.closed and peer.take()), None)) is not None:
        asked.reset()
        ended += 1
    assert ended <= 5
    assert client.received.startswith(b"HTTP/1.1 502 ")


def test_a_retry_in_its_pause_ends_with_its_client(rig: Rig) -> None:
    client = serve(rig)
    client.send(GET)
    rig.origin("a").refuse()
    client.reset()
    rig.advance(5.0)
    assert rig.origin("a").waiting == 0
    assert rig.records[0].reason == "client.gone"


def test_a_sticky_upstream_leads_clients_back(rig: Rig) -> None:
    rig.apply(route("all", to="u"), upstream("u", "a", "b", sticky=model.Sticky("srv")))
    client = rig.client()
    client.send(GET)
    name = "a" if rig.origin("a").waiting else "b"
    rig.origin(name).accept().send(OK)
    assert b"\r\nset-cookie: srv=" in client.received
    cookie = client.received.partition(b"set-cookie: ")[2].partition(b";")[0]
    for _ in range(3):
        again = rig.client()
        again.send(GET.replace(b"\r\n\r\n", b"\r\ncookie: %b\r\n\r\n" % cookie))
        rig.origin(name).connections[0].send(OK)
        assert again.received.startswith(b"HTTP/1.1 200 ")
        assert b"set-cookie" not in again.received
