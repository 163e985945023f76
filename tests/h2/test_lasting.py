"""How long streams last that one side leaves open: no stream is for ever."""

from __future__ import annotations

import pytest
from tests.h2.origins import listener
from tests.h2.raw import (
    CANCEL,
    ENABLE_CONNECT,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW,
    NO_ERROR,
    REFUSED_STREAM,
    RST_STREAM,
    RawH2,
    RigLink,
    data,
    headers,
    request,
    settings,
    window_update,
)
from tests.h2.upstreams import Script, requests

from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream
from gatewright.wire.websocket import accept_of

UPGRADE = (
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)
CHAT = request((b"sec-websocket-version", b"13"), method=b"CONNECT", protocol=b"websocket")
CALL = request((b"content-type", b"application/grpc"), (b"te", b"trailers"), (b"grpc-timeout", b"5S"), method=b"POST")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"


def client_of(rig: Rig, protocol: str = "http1", **timeouts: float) -> RawH2:
    limits = model.Timeouts(**timeouts)
    rig.apply(route("all", to="a"), upstream("a", passive=None, protocol=protocol, timeouts=limits), listener())
    return RawH2(RigLink(rig, rig.client()))


def test_a_call_that_is_over_does_not_wait_for_its_client_for_ever(rig: Rig) -> None:
    client = client_of(rig, "grpc")
    client.shake_hands((INITIAL_WINDOW, 0))
    client.send(headers(1, CALL))
    endpoint = rig.origin("a").accept()
    endpoint.send(settings())
    stream = 1
    head = headers(stream, ((b":status", b"200"), (b"content-type", b"application/grpc")), END_HEADERS)
    endpoint.send(head + data(stream, b"\0\0\0\0\x01x", 0))
    rig.advance(6.0)
    client.read()
    assert client.reset(1) is None
    rig.advance(31.0)
    client.read()
    reset = client.reset(1)
    assert reset is not None
    assert reset.code == CANCEL


def test_an_upload_is_cut_off_behind_an_answer_that_had_to_wait(rig: Rig) -> None:
    client = client_of(rig)
    client.shake_hands((INITIAL_WINDOW, 0))
    client.send(headers(1, request(method=b"POST"), END_HEADERS), data(1, b"x", 0))
    rig.origin("a").accept().send(OK % 5 + b"hello")
    client.send(window_update(1, 1000))
    client.until(lambda: client.ended(1))
    assert client.reset(1) is None
    rig.advance(1.2)
    client.read()
    reset = client.reset(1)
    assert reset is not None
    assert reset.code == NO_ERROR


def test_the_end_of_a_request_buys_no_time_for_a_client_that_takes_nothing(rig: Rig) -> None:
    client = client_of(rig)
    client.shake_hands((INITIAL_WINDOW, 0))
    client.send(headers(1, request(method=b"POST"), END_HEADERS), data(1, b"x", 0))
    rig.origin("a").accept().send(OK % 500 + b"hello")
    client.send(data(1, b"x"))
    rig.advance(31.0)
    client.read()
    reset = client.reset(1)
    assert reset is not None
    assert reset.code == CANCEL


def test_a_client_that_leaves_its_side_of_a_tunnel_open(rig: Rig) -> None:
    client = client_of(rig)
    client.shake_hands()
    client.send(headers(1, CHAT, END_HEADERS))
    origin = rig.origin("a").accept()
    key = origin.take().partition(b"sec-websocket-key: ")[2].partition(b"\r\n")[0]
    origin.send(
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-accept: %b\r\n\r\n" % accept_of(key)
    )
    origin.reset()
    client.until(lambda: client.ended(1))
    rig.advance(1.2)
    client.read()
    assert client.reset(1) is not None


@pytest.mark.parametrize("end", [END_HEADERS, END_HEADERS | END_STREAM])
def test_an_endpoint_that_leaves_its_side_of_a_tunnel_open(rig: Rig, end: int) -> None:
    script = Script(rig)
    client = script.ask(UPGRADE)
    endpoint = script.accept((ENABLE_CONNECT, 1))
    stream = requests(endpoint)[0].stream
    endpoint.send(headers(stream, ((b":status", b"200"),), end))
    assert client.received.startswith(b"HTTP/1.1 101 ")
    if not end & END_STREAM:
        client.reset()
    rig.advance(1.2)
    endpoint.read()
    if not end & END_STREAM:
        assert endpoint.of(RST_STREAM, stream)
    else:
        assert client.transport.ended


def test_a_tunnel_that_its_client_has_ended_at_once(rig: Rig) -> None:
    client = client_of(rig)
    client.shake_hands()
    client.send(headers(1, CHAT))
    origin = rig.origin("a").accept()
    key = origin.take().partition(b"sec-websocket-key: ")[2].partition(b"\r\n")[0]
    origin.send(
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-accept: %b\r\n\r\n" % accept_of(key)
    )
    assert origin.transport.ended


@pytest.mark.parametrize("protocol", ["http1", "h2"])
def test_a_slow_client_changes_no_time_of_what_has_not_been_answered(rig: Rig, protocol: str) -> None:
    client = client_of(rig, protocol, first_byte=30.0, idle=5.0)
    client.shake_hands()
    client.send(headers(1, request()))
    origin = rig.origin("a").accept()
    if protocol == "h2":
        origin.send(settings())
    protocol_of_client = client.link.peer.transport._protocol  # type: ignore[attr-defined]
    protocol_of_client.pause_writing()
    protocol_of_client.resume_writing()
    rig.advance(20.0)
    client.read()
    assert client.head(1) is None
    rig.advance(12.0)
    client.read()
    head = client.head(1)
    assert head is not None
    assert head.status == 504


def test_a_tunnel_takes_no_trailers(rig: Rig) -> None:
    """RFC 9113 section 8.5: a stream error, and the client hears of the end."""
    script = Script(rig)
    client = script.ask(UPGRADE)
    endpoint = script.accept((ENABLE_CONNECT, 1))
    stream = requests(endpoint)[0].stream
    endpoint.send(headers(stream, ((b":status", b"200"),), END_HEADERS))
    assert client.received.startswith(b"HTTP/1.1 101 ")
    endpoint.send(headers(stream, ((b"x", b"y"),)))
    rig.settle()
    assert client.closed
    endpoint.read()
    assert endpoint.of(RST_STREAM, stream)


def test_a_request_that_comes_when_we_leave_costs_the_others_nothing(rig: Rig) -> None:
    client = client_of(rig)
    client.shake_hands()
    client.send(headers(1, request()))
    client.link.peer.transport._protocol.drain(new_too=True)  # type: ignore[attr-defined]
    rig.advance(1.2)
    client.send(headers(3, request(method=b"POST"), END_HEADERS), data(3, b"x", 0), headers(3, ((b"x", b"y"),)))
    client.read()
    refused = client.reset(3)
    assert refused is not None
    assert refused.code == REFUSED_STREAM
    rig.origin("a").accept().send(OK % 2 + b"ok")
    client.until(lambda: client.ended(1))
    assert client.body(1) == b"ok"


def test_a_slow_reader_has_time_as_long_as_it_reads(rig: Rig) -> None:
    rig.apply(route("all", respond=model.Respond(body="x" * 200_000)), listener(body_timeout=10.0))
    client = RawH2(RigLink(rig, rig.client()))
    client.shake_hands()
    client.send(headers(1, request()))
    client.read()
    for _ in range(8):
        rig.advance(9.0)
        client.send(window_update(0, 17_000), window_update(1, 17_000))
        client.read()
    assert client.ended(1)
    assert len(client.body(1)) == 200_000


def test_a_reader_that_takes_next_to_nothing_has_not(rig: Rig) -> None:
    rig.apply(route("all", respond=model.Respond(body="x" * 200_000)), listener(body_timeout=10.0))
    client = RawH2(RigLink(rig, rig.client()))
    client.shake_hands()
    client.send(headers(1, request()))
    for _ in range(3):
        rig.advance(9.0)
        client.send(window_update(0, 300), window_update(1, 300))
        client.read()
    assert client.reset(1) is not None


def test_the_refusal_of_a_head_request_has_no_body(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a"), listener())
    client = RawH2(RigLink(rig, rig.client()))
    client.shake_hands()
    client.send(headers(1, request((b"expect", b"a miracle"), method=b"HEAD")))
    client.read()
    assert client.of(HEADERS)[0].status == 417
    assert (client.body(1), client.ended(1)) == (b"", True)
    client.send(headers(3, request((b"expect", b"a miracle"))))
    client.read()
    assert b"request.expectation" in client.body(3)
