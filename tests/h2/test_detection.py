"""Which version a plain port speaks is told by the first octets (RFC 9113 section 3.3)."""

from __future__ import annotations

import pytest
from tests.h2.origins import H1Origin
from tests.h2.raw import PREFACE, PROTOCOL, SETTINGS, RawH2, RigLink, headers, request, settings
from tests.h2.upstreams import Answer

from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream
from gatewright.testing.wires import Peer

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
BOTH = ("http1", "h2c")


def connect(rig: Rig, *protocols: str) -> tuple[Peer, H1Origin]:
    rig.apply(
        route("all", to="a"), upstream("a", passive=None), model.Listener("public", "127.0.0.1:0", protocols=protocols)
    )
    return rig.client(), H1Origin(rig)


def speaks_http2(rig: Rig, client: Peer, origin: H1Origin) -> None:
    peer = RawH2(RigLink(rig, client))
    peer.read()
    peer.send(headers(1, request()))
    origin.serve()
    peer.read()
    assert (peer.seen[0].kind, peer.body(1), peer.ended(1)) == (SETTINGS, b"ok", True)


@pytest.mark.parametrize("size", [1, 2, 5, 17, 18, 19, 24, 25])
def test_the_preface_in_pieces(rig: Rig, size: int) -> None:
    client, origin = connect(rig, *BOTH)
    client.send_split(PREFACE + settings(), size)
    speaks_http2(rig, client, origin)


def test_nothing_is_said_before_the_client_has(rig: Rig) -> None:
    client, origin = connect(rig, *BOTH)
    assert client.received == b""
    client.send(PREFACE[:18])
    client.send(PREFACE[18:] + settings())
    speaks_http2(rig, client, origin)


def test_http1_beside_it(rig: Rig) -> None:
    client, origin = connect(rig, *BOTH)
    client.send(GET)
    origin.serve()
    assert Answer(client).body == b"ok"
    second = rig.client()
    second.send(PREFACE + settings())
    speaks_http2(rig, second, origin)
    assert sorted(record.protocol for record in rig.records) == ["http1", "http2"]


def test_a_connection_does_not_change_its_version(rig: Rig) -> None:
    client, origin = connect(rig, *BOTH)
    client.send(GET)
    origin.serve()
    first = len(client.received)
    client.send(PREFACE + settings())
    rig.advance(5)
    assert client.received[first:].startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 505 "))
    client.reset()


def test_a_port_without_http2_refuses_the_preface(rig: Rig) -> None:
    client, _ = connect(rig, "http1")
    client.send(PREFACE + settings())
    assert client.received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 505 "))
    client.reset()


def test_a_port_without_http1_refuses_its_requests(rig: Rig) -> None:
    client, origin = connect(rig, "h2c")
    client.send(GET)
    peer = RawH2(RigLink(rig, client))
    peer.until(lambda: peer.closed)
    assert peer.goaway is not None
    assert peer.goaway.code == PROTOCOL
    second = rig.client()
    second.send(PREFACE + settings())
    speaks_http2(rig, second, origin)


@pytest.mark.parametrize(
    "start",
    [b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n", b"PRX * HTTP/2.0\r\n\r\n"],
    ids=["no SM", "slash", "version", "method"],
)  # fmt: skip
def test_what_is_not_quite_the_preface(rig: Rig, start: bytes) -> None:
    client, origin = connect(rig, *BOTH)
    client.send(start)
    client.send(settings())
    rig.advance(5)
    assert client.closed
    assert not origin.begun
    assert b" 200 " not in client.received


def test_a_preface_that_does_not_come_to_its_end_takes_no_longer_than_a_head(rig: Rig) -> None:
    for count in (0, 3, 18, 20):
        client, _ = connect(rig, *BOTH)
        client.send(PREFACE[:count])
        rig.advance(15)
        assert client.closed


def test_upgrading_is_gone(rig: Rig) -> None:
    client, origin = connect(rig, *BOTH)
    client.send(
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n"
    )
    origin.serve()
    assert (Answer(client).status, Answer(client).body) == (200, b"ok")
    names = [name for name, _ in origin.requests[0][2]]
    assert b"upgrade" not in names
    assert b"http2-settings" not in names
