"""Accepting: limits, and who is behind a load balancer that speaks the PROXY protocol."""

from __future__ import annotations

import pytest

from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream
from gatewright.testing.wires import Peer

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
V1 = b"PROXY TCP4 9.8.7.6 1.1.1.1 1 2\r\n"
V2_LOCAL = bytes.fromhex("0d0a0d0a000d0a515549540a20000000")


def behind_proxy(rig: Rig, address: str = "127.0.0.1", **options: object) -> Peer:
    """A connection of a load balancer."""
    limits = options.pop("limits", model.Limits())
    spec = model.Listener("public", "127.0.0.1:0", proxy_protocol=True, limits=limits, **options)  # type: ignore[arg-type]
    rig.apply(route("all", to="a"), upstream("a"), spec)
    protocol = rig._listeners["public"]._accept()
    peer = Peer(rig, protocol, (address, 1))
    protocol.connection_made(peer.transport)
    return peer


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(("header", "client"), [(V1, b"9.8.7.6"), (V2_LOCAL, b"127.0.0.1")])
def test_the_client_is_who_the_header_names(rig: Rig, header: bytes, client: bytes, size: int) -> None:
    peer = behind_proxy(rig)
    peer.send_split(header + GET, size)
    origin = rig.origin("a").accept()
    assert b"\r\nx-forwarded-for: %b\r\n" % client in origin.received
    origin.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert peer.received.startswith(b"HTTP/1.1 204 ")
    peer.reset()


@pytest.mark.parametrize("data", [GET, b"PROXY TCP4 x 1.1.1.1 1 2\r\n", b"PROXY TCP6 fe80::1%\nx: ::1 1 2\r\n"])
def test_without_a_header_there_is_no_request(rig: Rig, data: bytes) -> None:
    peer = behind_proxy(rig)
    peer.send(data)
    assert peer.aborted
    assert peer.received == b""
    assert rig.origin("a").waiting == 0


def test_a_header_that_does_not_come_is_not_waited_for(rig: Rig) -> None:
    peer = behind_proxy(rig, limits=model.Limits(header_timeout=3.0))
    peer.send(V1[:10])
    rig.advance(2.9)
    assert not peer.closed
    rig.advance(0.2)
    assert peer.aborted


def test_a_connection_that_ends_within_the_header_leaves_nothing(rig: Rig) -> None:
    peer = behind_proxy(rig)
    peer.send(V1[:10])
    peer.reset()
    assert rig.world.watched == 0


def test_where_proxies_are_named_nobody_else_is_believed(rig: Rig) -> None:
    peer = behind_proxy(rig, "8.8.8.8", trusted_proxies=("10.0.0.0/8",))
    rig.settle()
    assert peer.aborted
    peer = behind_proxy(rig, "10.0.0.1", trusted_proxies=("10.0.0.0/8",))
    peer.send(V1 + GET)
    origin = rig.origin("a").accept()
    assert b"x-forwarded-for: 9.8.7.6" in origin.received
    peer.reset()


def test_every_worker_takes_its_share_of_the_connections(rig: Rig) -> None:
    limits = model.Limits(connections=2)
    rig.apply(route("all", to="a"), upstream("a"), model.Listener("public", "127.0.0.1:0", limits=limits))
    first, second, third = rig.client(), rig.client(), rig.client()
    assert (first.closed, second.closed, third.closed) == (False, False, True)
    assert third.received.startswith(b"HTTP/1.1 503 ")
    assert b"listener.connections" in third.received
    second.reset()
    assert not rig.client().closed
    rig._listeners["public"].configure(rig._listeners["public"].runtime, 4)
    assert rig._listeners["public"].most == 1


def test_one_connection_too_many_behind_a_proxy_is_turned_away_with_its_request(rig: Rig) -> None:
    peer = behind_proxy(rig, limits=model.Limits(connections=1))
    peer.send(V1)
    listener = rig._listeners["public"]
    protocol = listener._accept()
    other = Peer(rig, protocol, ("127.0.0.1", 2))
    protocol.connection_made(other.transport)
    other.send(V1 + GET)
    assert other.received.startswith(b"HTTP/1.1 503 ")
    assert other.closed
    assert rig.origin("a").waiting == 0
    peer.reset()


def test_draining_closes_who_has_been_served_and_has_nothing_under_way(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a"))
    new, idle, busy, typing = (rig.client() for _ in range(4))
    idle.send(GET)
    rig.origin("a").accept().send(b"HTTP/1.1 204 No Content\r\n\r\n")
    busy.send(GET)
    typing.send(GET[:5])
    listener = rig._listeners["public"]
    listener.drain(new_too=False)
    rig.settle()
    assert [peer.closed for peer in (new, idle, busy, typing)] == [False, True, False, False]
    listener.drain(new_too=True)
    rig.settle()
    assert new.closed
    rig.origin("a").connections[0].send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert b"connection: close" in busy.received
    assert busy.closed
    listener.abort()
    rig.settle()
    assert typing.aborted
    listener.close()
