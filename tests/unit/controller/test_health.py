import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from gatewright.clock import SystemClock
from gatewright.controller import health as health_module
from gatewright.controller.health import HealthChecker
from gatewright.ipc.messages import HealthChange
from gatewright.snapshot.model import ActiveHealth, Endpoint, Upstream, UpstreamTls

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Origin:
    """Answers every request with what ``answer`` is at that moment."""

    def __init__(self) -> None:
        self.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        self.requests: list[bytes] = []
        self.connections = 0
        self.asked = asyncio.Event()
        self.silent = False

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            self.asked.set()
            if self.silent:
                await reader.read()
            writer.write(self.answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a TCP check, or one that was given up
        finally:
            writer.close()


@asynccontextmanager
async def serving(handle: Handler) -> AsyncIterator[int]:
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def endpoint(port: int) -> Endpoint:
    return Endpoint(f"http://127.0.0.1:{port}", "127.0.0.1", port)


def upstream(port: int, name: str = "up", **active: object) -> Upstream:
    values = {"interval": 0.01, "timeout": 1.0, "healthy_after": 2, "unhealthy_after": 3, **active}
    return Upstream(name, (endpoint(port),), active=ActiveHealth(**values))  # type: ignore[arg-type]


class Heard:
    def __init__(self) -> None:
        self.changes: asyncio.Queue[HealthChange] = asyncio.Queue()

    async def next(self) -> HealthChange:
        async with asyncio.timeout(5):
            return await self.changes.get()


@asynccontextmanager
async def checking() -> AsyncIterator[tuple[HealthChecker, Heard]]:
    heard = Heard()
    checker = HealthChecker(SystemClock(), heard.changes.put_nowait, rand=lambda: 0.0)
    before = asyncio.all_tasks()
    running = asyncio.create_task(checker.run())
    try:
        yield checker, heard
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        leaked = asyncio.all_tasks() - before
        assert not {task for task in leaked if task.get_name().startswith("health")}


async def test_an_endpoint_falls_ill_after_three_failures_and_recovers_after_two_successes() -> None:
    origin = Origin()
    async with serving(origin.handle) as port, checking() as (checker, heard):
        checker.update([upstream(port)])
        key = endpoint(port).key
        assert await heard.next() == HealthChange("up", key, healthy=True)
        origin.answer = b"HTTP/1.1 500 Oh\r\n\r\n"
        assert await heard.next() == HealthChange("up", key, healthy=False)
        state = checker.states["up", key]
        assert state.failures >= 3
        assert state.detail == "status 500"
        origin.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
        assert await heard.next() == HealthChange("up", key, healthy=True)
        assert state.successes >= 2
        assert heard.changes.empty()


async def test_an_endpoint_that_is_down_from_the_start_is_reported() -> None:
    async with serving(Origin().handle) as port:
        pass
    async with checking() as (checker, heard):
        checker.update([upstream(port)])
        assert await heard.next() == HealthChange("up", endpoint(port).key, healthy=False)


async def test_an_endpoint_that_goes_is_no_longer_checked() -> None:
    origin = Origin()
    async with serving(origin.handle) as port, checking() as (checker, heard):
        checker.update([upstream(port)])
        await heard.next()
        checker.update([])
        assert checker.states == {}
        await asyncio.sleep(0)
        count = origin.connections
        origin.asked.clear()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.08):
                await origin.asked.wait()
        assert origin.connections <= count + 1
        assert heard.changes.empty()


async def test_an_ill_endpoint_that_is_no_longer_checked_is_released() -> None:
    async with serving(Origin().handle) as port:
        pass
    async with checking() as (checker, heard):
        checker.update([upstream(port)])
        assert (await heard.next()).healthy is False
        checker.update([Upstream("up", (endpoint(port),))])
        assert await heard.next() == HealthChange("up", endpoint(port).key, healthy=True)


async def test_a_change_of_the_configuration_keeps_the_verdict() -> None:
    origin = Origin()
    origin.answer = b"HTTP/1.1 503 No\r\n\r\n"
    async with serving(origin.handle) as port, checking() as (checker, heard):
        checker.update([upstream(port)])
        assert (await heard.next()).healthy is False
        checker.update([upstream(port, path="/other")])
        key = ("up", endpoint(port).key)
        assert checker.states[key].healthy is False
        origin.answer = b"HTTP/1.1 200 OK\r\n\r\n"
        assert (await heard.next()).healthy is True
        assert b"GET /other HTTP/1.1" in origin.requests[-1]


async def test_other_terms_of_tls_or_another_protocol_are_checked_anew() -> None:
    checker = HealthChecker(SystemClock(), lambda _change: None)
    before = upstream(1)
    for after in (
        msgspec.structs.replace(before, tls=UpstreamTls(server_name="orders.internal")),
        msgspec.structs.replace(before, protocol="h2"),
    ):
        checker.update([before])
        (state,) = checker.states.values()
        checker.update([msgspec.structs.replace(before, zone="eu-1")])
        assert state.upstream is before, "this changes nothing"
        checker.update([after])
        assert state.upstream is after


async def test_endpoints_known_before_the_checker_runs_are_checked() -> None:
    origin = Origin()
    heard = Heard()
    async with serving(origin.handle) as port:
        checker = HealthChecker(SystemClock(), heard.changes.put_nowait, rand=lambda: 0.0)
        checker.update([upstream(port)])
        running = asyncio.create_task(checker.run())
        assert (await heard.next()).healthy is True
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_an_unresolved_endpoint_is_not_checked() -> None:
    async with checking() as (checker, _heard):
        checker.update([Upstream("up", (Endpoint("http://name:80", "", 80),), active=ActiveHealth())])
        assert checker.states == {}


async def test_a_failing_check_does_not_end_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    origin = Origin()
    real = health_module.probe

    async def broken(up: Upstream, *rest: object) -> str:
        if up.name == "broken":
            raise ZeroDivisionError
        return await real(up, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(health_module, "probe", broken)
    async with serving(origin.handle) as port, checking() as (checker, heard):
        checker.update([upstream(port, "broken"), upstream(port)])
        changes = {(await heard.next()).upstream for _ in range(2)}
        assert changes == {"broken", "up"}
        assert "ZeroDivisionError" in checker.states["broken", endpoint(port).key].detail
