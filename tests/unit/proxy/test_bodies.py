"""Request bodies: sent once, kept while another try may need them, never more in memory than said."""

from __future__ import annotations

from typing import Any

import pytest

from gatewright.proxy.bodies import MOST_KEPT, RequestBody
from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream

PUT = b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Connection:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.ended: tuple[Any, ...] | None = None

    def send_body(self, data: bytes) -> None:
        self.sent.append(data)

    def send_end(self, trailers: tuple[Any, ...]) -> None:
        self.ended = trailers


def start(body: RequestBody, *, again: bool) -> Connection:
    conn = Connection()
    body.start(conn, again=again)  # type: ignore[arg-type]
    return conn


def test_what_is_held_is_sent_when_a_connection_is_here() -> None:
    body = RequestBody(4)
    assert not body.hold(b"ab")
    assert not body.hold(b"")
    assert not body.hold(b"cd")
    conn = start(body, again=False)
    assert (conn.sent, conn.ended) == ([b"ab", b"cd"], None)
    assert body.kept is None
    assert start(body, again=True).sent == []


def test_what_was_sent_can_be_sent_again_with_its_end() -> None:
    body = RequestBody(4)
    start(body, again=True)
    body.sent(b"ab")
    body.done, body.trailers = True, ((b"x", b"y"),)
    conn = start(body, again=True)
    assert (conn.sent, conn.ended) == ([b"ab"], ((b"x", b"y"),))


def test_a_large_body_is_not_kept_and_a_client_without_connection_pauses() -> None:
    body = RequestBody(MOST_KEPT * 2)
    assert not body.hold(b"x" * MOST_KEPT)
    assert body.hold(b"x")
    start(body, again=True)
    assert body.kept is None
    assert body.hold(b"more") is True
    other = RequestBody(MOST_KEPT * 2)
    other.sent(b"x" * MOST_KEPT)
    assert other.kept is not None
    other.sent(b"x")
    assert other.kept is None
    other.sent(b"x")
    assert other.kept is None


# --- on the wire ----------------------------------------------------------------------------------------------------


@pytest.fixture
def warm(rig: Rig) -> Rig:
    """An upstream with two idle connections, and a failover upstream with one."""
    retries = model.Retries(attempts=1, on=("reset", "503"), backoff=0.01)
    rig.apply(
        route("f", "/f", to="f"),
        route("all", to="a", retries=retries),
        upstream("a", failover="f", passive=None),
        upstream("f", passive=None),
    )
    clients = [rig.client(), rig.client()]
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    for origin in (rig.origin("a").accept(), rig.origin("a").accept()):
        origin.send(OK)
        origin.take()
    clients[0].send(b"GET /f HTTP/1.1\r\nhost: x\r\n\r\n")
    rig.origin("f").accept().send(OK)
    rig.origin("f").connections[0].take()
    for client in clients:
        client.reset()
    return rig


def test_a_body_on_a_stale_connection_goes_out_again_at_once(warm: Rig) -> None:
    client = warm.client()
    client.send(PUT % 2 + b"ab")
    old, new = warm.origin("a").connections
    if old.transport.written[-2:] != b"ab":
        old, new = new, old
    old.reset()
    assert new.take().endswith(b"\r\n\r\nab")
    new.send(OK)
    assert client.received == OK.replace(b"\r\n\r\n", b"\r\n" + warm.world.date_line + b"\r\n")


def test_a_body_goes_to_the_failover_upstream(warm: Rig) -> None:
    client = warm.client()
    client.send(PUT % 2 + b"ab")
    for _ in range(2):
        for origin in warm.origin("a").connections:
            if origin.take():
                origin.send(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")
        while warm.origin("a").waiting:
            warm.origin("a").accept()
        warm.advance(0.1)
    failover = warm.origin("f").connections[0]
    assert failover.take().endswith(b"\r\n\r\nab")
    failover.send(OK)
    assert client.received.startswith(b"HTTP/1.1 200 ")
    assert warm.records[-1].upstream_name == "f"


def test_a_client_with_a_large_body_waits_for_the_connection(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a"))
    client = rig.client()
    client.send(PUT % 300_000)
    for _ in range(3):
        client.send(b"x" * 50_000)
    assert not client.transport.reading
    client.send(b"x" * 150_000)
    origin = rig.origin("a").accept()
    assert client.transport.reading
    assert len(origin.received.partition(b"\r\n\r\n")[2]) == 300_000
    origin.send(OK)
    assert client.received.startswith(b"HTTP/1.1 200 ")


def test_chunks_are_counted_against_the_limit_of_the_route(rig: Rig) -> None:
    rig.apply(route("all", to="a", max_body=10), upstream("a"))
    client = rig.client()
    client.send(b"PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 10)
    origin = rig.origin("a").accept()
    client.send(b"1\r\nx\r\n")
    assert client.received.startswith(b"HTTP/1.1 413 ")
    assert origin.aborted
    client.close()
