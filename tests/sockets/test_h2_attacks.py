"""Attacks on HTTP/2 against a data plane on real sockets, one test for each, named after it.

In all of them a client of another connection asks again and again, and is served; the attack costs bounded time and
memory; and what was in use is given back (the fixture ``front`` looks).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, NamedTuple

import pytest
from tests.h2.attacker import Attacker, Witness, bounded
from tests.h2.raw import (
    CALM,
    CANCEL,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL,
    GOAWAY,
    INITIAL_WINDOW,
    NO_ERROR,
    PADDED,
    PREFACE,
    PRIORITY,
    PROTOCOL,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    Sent,
    block,
    continuation,
    data,
    frame,
    goaway,
    headers,
    integer,
    literal,
    ping,
    priority,
    request,
    rst,
    settings,
    window_update,
)

from gatewright.proxy.families import REFUSED
from gatewright.testing import origins
from gatewright.testing.data_plane import DataPlaneServer
from gatewright.testing.raw_client import eventually

pytestmark = pytest.mark.sockets

GET: Sent = request()
POST: Sent = request(method=b"POST")
GET_BLOCK = block(GET)
#: How many frames a flood has. What the limits allow is far below, what an unlimited server would do is far above.
MANY = 20_000
LARGEST_WINDOW = (1 << 31) - 1


class Scene(NamedTuple):
    server: DataPlaneServer
    origin: Any
    attacker: Attacker
    witness: Witness

    def refused(self) -> dict[str, float]:
        """The counter of refusals as the controller would get it, by reason."""
        counters = self.server.plane.stats().counters
        return {key.split("\x1f")[1]: number for key, number in counters.items() if key.startswith(REFUSED + "\x1f")}

    async def is_h2_flood(self) -> None:
        """The attacker is sent away as such, counted, and nobody else notices."""
        await self.attacker.closed_with(CALM)
        await self.witness.serves()
        assert self.refused()["h2_flood"] == 1


@pytest.fixture
def scene(front: Any) -> Callable[..., Any]:
    """Puts a data plane in front of an origin, an attacker and a witness before it."""

    @asynccontextmanager
    async def made(
        origin: Any = None, *pairs: tuple[int, int], bare: bool = False, **limits: Any
    ) -> AsyncIterator[Scene]:
        text = ", ".join(f"{name}: {value}" for name, value in limits.items())
        upstream = ", timeouts: {connect: 5s, first_byte: 20s, idle: 20s}"
        async with origin or origins.answers() as behind, origins.answers() as good:
            server = await front(behind, good=good.url, upstream=upstream, listener=f", limits: {{{text}}}")
            async with Witness(server.port) as witness, Attacker(server.port, *pairs, bare=bare) as attacker:
                with bounded():
                    yield Scene(server, behind, attacker, witness)
                    await witness.serves()
            behind.release()

    return made


def streams(start: int = 1) -> Iterator[int]:
    return count(start, 2)


# --- streams that are begun and reset ---------------------------------------------------------------------------------


async def test_rapid_reset_cve_2023_44487(scene: Any) -> None:
    async with scene(origins.slow_head()) as made:
        pairs = (each for stream in streams() for each in (headers(stream, GET), rst(stream)))
        await made.attacker.flood(pairs, together=1)
        await made.is_h2_flood()
        assert len(made.origin.requests) < 200


async def test_rapid_reset_in_one_segment_begins_nothing(scene: Any) -> None:
    async with scene(origins.slow_head()) as made:
        made.attacker.send(*(headers(stream, GET) + rst(stream) for stream in range(1, 181, 2)))
        made.attacker.send(ping())
        await made.attacker.come(lambda: len(made.attacker.of(6)) == 1)
        assert made.origin.requests == []
        assert made.server.plane.exchanges <= 1  # the witness


MADE: dict[str, Callable[[int], bytes]] = {
    "window update of 0": lambda stream: window_update(stream, 0),
    "window overflow": lambda stream: window_update(stream, LARGEST_WINDOW),
    "data behind the end": lambda stream: data(stream, b"x"),
    "headers behind the end": lambda stream: headers(stream, GET),
    "priority of a wrong size": lambda stream: frame(PRIORITY, 0, stream, b"\0" * 4),
}


@pytest.mark.parametrize("how", MADE)
async def test_made_you_reset_cve_2025_8671(scene: Any, how: str) -> None:
    """The server itself is brought to reset each stream, which then no longer counts as open."""
    async with scene(origins.slow_head()) as made:
        frames = (each for stream in streams() for each in (headers(stream, GET), MADE[how](stream)))
        await made.attacker.flood(frames, together=1)
        await made.is_h2_flood()
        assert len(made.origin.requests) < 200


async def test_malformed_requests_flood(scene: Any) -> None:
    async with scene() as made:
        await made.attacker.flood(headers(stream, request((b"Upper", b"x"))) for stream in streams())
        await made.is_h2_flood()
        assert made.origin.requests == []


async def test_too_many_streams(scene: Any) -> None:
    """Those above the limit are refused, which is safe to try again; those below are served."""
    async with scene(origins.slow_head(), streams=10) as made:
        attacker = made.attacker
        attacker.send(*(headers(stream, GET) for stream in range(1, 41, 2)))
        await attacker.come(lambda: len(attacker.of(RST_STREAM)) == 10)
        assert [each.code for each in attacker.of(RST_STREAM)] == [REFUSED_STREAM] * 10
        await made.origin.seen(10)
        made.origin.release()
        assert [await attacker.status_of(stream) for stream in range(1, 21, 2)] == [200] * 10
        assert len(made.origin.requests) == 10
        assert made.refused() == {"h2_streams": 10}


async def test_too_many_streams_again_and_again(scene: Any) -> None:
    async with scene(origins.slow_head(), streams=10) as made:
        await made.attacker.flood(headers(stream, GET) for stream in streams())
        await made.is_h2_flood()
        assert len(made.origin.requests) <= 10


async def test_requests_per_connection(scene: Any) -> None:
    """After so many the client is told to go elsewhere, and nothing is lost."""
    async with scene(requests=20) as made:
        attacker = made.attacker
        for stream in range(1, 39, 2):
            attacker.send(headers(stream, GET))
            assert await attacker.status_of(stream) == 200
        assert attacker.goaway is None
        attacker.send(headers(39, GET))
        assert await attacker.status_of(39) == 200
        await attacker.come(lambda: attacker.goaway)
        await attacker.closed_with(NO_ERROR)
        assert attacker.of(GOAWAY)[-1].number == 39


# --- header blocks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 16_384])
async def test_continuation_flood_cve_2024_27316(scene: Any, size: int) -> None:
    piece = literal(b"x", b"y" * 100) * (size // 104 + 1)
    async with scene() as made:
        made.attacker.send(headers(1, GET_BLOCK, END_STREAM))
        sent = await made.attacker.flood(continuation(1, piece[:size], 0) for _ in range(MANY))
        assert sent < 100
        await made.is_h2_flood()
        assert made.origin.requests == []


async def test_headers_above_the_limit(scene: Any) -> None:
    """What a block says may be as large as allowed; the table stays in step."""
    async with scene(header_bytes="8KiB") as made:
        attacker = made.attacker
        attacker.send(headers(1, request((b"x", b"y" * 9000))))
        assert await attacker.status_of(1) == 431
        attacker.send(headers(3, block(GET) + literal(b"a", b"b", 0x40)))
        attacker.send(headers(5, block(GET) + b"\xbe"))
        assert [await attacker.status_of(stream) for stream in (3, 5)] == [200, 200]
        assert made.origin.requests[1].get(b"a") == b"b"


async def test_hpack_bomb(scene: Any) -> None:
    """An entry of 4 KiB, and blocks of nothing but references to it: 64 MiB each."""
    async with scene() as made:
        attacker = made.attacker
        attacker.send(headers(1, GET_BLOCK + literal(b"bomb", b"x" * 4000, 0x40)))
        assert await attacker.status_of(1) == 200
        for stream in range(3, 63, 2):
            attacker.send(headers(stream, GET_BLOCK + b"\xbe" * 16_000))
        for stream in range(3, 63, 2):
            assert await attacker.status_of(stream) == 431
        assert len(made.origin.requests) == 1


async def test_hpack_bomb_in_trailers(scene: Any) -> None:
    async with scene(origins.slow_head()) as made:
        attacker = made.attacker
        attacker.send(headers(1, block(POST) + literal(b"bomb", b"x" * 4000, 0x40), END_HEADERS))
        attacker.send(headers(1, b"\xbe" * 16_000))
        await attacker.come(lambda: attacker.reset(1))
        attacker.send(headers(3, GET_BLOCK), headers(3, b"\xbe" * 16_000))  # behind its end
        await attacker.come(lambda: attacker.reset(3))
        attacker.send(headers(5, GET_BLOCK + b"\xbe"))
        await eventually(lambda: any(seen.get(b"bomb") and seen.method == b"GET" for seen in made.origin.requests))


async def test_empty_headers_flood_cve_2019_9516(scene: Any) -> None:
    """Fields without a name or a value cost 32 octets of the limit each, and no name is none."""
    async with scene() as made:
        attacker = made.attacker
        attacker.send(headers(1, GET_BLOCK + literal(b"", b"")))
        await attacker.come(lambda: attacker.reset(1))
        assert attacker.reset(1).code == PROTOCOL
        attacker.send(headers(3, GET_BLOCK + literal(b"x", b"") * 3000))
        assert await attacker.status_of(3) == 431
        await attacker.flood(headers(stream, GET_BLOCK + literal(b"", b"") * 1000) for stream in streams(5))
        await made.is_h2_flood()


async def test_dynamic_table_churn(scene: Any) -> None:
    """Blocks that only fill the table and change its size."""
    update = integer(0, 5, 0x20) + integer(4096, 5, 0x20)
    churn = update * 2000 + GET_BLOCK + b"".join(literal(b"%d" % i, b"", 0x40) for i in range(100))
    async with scene() as made:
        for stream in range(1, 61, 2):
            made.attacker.send(headers(stream, churn))
            assert await made.attacker.status_of(stream) == 200


# --- frames that do nothing -------------------------------------------------------------------------------------------

IDLE: dict[str, Callable[[int], bytes]] = {
    "ping_flood_cve_2019_9512": lambda _: ping(),
    "ping_acks": lambda _: ping(flags=1),
    "settings_flood_cve_2019_9515": lambda _: settings(),
    "settings_acks": lambda _: frame(SETTINGS, 1),
    "empty_data_flood_cve_2019_9518": lambda _: data(1, b"", 0),
    "padded_empty_data_flood": lambda _: data(1, b"\0", PADDED),
    "empty_data_flood_on_a_closed_stream": lambda _: data(1, b"\0", PADDED),
    "priority_flood_cve_2019_9513": lambda _: priority(1),
    "priority_of_idle_streams": lambda i: priority(2 * i + 3),
    "tiny_window_update_flood": lambda _: window_update(0, 1),
    "tiny_window_update_flood_on_a_stream": lambda _: window_update(1, 1),
    "window_update_flood_on_a_closed_stream": lambda _: window_update(1, 1000),
    "reset_flood_on_a_closed_stream": lambda _: rst(1),
    "unknown_frames": lambda _: frame(0x20, 0, 0, b"x" * 10),
    "goaway_flood": lambda _: goaway(),
}


@pytest.mark.parametrize("name", IDLE)
async def test_frames_that_do_nothing(scene: Any, name: str) -> None:
    async with scene(origins.slow_head()) as made:
        made.attacker.send(headers(1, POST, END_HEADERS))
        await made.origin.seen(1)
        if "closed" in name:
            made.attacker.send(window_update(1, 0))
            await made.attacker.come(lambda: made.attacker.reset(1))
        sent = await made.attacker.flood(IDLE[name](i) for i in range(MANY))
        assert sent < 2000
        await made.is_h2_flood()


async def test_large_settings_cve_2020_11080(scene: Any) -> None:
    """Each initial window changes those of all open streams."""
    async with scene(origins.slow_head()) as made:
        attacker = made.attacker
        attacker.send(*(headers(stream, GET) for stream in range(1, 201, 2)))
        await made.origin.seen(100)
        many = settings(*((INITIAL_WINDOW, 60_000 + i % 2) for i in range(2700)))
        sent = await attacker.flood((many for _ in range(300)), together=1)
        assert sent < 10
        await made.is_h2_flood()


async def test_pings_whose_answers_nobody_reads(scene: Any) -> None:
    """Frames that do something make up for pings, but only to somebody who reads the answers."""
    async with scene(origins.slow_head()) as made:
        attacker = made.attacker
        for listener in made.server.plane._listeners.values():
            for connection in listener.connections:
                sock = connection.transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        attacker.send(headers(1, POST, END_HEADERS))
        attacker.link.transport.pause_reading()
        pairs = (each for _ in range(25 * MANY) for each in (data(1, b"x", 0), ping()))
        sent = await attacker.flood(pairs, together=500, reading=False)
        assert sent < 50 * MANY
        await made.witness.serves()
        assert made.refused()["h2_flood"] == 1


# --- windows ----------------------------------------------------------------------------------------------------------


async def test_zero_window_stall(scene: Any) -> None:
    """A client that asks and never opens the window holds nothing for longer than allowed."""
    async with scene(origins.answers(b"x" * 300_000), (INITIAL_WINDOW, 0), body_timeout="300ms") as made:
        attacker = made.attacker
        attacker.send(*(headers(stream, GET) for stream in range(1, 41, 2)))
        await attacker.come(lambda: len(attacker.of(RST_STREAM)) == 20)
        assert {each.code for each in attacker.of(RST_STREAM)} == {CANCEL}
        assert not attacker.of(DATA)
        assert {record.reason for record in made.server.records if record.request.target == b"/"} == {"client.stalled"}
        attacker.send(settings((INITIAL_WINDOW, 65_535)), window_update(0, 1_000_000), headers(41, GET))
        await attacker.come(lambda: attacker.head(41))


async def test_data_dribble_cve_2019_9511(scene: Any) -> None:
    """A window that is opened octet by octet."""
    async with scene(origins.endless(), (INITIAL_WINDOW, 0), body_timeout="2s") as made:
        made.attacker.send(headers(1, GET))
        await made.attacker.come(lambda: made.attacker.head(1))
        sent = await made.attacker.flood(window_update(1, 1) for _ in range(MANY))
        assert sent < 2000
        await made.is_h2_flood()
        made.origin.release()


async def test_internal_data_buffering_cve_2019_9517(scene: Any) -> None:
    """Windows as large as can be, and nothing is read: an endless body is not gathered."""
    async with scene(origins.endless(), (INITIAL_WINDOW, LARGEST_WINDOW)) as made:
        attacker = made.attacker
        attacker.link.transport.pause_reading()
        attacker.send(window_update(0, LARGEST_WINDOW - 65_535), *(headers(1 + 2 * i, GET) for i in range(20)))
        await made.origin.seen(1)
        for _ in range(10):
            await made.witness.serves()
        made.origin.release()


async def test_more_than_the_connections_window(scene: Any) -> None:
    async with scene(origins.accepts_never_reads()) as made:
        made.attacker.send(*(headers(1 + 2 * i, POST, END_HEADERS) for i in range(50)))
        await made.origin.when(lambda: made.origin.connections == 50)
        await made.attacker.flood(data(1 + 2 * (i % 50), b"x" * 16_384, 0) for i in range(MANY))
        await made.attacker.closed_with(FLOW_CONTROL)
        assert made.refused()["h2_protocol"] == 1


async def test_more_than_a_streams_window(scene: Any) -> None:
    async with scene(origins.accepts_never_reads()) as made:
        made.attacker.send(headers(1, POST, END_HEADERS))
        await made.origin.when(lambda: made.origin.connections == 1)
        for _ in range(MANY):
            made.attacker.send(data(1, b"x" * 16_384, 0))
            await asyncio.sleep(0)
            made.attacker.read()
            if made.attacker.reset(1) or made.attacker.closed:
                break
        assert made.attacker.reset(1).code == FLOW_CONTROL
        made.attacker.send(headers(3, request(path=b"/good")))
        assert await made.attacker.status_of(3) == 200


async def test_window_overflow(scene: Any) -> None:
    async with scene() as made:
        made.attacker.send(window_update(0, LARGEST_WINDOW))
        await made.attacker.closed_with(FLOW_CONTROL)
        assert made.refused() == {"h2_protocol": 1}


# --- slowly -----------------------------------------------------------------------------------------------------------


async def slowly(made: Scene, octets: bytes) -> None:
    """Send octet by octet until the server has had enough."""
    for octet in octets:
        made.attacker.read()
        if made.attacker.closed:
            return
        made.attacker.send(bytes((octet,)))
        await asyncio.sleep(0.03)


@pytest.mark.parametrize("what", ["nothing", "half a preface", "preface", "half of SETTINGS"])
async def test_slow_preface(scene: Any, what: str) -> None:
    begun = {
        "nothing": b"",
        "half a preface": PREFACE[:12],
        "preface": PREFACE,
        "half of SETTINGS": PREFACE + b"\0\0\6\4",
    }
    async with scene(bare=True, header_timeout="300ms") as made:
        made.attacker.send(begun[what])
        await eventually(lambda: made.attacker.closed, 3.0)  # a half preface may be HTTP/1.1, and is answered so


async def test_slow_headers(scene: Any) -> None:
    """A block that comes octet by octet, or not on, as the first and as a later one."""
    async with scene(header_timeout="300ms", idle_timeout="300ms") as made:
        await slowly(made, headers(1, GET_BLOCK)[:-1] * 2)
        assert made.attacker.closed
    async with scene(header_timeout="300ms", idle_timeout="300ms") as made:
        made.attacker.send(headers(1, GET))
        assert await made.attacker.status_of(1) == 200
        made.attacker.send(headers(3, GET_BLOCK, END_STREAM))
        await made.attacker.come(lambda: made.attacker.closed, 3.0)


async def test_slow_body(scene: Any) -> None:
    async with scene(origins.echo(), body_timeout="300ms") as made:
        made.attacker.send(headers(1, POST, END_HEADERS), data(1, b"x", 0))
        assert await made.attacker.status_of(1) == 408


async def test_pings_do_not_keep_an_idle_connection_open(scene: Any) -> None:
    async with scene(idle_timeout="300ms", header_timeout="300ms") as made:
        for _ in range(60):
            made.attacker.read()
            if made.attacker.closed:
                break
            made.attacker.send(ping())
            await asyncio.sleep(0.03)
        await made.attacker.closed_with(NO_ERROR)
