"""What streams of one connection share must not let one of them stop, starve or outlive the others."""

from __future__ import annotations

import pytest
from tests.h2.origins import listener
from tests.h2.raw import (
    ENABLE_CONNECT,
    END_HEADERS,
    INITIAL_WINDOW,
    MAX_STREAMS,
    WINDOW_UPDATE,
    RawH2,
    RigLink,
    block,
    data,
    headers,
    literal,
    request,
    window_update,
)
from tests.h2.upstreams import Answer, Script, requests

from gatewright.testing.rig import Rig, endpoint, route, upstream

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
OK = ((b":status", b"200"),)
LARGE = (1 << 31) - 1 - 65_535


@pytest.fixture
def client(rig: Rig) -> RawH2:
    rig.apply(route("all", to="a"), upstream("a", passive=None), listener())
    return RawH2(RigLink(rig, rig.client()))


def post(stream: int) -> bytes:
    return headers(stream, request(method=b"POST"), END_HEADERS)


def test_many_uploads_at_once_do_not_stop_each_other(client: RawH2) -> None:
    """Each of them has taken less than half of its own window, all together more than the connection's."""
    client.shake_hands()
    streams = range(1, 80, 2)
    for stream in streams:
        client.send(post(stream))
    sent = 0
    for _ in range(3):
        for stream in streams:
            sent += 16_000
            client.read()
            credit = sum(update.number for update in client.of(WINDOW_UPDATE, 0))
            assert sent <= 65_535 + credit, "the connection's window is closed, though nobody is slow"
            client.send(data(stream, b"x" * 16_000, 0))


def test_a_client_that_does_not_read_stops_answers_to_later_requests(rig: Rig, client: RawH2) -> None:
    client.shake_hands((INITIAL_WINDOW, LARGE))
    client.send(window_update(0, LARGE), headers(1, request()))
    transport = client.link.peer.transport  # type: ignore[attr-defined]
    transport.stall()
    first = rig.origin("a").accept()
    first.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 100_000)
    client.send(post(3), data(3, b"x", 0))
    second = rig.origin("a").accept()
    second.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n")
    for _ in range(100):
        second.send(b"x" * 100_000)
    assert transport.get_write_buffer_size() < 400_000
    transport.unstall()
    client.until(lambda: (len(client.body(1)), len(client.body(3))) == (100_000, 10_000_000))


def test_connect_with_a_length(rig: Rig) -> None:
    rig.apply(route("ws", to="a"), upstream("a", passive=None), listener())
    client = RawH2(RigLink(rig, rig.client()))
    client.shake_hands()
    fields = request(
        (b"sec-websocket-version", b"13"), (b"content-length", b"40"), method=b"CONNECT", protocol=b"websocket"
    )
    client.send(headers(1, fields, END_HEADERS))
    assert rig.origin("a").waiting == 0
    client.read()
    assert client.reset(1) is not None


def test_a_refused_websocket_ends_at_once(rig: Rig) -> None:
    script = Script(rig)
    client = script.ask(
        b"GET /chat HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
    )
    endpoint = script.accept((ENABLE_CONNECT, 1))
    endpoint.send(headers(requests(endpoint)[0].stream, ((b":status", b"403"),)))
    answer = Answer(client)
    assert (answer.status, answer.complete) == (403, True)


def test_an_endpoint_that_is_removed_while_it_is_called_serves_who_waits(rig: Rig) -> None:
    script = Script(rig)
    client = script.ask(GET)
    rig.apply(route("all", to="a"), upstream("a", endpoint("new"), passive=None, protocol="h2"), listener())
    old = script.accept()
    assert len(requests(old)) == 1
    old.send(headers(requests(old)[0].stream, OK))
    assert Answer(client).status == 200
    rig.settle()
    assert (old.closed, script.origin.waiting) == (True, 0)


def test_requests_that_wait_are_not_given_to_a_connection_that_fails(rig: Rig) -> None:
    script = Script(rig, max_connections=1)
    first, second = script.ask(GET), script.ask(GET)
    endpoint = script.accept((MAX_STREAMS, 1))
    stream = requests(endpoint)[0].stream
    endpoint.send(data(stream + 100, b"x"))  # idle: a connection error
    assert Answer(first).status == 502
    rig.settle()
    another = script.accept((MAX_STREAMS, 1))
    another.send(headers(requests(another)[0].stream, OK))
    assert Answer(second).status == 200


def test_what_a_connection_keeps_is_small_also_decoded(client: RawH2) -> None:
    """One octet of a block stands for a field of 3,000."""
    client.shake_hands()
    head = block(request())
    client.send(headers(1, head + literal(b"x-large", b"x" * 3_000, 0x40)))
    reader = client.link.peer.transport._protocol.reader  # type: ignore[attr-defined]
    for stream, section in ((3, b"\xbe" * 10), (5, b"\xbe"), (7, b"\xbe" * 10)):
        client.send(headers(stream, head + section))
    assert set(reader._sections) == {b"\xbe"}
    assert set(reader._heads) == {head + b"\xbe"}
