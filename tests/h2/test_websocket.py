"""WebSockets where one side speaks HTTP/2 (RFC 8441), or both do."""

from __future__ import annotations

import re

import pytest
from tests.h2.origins import listener
from tests.h2.raw import (
    CANCEL,
    DATA,
    ENABLE_CONNECT,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    RST_STREAM,
    RawH2,
    RigLink,
    data,
    headers,
    request,
    rst,
    window_update,
)
from tests.h2.upstreams import Script, requests

from gatewright.testing.rig import Rig, route, upstream
from gatewright.testing.wires import Peer
from gatewright.wire.websocket import accept_of

ASK = headers(
    1,
    request((b"sec-websocket-version", b"13"), method=b"CONNECT", protocol=b"websocket", path=b"/chat"),
    END_HEADERS,
)
UPGRADE = (
    b"GET /chat HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)
HELLO = b"\x81\x02hi"
MASKED = b"\x81\x82\0\0\0\0hi"
CLOSE = b"\x88\x02\x03\xe8"


def client_of(rig: Rig, **options: object) -> RawH2:
    rig.apply(route("ws", to="a", websocket_idle=20.0, **options), upstream("a", passive=None), listener())
    client = RawH2(RigLink(rig, rig.client()))
    client.shake_hands()
    return client


def asked(rig: Rig, client: RawH2) -> tuple[Peer, bytes]:
    """The endpoint that has been asked over HTTP/1.1, and the key in it."""
    client.send(ASK)
    origin = rig.origin("a").accept()
    head = origin.take()
    assert head.startswith(b"GET /chat HTTP/1.1\r\nhost: x\r\n")
    assert b"connection: upgrade\r\nupgrade: websocket\r\n" in head
    found = re.search(rb"sec-websocket-key: (\S+)\r\n", head)
    assert found is not None
    return origin, found[1]


def switch(key: bytes) -> bytes:
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-accept: %b\r\nsec-websocket-protocol: chat\r\n\r\n" % accept_of(key)
    )


def test_http2_client_and_http1_endpoint(rig: Rig) -> None:
    client = client_of(rig)
    client.send(ASK)
    client.send(data(1, MASKED, 0))  # it need not wait for the answer
    origin = rig.origin("a").accept()
    key = re.search(rb"sec-websocket-key: (\S+)\r\n", origin.take())
    assert key is not None
    origin.send(switch(key[1]) + HELLO)
    client.read()
    (head,) = client.of(HEADERS)
    assert head.status == 200
    assert head.get(b"sec-websocket-protocol") == b"chat"
    assert {b"sec-websocket-accept", b"connection", b"upgrade"}.isdisjoint(name for name, _ in head.fields)
    assert client.body(1) == HELLO
    assert origin.take() == MASKED
    origin.send(CLOSE)
    origin.end()
    client.read()
    assert (client.body(1), client.ended(1)) == (HELLO + CLOSE, True)
    client.send(data(1, b"", END_STREAM))
    assert origin.closed
    (record,) = rig.records
    assert (record.protocol, record.status, record.bytes_in, record.bytes_out) == ("websocket", 101, 8, 8)
    assert client.is_alive()


def test_both_speak_http2(rig: Rig) -> None:
    script = Script(rig)
    client = RawH2(RigLink(rig, rig.client()))
    client.shake_hands()
    client.send(ASK)
    origin = script.accept((ENABLE_CONNECT, 1))
    origin.read()
    (head,) = requests(origin)
    assert (head.get(b":method"), head.get(b":protocol")) == (b"CONNECT", b"websocket")
    assert head.get(b":path") == b"/chat"
    assert head.get(b"sec-websocket-key") is None
    assert not head.ends
    origin.send(headers(head.stream, [(b":status", b"200")], END_HEADERS), data(head.stream, HELLO, 0))
    client.read()
    assert client.of(HEADERS)[0].status == 200
    assert client.body(1) == HELLO
    client.send(data(1, MASKED, END_STREAM))
    origin.read()
    assert origin.body(head.stream) == MASKED
    assert origin.ended(head.stream)
    origin.send(data(head.stream, CLOSE, END_STREAM))
    client.read()
    assert (client.body(1), client.ended(1)) == (HELLO + CLOSE, True)
    assert len(rig.records) == 1


def test_http1_client_and_http2_endpoint(rig: Rig) -> None:
    script = Script(rig)
    client = script.ask(UPGRADE)
    origin = script.accept((ENABLE_CONNECT, 1))
    origin.read()
    (head,) = requests(origin)
    origin.send(headers(head.stream, [(b":status", b"200")], END_HEADERS))
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer  # the RFC's own example
    client.send(MASKED)
    origin.read()
    assert origin.body(head.stream) == MASKED
    client.close()
    origin.read()
    assert origin.ended(head.stream)
    origin.send(data(head.stream, b"", END_STREAM))
    assert rig.records[0].protocol == "websocket"


def test_an_endpoint_that_does_not_know_them_is_not_asked(rig: Rig) -> None:
    script = Script(rig)
    client = script.ask(UPGRADE)
    origin = script.accept()
    assert client.take().startswith(b"HTTP/1.1 502 ")
    assert not requests(origin)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno", 403),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno", 502),  # a success that is none would open the tunnel
        (switch(b"another"), 502),
    ],
)
def test_what_is_no_switch_is_no_success(rig: Rig, answer: bytes, status: int) -> None:
    client = client_of(rig)
    origin, _ = asked(rig, client)
    origin.send(answer)
    client.read()
    assert client.of(HEADERS)[0].status == status
    assert client.ended(1) or client.of(RST_STREAM)


def test_a_route_may_take_none(rig: Rig) -> None:
    client = client_of(rig, websocket=False)
    client.send(ASK)
    client.read()
    assert client.of(HEADERS)[0].status == 501
    assert rig.origin("a").waiting == 0


def test_a_reset_ends_both_sides(rig: Rig) -> None:
    client = client_of(rig)
    origin, key = asked(rig, client)
    origin.send(switch(key))
    client.send(rst(1, CANCEL))
    assert origin.closed
    assert len(rig.records) == 1
    assert client.is_alive()


def test_silence_ends_with_a_goodbye(rig: Rig) -> None:
    client = client_of(rig)
    origin, key = asked(rig, client)
    origin.send(switch(key))
    rig.advance(22.0)
    client.read()
    assert client.body(1) == b"\x88\x02\x03\xe9"
    assert client.ended(1)
    assert origin.closed
    client.send(data(1, b"", END_STREAM))
    assert rig.records[0].reason == "websocket.idle"


def test_a_client_that_does_not_read_stops_the_endpoint(rig: Rig) -> None:
    client = client_of(rig)
    origin, key = asked(rig, client)
    origin.send(switch(key))
    frame = b"\x82\x7e\x40\x00" + bytes(16_384)
    for _ in range(5):
        origin.send(frame)
    assert not origin.transport.reading
    client.read()
    sent = sum(len(each.payload) for each in client.of(DATA))
    assert sent == 65_535
    client.send(window_update(0, 100_000), window_update(1, 100_000))
    client.read()
    assert origin.transport.reading
    assert len(client.body(1)) == 5 * len(frame)
    client.send(rst(1))
