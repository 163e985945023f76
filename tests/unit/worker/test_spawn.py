from __future__ import annotations

import asyncio

from gatewright.worker.spawn import Spawner


async def test_keeps_counts_and_names_tasks_and_reports_what_they_raise() -> None:
    reports: asyncio.Queue[tuple[str, BaseException]] = asyncio.Queue()
    spawner = Spawner(lambda name, error: reports.put_nowait((name, error)))
    gate = asyncio.Event()

    async def fails() -> None:
        await gate.wait()
        raise ValueError("no")

    spawner.spawn(gate.wait(), "fine")
    spawner.spawn(fails(), "unlucky")
    assert (spawner.running, spawner.started) == (2, 2)
    gate.set()
    name, error = await reports.get()
    assert (name, str(error)) == ("unlucky", "no")
    assert (spawner.running, reports.qsize()) == (0, 0)


async def test_cancelling_is_not_reported() -> None:
    reports: list[str] = []
    spawner = Spawner(lambda name, _: reports.append(name))
    task = spawner.spawn(asyncio.Event().wait(), "endless")
    spawner.spawn(asyncio.Event().wait(), "endless too")
    assert task.cancel()
    await spawner.cancel_all()
    assert task.done()
    assert (spawner.running, reports) == (0, [])
