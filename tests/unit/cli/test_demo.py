from __future__ import annotations

import asyncio
import socket
import sys
import time

import pytest

from gatewright.cli.demo import run


def test_the_configuration_is_found() -> None:
    text = run.config_file().read_text(encoding="utf-8")
    assert all(f"${{env:{name}:-{port}}}" in text for name, port in run.PORTS.items())


def test_a_port_that_is_taken_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(run, "PORTS", {"A": port, "B": port})
        chosen = run.choose_ports()
    assert port not in chosen.values()
    assert len(set(chosen.values())) == 2


def test_what_does_not_listen_is_not_ready() -> None:
    assert not run.is_ready(9)


async def spawn(code: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, process_group=0
    )


async def test_a_gateway_that_ends_early_is_noticed() -> None:
    process = await spawn("import sys; sys.exit(3)")
    await process.wait()
    assert not await run.wait_ready(process, 9, asyncio.Event())


async def test_being_told_to_stop_ends_the_wait() -> None:
    process = await spawn("input()")
    stop = asyncio.Event()
    stop.set()
    assert not await run.wait_ready(process, 9, stop)
    await run.until(stop, process)
    await run.stop_gateway(process)
    assert process.returncode == -15


async def test_a_gateway_that_does_not_stop_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "STOPPED_WITHIN", 0.05)
    process = await spawn("import signal; signal.signal(15, signal.SIG_IGN); print('x', flush=True); signal.pause()")
    assert process.stdout is not None
    await process.stdout.readline()
    before = time.monotonic()
    await run.stop_gateway(process)
    assert process.returncode == -9
    assert time.monotonic() - before < 10
