"""Bytes both ways after a switch to WebSocket (RFC 6455): nothing is lost, nothing follows a goodbye."""

from __future__ import annotations

from typing import Any

import pytest

from gatewright.sdk import ExchangeView, Policy, PolicyConfig
from gatewright.snapshot import model
from gatewright.testing.rig import Rig, Waiting, route, upstream
from gatewright.testing.wires import Peer

UPGRADE = b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
HELLO = b"\x81\x02hi"
MASKED = b"\x81\x82\0\0\0\0hi"


def opened(rig: Rig, early: bytes = b"", **options: Any) -> tuple[Peer, Peer]:
    rig.apply(route("ws", to="a", websocket_idle=20.0, **options), upstream("a", pool=model.Pool(max_connections=1)))
    client = rig.client()
    client.send(UPGRADE)
    origin = rig.origin("a").accept()
    origin.send(SWITCH + early)
    assert (
        client.take()
        == SWITCH.replace(b"Switching Protocols\r\nconnection", b"Switching Protocols\r\nconnection") + early
    )
    assert origin.take().endswith(b"connection: upgrade\r\nupgrade: websocket\r\n\r\n")
    return client, origin


def test_bytes_pass_both_ways_with_what_came_early(rig: Rig) -> None:
    client, origin = opened(rig, early=HELLO)
    client.send(MASKED)
    assert origin.take() == MASKED
    origin.send(HELLO)
    assert client.take() == HELLO
    client.close()
    assert origin.closed
    record = rig.records[0]
    assert (record.status, record.bytes_in, record.bytes_out, record.protocol) == (101, 8, 8, "websocket")


def test_what_a_client_sends_ahead_of_the_switch_arrives_however_much(rig: Rig) -> None:
    rig.apply(route("ws", to="a"), upstream("a"))
    client = rig.client()
    client.send(UPGRADE)
    frame = b"\x82\xff" + (200_000).to_bytes(8, "big") + b"mask" + b"x" * 200_000
    client.send(frame[:100_000])
    assert not client.transport.reading
    client.send(frame[100_000:])
    origin = rig.origin("a").accept()
    origin.take()
    origin.send(SWITCH)
    assert origin.take() == frame
    assert client.transport.reading


def test_the_place_in_the_pool_is_free_again_afterwards(rig: Rig) -> None:
    client, _ = opened(rig)
    client.reset()
    pool = rig.origin("a").endpoint.pool
    assert (pool.open, rig.origin("a").endpoint.in_flight) == (0, 0)


@pytest.mark.parametrize("slow", ["client", "origin"])
def test_a_slow_side_pauses_the_other(rig: Rig, slow: str) -> None:
    client, origin = opened(rig)
    reader, writer = (client, origin) if slow == "client" else (origin, client)
    reader.stall()
    frame = b"\x82\x7e\xff\x00" + b"x" * 0xFF00
    writer.send(frame)
    writer.send(frame)
    assert not writer.transport.reading
    reader.unstall()
    assert writer.transport.reading
    assert reader.take() == frame * 2


def test_a_message_that_is_too_long_ends_it_and_nothing_follows_the_close_frames(rig: Rig) -> None:
    client, origin = opened(rig, websocket_message=100)
    client.send(b"\x82\xfe\x03\xe8" + b"mask" + b"x" * 500)
    assert client.take() == b"\x88\x02\x03\xf1"
    assert origin.take() == b"\x88\x82\0\0\0\0\x03\xf1"
    client.send(b"x" * 500 + MASKED)
    origin.send(HELLO)
    assert (client.take(), origin.take()) == (b"", b"")
    rig.advance(2.0)
    assert client.closed
    assert origin.closed
    assert rig.records[0].reason == "websocket.message_too_large"


def test_an_endpoint_too_may_send_too_much(rig: Rig) -> None:
    client, origin = opened(rig, websocket_message=1)
    origin.send(HELLO)
    assert client.take() == b"\x88\x02\x03\xf1"
    assert origin.take() == b"\x88\x82\0\0\0\0\x03\xf1"
    rig.advance(2.0)


def test_silence_ends_it_and_traffic_does_not(rig: Rig) -> None:
    client, origin = opened(rig)
    for _ in range(4):
        rig.advance(15.0)
        client.send(MASKED)
        rig.advance(15.0)
        origin.send(HELLO)
    client.take()
    rig.advance(21.0)
    assert client.take() == b"\x88\x02\x03\xe9"
    rig.advance(2.0)
    assert client.closed
    assert rig.records[0].reason == "websocket.idle"


def test_draining_says_goodbye_at_a_frame_boundary_only(rig: Rig) -> None:
    client, origin = opened(rig)
    origin.send(b"\x81\x05he")
    client.take(), origin.take()
    for tunnel in tuple(rig.world.tunnels):
        tunnel.drain()
        tunnel.drain()
    assert client.take() == b""
    assert origin.take() == b"\x88\x82\0\0\0\0\x03\xe9"
    rig.advance(2.0)
    assert client.closed


def test_bytes_for_an_endpoint_that_is_going_away_are_dropped(rig: Rig) -> None:
    client, origin = opened(rig)
    origin.protocol.close()  # type: ignore[attr-defined]
    client.transport._protocol.data_received(MASKED)
    rig.settle()
    assert origin.take() == b""
    assert client.closed


class Config(PolicyConfig):
    pass


class Slow(Policy[Config]):
    """Waits with every response."""

    name, stage, config = "slow", "limit", Config
    waits: list[Waiting]

    def on_response(self, ex: ExchangeView) -> Any:
        return self._wait()

    async def _wait(self) -> Any:
        waiting = Waiting()
        self.waits.append(waiting)
        return await waiting


@pytest.fixture
def slow(rig: Rig) -> list[Waiting]:
    rig.add_policy(Slow)
    Slow.waits = []
    return Slow.waits


def test_a_waiting_hook_holds_the_tunnel_back_until_the_101_has_passed(rig: Rig, slow: list[Waiting]) -> None:
    rig.apply(route("ws", to="a", policies={"slow": {}}), upstream("a"))
    client = rig.client()
    client.send(UPGRADE)
    origin = rig.origin("a").accept()
    origin.take()
    origin.send(SWITCH + HELLO)
    origin.send(HELLO)
    client.send(MASKED)
    assert (client.take(), origin.take()) == (b"", b"")
    slow.pop().complete()
    rig.settle()
    assert client.take() == SWITCH + HELLO + HELLO
    assert origin.take() == MASKED


def test_an_endpoint_lost_while_a_hook_waits_with_its_101_is_a_failed_try(rig: Rig, slow: list[Waiting]) -> None:
    rig.apply(route("ws", to="a", policies={"slow": {}}), upstream("a", retries=model.Retries(attempts=0)))
    client = rig.client()
    client.send(UPGRADE)
    origin = rig.origin("a").accept()
    origin.send(SWITCH)
    origin.reset()
    for waiting in slow:
        waiting.complete()
    rig.settle()
    assert client.take().startswith(b"HTTP/1.1 502 ")
