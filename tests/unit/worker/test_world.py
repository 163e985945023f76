"""The worker around its exchanges, on a real loop: connections, waiting, time, reports."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import types
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gatewright.clock import ManualClock, SystemClock
from gatewright.ipc.messages import Log
from gatewright.proxy import ports
from gatewright.proxy.record import WorkerStats
from gatewright.worker.net.h1_client import H1Client
from gatewright.worker.net.timers import TICK
from gatewright.worker.world import World


class Pool:
    """Tells what became of an attempt."""

    def __init__(self, timeout: float = 5.0) -> None:
        self.connect_timeout = timeout
        self.tls = None
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.lost_ones: asyncio.Queue[H1Client] = asyncio.Queue()

    def connected(self, connection: H1Client) -> None:
        connection.pooled = True
        self.outcome.set_result(connection)

    def failed(self, condition: str) -> None:
        self.outcome.set_result(condition)

    def lost(self, connection: H1Client) -> None:
        self.lost_ones.put_nowait(connection)


@pytest.fixture
async def messages() -> list[Any]:
    return []


@pytest.fixture
async def world(messages: list[Any]) -> AsyncIterator[World]:
    made = World(asyncio.get_running_loop(), SystemClock(), WorkerStats(), messages.append)
    yield made
    await made._spawner.cancel_all()


def endpoint(host: str, port: int = 0) -> Any:
    return types.SimpleNamespace(host=host, port=port, key=host)


async def dial(world: World, host: str, port: int = 0, patience: float = 5.0) -> Any:
    pool: Any = Pool(patience)
    world.connect(pool, endpoint(host, port))
    async with asyncio.timeout(10):
        return await pool.outcome


async def test_connects_over_tcp_and_unix_sockets(world: World, tmp_path: Path) -> None:
    closed: asyncio.Queue[bool] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        closed.put_nowait(True)

    tcp = await asyncio.start_server(serve, "127.0.0.1", 0)
    unix = await asyncio.start_unix_server(serve, str(tmp_path / "s"))
    async with tcp, unix:
        port = tcp.sockets[0].getsockname()[1]
        for host, number in (("127.0.0.1", port), (str(tmp_path / "s"), 0)):
            connection = await dial(world, host, number)
            assert connection.alive
            connection.close()
            assert await closed.get()
            assert await connection.pool.lost_ones.get() is connection
    assert world.watched == 0


async def test_a_refused_connection_and_a_host_that_cannot_be_one(world: World) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert await dial(world, "127.0.0.1", unused.getsockname()[1]) == ports.CONNECT
    assert await dial(world, "a" * 70 + ".example", 80) == ports.CONNECT
    assert await dial(world, "/nowhere/at/all") == ports.CONNECT


async def test_an_attempt_that_takes_too_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def hang(*_: Any, **__: Any) -> None:
        await never

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", hang)
    assert await dial(world, "127.0.0.1", 1, patience=0.01) == ports.CONNECT_TIMEOUT


async def test_a_connection_that_comes_too_late_is_nobodys(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt was given up between the protocol's beginning and the end of the call that made it."""
    made: list[Any] = []

    async def late(factory: Any, *_: Any) -> None:
        protocol = factory()
        protocol.connection_made(types.SimpleNamespace(set_write_buffer_limits=lambda *_: None))
        made.append(protocol)
        raise TimeoutError

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", late)
    pool: Any = Pool()
    world.connect(pool, endpoint("127.0.0.1"))
    assert await pool.outcome == ports.CONNECT_TIMEOUT
    made[0].connection_lost(None)
    assert pool.lost_ones.empty(), "it would be counted twice"


async def test_waiting_resumes_with_the_result_or_the_error(world: World) -> None:
    ended: asyncio.Queue[tuple[Any, Any]] = asyncio.Queue()

    def resume(result: Any, error: BaseException | None) -> None:
        ended.put_nowait((result, error))

    async def answer() -> int:
        return 7

    async def fail() -> None:
        raise KeyError("no")

    world.wait(answer(), resume)
    assert await ended.get() == (7, None)
    world.wait(fail(), resume)
    result, error = await ended.get()
    assert (result, type(error)) == (None, KeyError)
    gate = asyncio.Event()
    timer = world.wait(gate.wait(), resume)
    await asyncio.sleep(0)  # it has begun
    timer.cancel()
    await asyncio.sleep(0)
    gate.set()
    await asyncio.sleep(0)
    assert ended.empty()


async def test_a_bug_in_what_resumes_is_reported(world: World, messages: list[Any]) -> None:
    def resume(*_: Any) -> None:
        raise RuntimeError("bug")

    async def answer() -> None:
        return None

    reported = asyncio.Event()
    world._publish = lambda message: (messages.append(message), reported.set())
    world.wait(answer(), resume)
    async with asyncio.timeout(5):
        await reported.wait()
    assert messages[0].event == "worker.bug"
    assert "RuntimeError('bug')" in messages[0].fields["message"]


class Due:
    def __init__(self, deadline: float, event: asyncio.Event) -> None:
        self.deadline = deadline
        self.wheel_at = 0
        self._event = event

    def on_deadline(self, now: float) -> None:
        self._event.set()


async def test_it_ticks_by_itself_and_calls_later(world: World) -> None:
    called, due = asyncio.Event(), asyncio.Event()
    world.watch(Due(world.now + TICK, due))
    world.start()
    world.later(0.0, called.set)
    async with asyncio.timeout(5):
        await called.wait()
        await due.wait()


# --- on a manual clock ----------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def still(clock: ManualClock, messages: list[Any]) -> World:
    return World(None, clock, WorkerStats(), messages.append)  # type: ignore[arg-type]


def test_the_date_is_renewed_once_a_second(still: World, clock: ManualClock) -> None:
    """RFC 9110 section 6.6.1."""
    first = still.date_line
    assert first == b"date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
    clock.advance(0.5)
    still.set_date()
    assert still.date_line is first
    clock.advance(0.5)
    still.set_date()
    assert still.date_line == b"date: Tue, 14 Nov 2023 22:13:21 GMT\r\n"


def test_the_log_is_flushed_every_other_tick(still: World) -> None:
    flushed: list[int] = []
    still.log_to(None, None)
    still.log(None)  # type: ignore[arg-type]
    still.tick()
    still.log_to(lambda _: None, lambda: flushed.append(1))
    for _ in range(6):
        still.tick()
    assert len(flushed) == 3


def test_notes_are_bounded_and_the_rest_is_counted(still: World, clock: ManualClock, messages: list[Log]) -> None:
    for i in range(25):
        still.note("upstream.malformed", n=str(i))
    assert len(messages) == 10
    clock.advance(1.0)
    still.set_date()
    assert (messages[-1].event, messages[-1].fields) == ("worker.suppressed", {"count": "15"})


def test_request_ids_are_unique_and_printable(still: World) -> None:
    found = {still.new_id() for _ in range(1000)}
    assert len(found) == 1000
    assert {len(each) for each in found} == {20}
    still._id_count = 0xFFFFFFFF
    assert still.new_id().endswith(b"00000000")


async def test_a_bug_in_writing_does_not_keep_the_others_waiting(world: World, messages: list[Any]) -> None:
    written = asyncio.Event()

    def fail() -> None:
        raise ZeroDivisionError

    world.write_soon(types.SimpleNamespace(write=fail))
    world.write_soon(types.SimpleNamespace(write=written.set))
    await asyncio.wait_for(written.wait(), 5.0)
    assert any(isinstance(message, Log) and message.event == "worker.bug" for message in messages)
