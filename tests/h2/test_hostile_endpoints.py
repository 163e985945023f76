"""Endpoints that attack the gateway over HTTP/2: their connection ends, their exchanges fail, the next ones are served."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.h2.raw import (
    CALM,
    END_HEADERS,
    FLOW_CONTROL,
    INITIAL_WINDOW,
    SETTINGS,
    RawH2,
    block,
    continuation,
    data,
    frame,
    goaway,
    headers,
    literal,
    ping,
    priority,
    rst,
    settings,
    window_update,
)
from tests.h2.upstreams import Answer, Script, requests

from gatewright.testing.rig import Rig
from gatewright.testing.wires import Peer

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
OK = ((b":status", b"200"),)
HINTS = ((b":status", b"103"), (b"link", b"</a>"))
MANY = 50_000

#: What an endpoint may send without an end, for the stream of a request.
FLOODS: dict[str, Callable[[int], bytes]] = {
    "pings": lambda _: ping(),
    "ping acknowledgements": lambda _: ping(flags=1),
    "settings": lambda _: settings((INITIAL_WINDOW, 1000)),
    "settings acknowledgements": lambda _: frame(SETTINGS, 1),
    "empty data": lambda stream: data(stream, b"", 0),
    "padded empty data": lambda stream: frame(0, 8, stream, b"\0"),
    "priorities": priority,
    "unknown frames": lambda _: frame(0x33, 0, 0, b"x"),
    "goaway": lambda _: goaway((1 << 31) - 1),
    "tiny window updates": lambda _: window_update(0, 1),
    "resets of what is closed": lambda stream: rst(stream - 2),
    "headers of what is closed": lambda stream: headers(stream - 2, OK),
}


def ask(script: Script) -> tuple[Peer, RawH2, int]:
    """A request, the connection it has come on, and its stream; one exchange before it is over."""
    first = script.ask(GET)
    endpoint = script.accept()
    stream = requests(endpoint)[-1].stream
    endpoint.send(headers(stream, (*OK, (b"content-length", b"0"))))
    assert Answer(first).status == 200
    client = script.ask(GET)
    endpoint.read()
    stream = requests(endpoint)[-1].stream
    return client, endpoint, stream


def flood(endpoint: RawH2, piece: bytes, together: int = 100) -> int:
    """Send it, so many in a segment, until the gateway has had enough."""
    for sent in range(0, MANY, together):
        endpoint.send(piece * together)
        endpoint.read()
        if endpoint.goaway is not None or endpoint.closed:
            return sent
    return MANY


def still_serves(script: Script) -> None:
    client = script.ask(GET)
    endpoint = script.accept()
    endpoint.send(headers(requests(endpoint)[-1].stream, (*OK, (b"content-length", b"0"))))
    assert Answer(client).status == 200


@pytest.mark.parametrize("name", FLOODS)
def test_frames_that_do_nothing(rig: Rig, name: str) -> None:
    script = Script(rig)
    client, endpoint, stream = ask(script)
    endpoint.send(headers(stream, OK, END_HEADERS))
    assert flood(endpoint, FLOODS[name](stream)) < 5000
    endpoint.until(lambda: endpoint.closed)
    assert endpoint.goaway is not None
    assert endpoint.goaway.code == CALM
    assert not Answer(client).complete
    still_serves(script)


def test_informational_responses_without_end(rig: Rig) -> None:
    script = Script(rig)
    client, endpoint, stream = ask(script)
    assert flood(endpoint, headers(stream, HINTS, END_HEADERS)) < 5000
    assert len(Answer(client).interim) < 5000
    assert Answer(client).status == 502
    still_serves(script)


@pytest.mark.parametrize("size", [0, 16_000])
def test_header_blocks_without_end(rig: Rig, size: int) -> None:
    script = Script(rig)
    client, endpoint, stream = ask(script)
    endpoint.send(headers(stream, OK, 0))
    assert flood(endpoint, continuation(stream, literal(b"x", b"y" * size)[: size or 0], 0)) < 200
    assert Answer(client).status == 502
    still_serves(script)


def test_hpack_bomb(rig: Rig) -> None:
    script = Script(rig)
    client, endpoint, stream = ask(script)
    bomb = block(OK) + literal(b"bomb", b"x" * 4000, 0x40) + b"\xbe" * 12_000
    endpoint.send(headers(stream, bomb, END_HEADERS))
    assert Answer(client).status == 502
    after = script.ask(GET)
    endpoint.read()
    endpoint.send(headers(requests(endpoint)[-1].stream, block(OK) + b"\xbe"))
    assert (b"bomb", b"x" * 4000) in Answer(after).headers


def test_hpack_bomb_in_trailers(rig: Rig) -> None:
    script = Script(rig)
    client, endpoint, stream = ask(script)
    endpoint.send(headers(stream, block(OK) + literal(b"bomb", b"x" * 4000, 0x40), END_HEADERS))
    endpoint.send(data(stream, b"hello", 0), headers(stream, b"\xbe" * 16_000))
    assert not Answer(client).complete
    assert client.closed


def test_more_than_the_client_has_asked_for(rig: Rig) -> None:
    """Data beyond the window of the stream: its client does not read."""
    script = Script(rig)
    client, endpoint, stream = ask(script)
    client.stall()
    endpoint.send(headers(stream, OK, END_HEADERS))
    assert flood(endpoint, data(stream, b"x" * 16_000, 0), together=4) < 200
    assert len(client.received) < 1 << 20
    assert endpoint.goaway is not None
    assert endpoint.goaway.code == FLOW_CONTROL
    client.reset()
