"""Bodies stream, in both directions, at the pace of the slower side and with bounded memory."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import psutil
import pytest

from gatewright.testing import origins
from gatewright.testing.gateway import Gateway
from gatewright.testing.origin import Connection, Origin
from gatewright.testing.raw_client import RawClient, eventually

pytestmark = pytest.mark.sockets

MIB = 1 << 20
LARGE = 50 * MIB
PIECE = bytes(range(256)) * 1024
PER_CONNECTION = 512 * 1024
CLIENTS = 6


def large_answers() -> Origin:
    async def behave(connection: Connection) -> None:
        while await connection.request() is not None:
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % LARGE)
            for _ in range(LARGE // len(PIECE)):
                await connection.send(PIECE)

    return Origin(behave)


CONFIG = """
version: 1
workers: 1
listeners: [{{name: public, bind: "127.0.0.1:0"}}]
upstreams: {{up: {{endpoints: ["{url}"]}}}}
routes:
  - {{name: all, match: {{paths: ["/*"]}}, to: up}}
  - {{name: small, match: {{paths: ["/small"]}}, respond: {{status: 200}}}}
"""


async def started(gateway: Any, origin: Origin) -> tuple[Gateway, psutil.Process]:
    made: Gateway = await asyncio.to_thread(gateway, CONFIG.format(url=origin.url))
    async with RawClient(made.port) as client:
        for _ in range(50):
            await client.get(b"/small")
    pid = (await asyncio.to_thread(lambda: made.pids))["worker 0"]
    return made, psutil.Process(pid)


async def test_a_large_answer_to_slow_readers_needs_little_memory(gateway: Any) -> None:
    async with large_answers() as origin:
        made, worker = await started(gateway, origin)
        async with RawClient(made.port) as client:  # what one transfer leaves behind is not what a slow one holds
            assert len((await client.get()).body) == LARGE
        before = worker.memory_info().rss
        clients = [RawClient(made.port) for _ in range(CLIENTS)]
        for client in clients:
            await client.__aenter__()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await origin.seen(CLIENTS + 1)
        await standstill(worker)
        assert worker.memory_info().rss - before < CLIENTS * PER_CONNECTION
        for client in clients[1:]:
            client.reset()
        clients[0].writer.transport.resume_reading()  # type: ignore[attr-defined]
        await clients[0].head()
        digest, left = hashlib.sha256(), LARGE
        while left:
            piece = await clients[0].read()
            digest.update(piece)
            left -= len(piece)
        assert digest.digest() == hashlib.sha256(PIECE * (LARGE // len(PIECE))).digest()
        assert worker.memory_info().rss - before < CLIENTS * PER_CONNECTION
        for client in clients:
            await client.__aexit__()


async def standstill(worker: psutil.Process) -> None:
    """Wait until the worker has nothing more to do: everything is full."""
    used = -1.0

    async def idle() -> bool:
        nonlocal used
        before, used = used, sum(worker.cpu_times()[:2])
        await asyncio.sleep(0.1)
        return before == used

    await eventually(idle, 20)


async def test_a_large_upload_to_an_origin_that_does_not_read_needs_little_memory(gateway: Any) -> None:
    async with origins.accepts_never_reads() as origin:
        made, worker = await started(gateway, origin)
        before = worker.memory_info().rss
        clients = [RawClient(made.port, deadline=0.7) for _ in range(CLIENTS)]
        for client in clients:
            await client.__aenter__()
        results = await asyncio.gather(*(upload(client) for client in clients))
        assert all(0 < sent < LARGE for sent in results), results
        assert worker.memory_info().rss - before < CLIENTS * PER_CONNECTION
        for client in clients:
            client.reset()
            await client.__aexit__()


async def upload(client: RawClient) -> int:
    """Send a large body as long as it is taken; returns how much that was."""
    await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % LARGE)
    sent = 0
    try:
        while sent < LARGE:
            await client.send(PIECE)
            sent += len(PIECE)
    except TimeoutError:
        return sent
    return sent


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_upload_comes_whole(front: Any, chunked: bool) -> None:
    body = PIECE * 32
    async with origins.echo() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            if chunked:
                await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
                for size in (1, 2, 4095, 65536, 300_000):
                    await client.send(b"%x;ext=1\r\n%b\r\n" % (size, body[:size]))
                await client.send(b"0\r\nx-sum: 1\r\n\r\n")
                expected = b"".join(body[:size] for size in (1, 2, 4095, 65536, 300_000))
            else:
                await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body), body)
                expected = body
            assert (await client.response()).status == 200
        (seen,) = origin.requests
        assert seen.body == expected
        assert seen.trailers == ([(b"x-sum", b"1")] if chunked else [])


async def test_a_body_goes_on_before_it_is_complete(front: Any) -> None:
    async with origins.echo() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc")
            await origin.when(lambda: origin.requests and origin.requests[0].body == b"abc")
            await client.send(b"def")
            assert (await client.response()).status == 200


async def test_events_leave_one_by_one(front: Any) -> None:
    async with origins.sse() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            await client.send(b"GET /events HTTP/1.1\r\nhost: x\r\nlast-event-id: 41\r\n\r\n")
            head = await client.head()
            assert head.get(b"content-type") == b"text/event-stream"
            assert (await origin.seen()).get(b"last-event-id") == b"41"
            for number in range(42, 62):
                event = b"id: %d\ndata: %b\n\n" % (number, b"x" * number)
                origin.command(event)
                assert await client.until(b"\n\n\r\n") == b"%x\r\n%b\r\n" % (len(event), event)
            origin.command(None)
            assert await client.exactly(5) == b"0\r\n\r\n"
            assert (await server.record()).protocol == "sse"
            assert (await origin.seen()).complete


async def test_events_end_when_their_client_goes(front: Any) -> None:
    async with origins.sse() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            await client.send(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n")
            origin.command(b"data: 1\n\n")
            await client.until(b"data: 1\n\n\r\n")

        def another() -> bool:
            origin.command(b"data: 2\n\n")  # a client that has only closed its side might still listen
            return bool(server.records)

        await eventually(another)
        assert server.records[0].reason == "client.gone"
