"""Computations beside the loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gatewright.sdk.offload import Bench, Overloaded


async def test_it_runs_in_another_thread() -> None:
    assert await Bench().run(b"k", threading.get_ident) != threading.get_ident()


async def test_equal_ones_run_once_and_survive_whom_they_were_for() -> None:
    bench, go, calls = Bench(threads=1), threading.Event(), []

    def work() -> int:
        go.wait(10)
        calls.append(1)
        return 7

    first = asyncio.ensure_future(bench.run(b"k", work))
    second = asyncio.ensure_future(bench.run(b"k", work))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    go.set()
    assert await second == 7
    assert calls == [1]
    assert await bench.run(b"k", work) == 7  # not remembered: that is somebody else's work
    assert calls == [1, 1]


async def test_few_run_and_few_wait() -> None:
    bench, go = Bench(threads=1, waiting=2), threading.Event()
    tasks = [asyncio.ensure_future(bench.run(bytes([n]), go.wait, 10)) for n in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await bench.run(b"other", go.wait, 10)
    go.set()
    assert await asyncio.gather(*tasks) == [True, True]
    assert await bench.run(b"other", go.wait, 10)


async def test_what_it_raises_is_raised() -> None:
    bench = Bench()
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            await bench.run(b"k", int, "x")
