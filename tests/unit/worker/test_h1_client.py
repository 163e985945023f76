"""The connection to an endpoint: which answers are believed, and when it is used again (RFC 9112 sections 6.3, 9)."""

from __future__ import annotations

from typing import Any

import pytest

from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream
from gatewright.testing.wires import Peer

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
NO_RETRIES = model.Retries(attempts=0)


@pytest.fixture
def rig(rig: Rig) -> Rig:
    rig.apply(route("all", to="a"), upstream("a", retries=NO_RETRIES, passive=None))
    return rig


def asked(rig: Rig, request: bytes = GET) -> tuple[Peer, Peer]:
    client = rig.client()
    client.send(request)
    return client, rig.origin("a").accept()


@pytest.mark.parametrize(
    "answer",
    [
        *(
            b"HTTP/2 200\r\n\r\n",
            b"ICY 200 OK\r\n\r\n",
            b"HTTP/1.1 2x0 OK\r\n\r\n",
            b"<html>",
            b"HTTP/1.1 200 OK\nx: y\n\n",
        ),
        *(b"HTTP/1.1 200 OK\r\nx\r\n\r\n", b"HTTP/1.1 200 OK\r\nx : y\r\n\r\n", b"HTTP/1.1 200 OK\r\n x: y\r\n\r\n"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 17,
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n",
    ],
)
def test_answers_that_are_not_believed(rig: Rig, answer: bytes) -> None:
    client, origin = asked(rig)
    origin.send(answer)
    final = client.received.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    assert final.startswith(b"HTTP/1.1 502 ")
    assert b"upstream.malformed" in final
    assert origin.aborted
    assert not client.closed


@pytest.mark.parametrize(
    ("answer", "again"),
    [
        (OK, True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 50\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", True),
        (OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), False),
        (OK.replace(b"\r\n\r\n", b"\r\nConnection: a, Close\r\n\r\n"), False),
        (OK.replace(b"1.1", b"1.0"), False),
        (OK.replace(b"1.1", b"1.0").replace(b"\r\n\r\n", b"\r\nconnection: keep-alive\r\n\r\n"), True),
        (OK + b"x", False),
        (b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nx", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok", None),
    ],
)
@pytest.mark.parametrize("size", [1, 100_000])
def test_when_a_connection_is_used_again(rig: Rig, answer: bytes, again: bool | None, size: int) -> None:
    client, origin = asked(rig)
    origin.send_split(answer, size)
    assert len(rig.origin("a").endpoint.pool.idle) == (1 if again else 0)
    if again is False:
        assert origin.closed
        client.send(GET)
        assert rig.origin("a").waiting == 1
    client.reset()
    while rig.origin("a").waiting:
        rig.origin("a").refuse()


def test_head_has_no_body_whatever_its_fields_say(rig: Rig) -> None:
    client, origin = asked(rig, GET.replace(b"GET", b"HEAD"))
    origin.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n")
    assert client.received.endswith(b"\r\n\r\n")
    assert b"content-length: 5000" in client.received
    client.send(GET)
    assert origin.received.count(b" / HTTP/1.1") == 2


def test_a_body_until_the_end_of_the_connection(rig: Rig) -> None:
    client, origin = asked(rig)
    origin.send(b"HTTP/1.1 200 OK\r\n\r\nab")
    origin.send(b"cd")
    origin.end()
    assert client.received.endswith(b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n")
    assert not client.closed


@pytest.mark.parametrize(
    "begin",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
    ],
)
def test_a_body_that_ends_early_is_seen_to_do_so(rig: Rig, begin: bytes) -> None:
    client, origin = asked(rig)
    origin.send(begin)
    origin.end()
    assert client.aborted
    assert rig.records[0].reason == "upstream.truncated"


@pytest.mark.parametrize("how", ["end", "reset"])
def test_an_endpoint_that_says_nothing(rig: Rig, how: str) -> None:
    client, origin = asked(rig)
    getattr(origin, how)()
    assert client.received.startswith(b"HTTP/1.1 502 ")
    assert b"upstream.reset" in client.received


def test_an_idle_connection_that_speaks_is_closed(rig: Rig) -> None:
    _, origin = asked(rig)
    origin.send(OK)
    origin.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
    assert origin.closed
    client, other = asked(rig)
    other.send(OK)
    assert b"poison" not in client.received


def test_idle_and_old_connections_are_closed(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a", pool=model.Pool(idle_timeout=5.0, max_age=12.0)))
    client, origin = asked(rig)
    origin.send(OK)
    rig.advance(4.0)
    client.send(GET)
    origin.send(OK)
    rig.advance(4.0)
    client.send(GET)
    rig.advance(4.5)
    origin.send(OK)
    assert origin.closed
    client, origin = asked(rig)
    origin.send(OK)
    rig.advance(16.0)
    assert origin.closed


def test_an_idle_connection_whose_endpoint_does_not_read_is_given_up(rig: Rig) -> None:
    client, origin = asked(rig, b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx")
    transport: Any = origin.transport
    transport.close = lambda: setattr(transport, "closing", True)
    transport.abort = lambda: transport._rig.soon(transport._lose)
    origin.send(OK)
    assert not origin.closed
    rig.advance(10.2)
    assert origin.closed
    assert rig.origin("a").endpoint.pool.open == 0
    client.close()


# --- time and back-pressure -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "reason", "status"),
    [(b"", b"upstream.timeout", b"504"), (b"HTTP/1.1 100 Continue\r\n\r\n", b"upstream.timeout", b"504")],
)
def test_no_head_in_time(rig: Rig, answer: bytes, reason: bytes, status: bytes) -> None:
    client, origin = asked(rig)
    if answer:
        origin.send(answer)
    rig.advance(15.2)
    assert b"HTTP/1.1 " + status in client.received
    assert reason in client.received
    assert origin.aborted


def test_silence_in_a_body(rig: Rig) -> None:
    client, origin = asked(rig)
    origin.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na")
    rig.advance(59.0)
    origin.send(b"b")
    rig.advance(59.0)
    assert not client.closed
    rig.advance(2.0)
    assert client.aborted
    assert rig.records[0].reason == "upstream.idle_timeout"


def test_an_endpoint_that_reads_slowly_slows_the_client(rig: Rig) -> None:
    client, origin = asked(rig, b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 400000\r\n\r\n")
    origin.stall()
    client.send(b"x" * 100_000)
    assert not client.transport.reading
    rig.advance(30.0)
    origin.unstall()
    assert client.transport.reading
    client.send(b"x" * 300_000)
    rig.advance(10.0)
    origin.send(OK)
    assert client.received.startswith(b"HTTP/1.1 200 ")
    assert origin.received.endswith(b"x" * 400_000)


def test_an_endpoint_that_does_not_read_at_all_fails(rig: Rig) -> None:
    client, origin = asked(rig, b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 400000\r\n\r\n")
    origin.stall()
    client.send(b"x" * 100_000)
    rig.advance(60.2)
    assert client.received.startswith(b"HTTP/1.1 504 ")
    assert origin.aborted
    client.close()


# --- server-sent events ---------------------------------------------------------------------------------------------

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def test_silence_between_events_is_filled_but_not_within_one(rig: Rig) -> None:
    rig.apply(route("all", to="a", sse_heartbeat=10.0), upstream("a"))
    client, origin = asked(rig)
    origin.send(STREAM)
    client.take()
    rig.advance(10.1)
    assert client.take() == b"3\r\n:\n\n\r\n"
    origin.send(b"8\r\ndata: a\n\r\n")
    client.take()
    rig.advance(10.1)
    assert client.take() == b""
    origin.send(b"1\r\n\n\r\n")
    client.take()
    rig.advance(10.1)
    assert client.take() == b"3\r\n:\n\n\r\n"
    rig.advance(60.0)
    assert client.aborted
    assert rig.records[0].protocol == "sse"


def test_a_heartbeat_slower_than_the_idle_limit_is_none(rig: Rig) -> None:
    rig.apply(route("all", to="a", sse_heartbeat=100.0), upstream("a"))
    client, origin = asked(rig)
    origin.send(STREAM)
    client.take()
    rig.advance(60.2)
    assert client.take() == b""
    assert client.aborted


def test_a_bug_with_a_response_is_500(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr("gatewright.proxy.exchange.Exchange.head_back", broken)
    client, origin = asked(rig)
    origin.send(OK)
    assert client.received.startswith(b"HTTP/1.1 500 ")
    assert origin.aborted
    assert [where for where, _ in rig.world.bugs] == ["a response"]
    rig.world.bugs.clear()


@pytest.mark.parametrize("size", [1, 20_000, 200_000])
def test_large_and_small_pieces_both_ways_in_both_codings(rig: Rig, size: int) -> None:
    body = bytes(range(256)) * 800
    client, origin = asked(rig, b"PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    for at in range(0, len(body), max(size, 5000)):
        piece = body[at : at + max(size, 5000)]
        client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    client.send(b"0\r\nx-sum: 1\r\n\r\n")
    assert origin.received.endswith(b"0\r\nx-sum: 1\r\n\r\n")
    origin.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body))
    for at in range(0, len(body), max(size, 5000)):
        origin.send(body[at : at + max(size, 5000)])
    assert client.received.endswith(body)
