from __future__ import annotations

import asyncio
import json
import os

import pytest

from gatewright.errorlog import ErrorLog
from gatewright.ipc.channel import LoopChannel, socket_pair
from gatewright.ipc.messages import ControllerToWorker, HealthChange, Heartbeat, Log, Ready, WorkerToController
from gatewright.worker.link import ControllerLink


class Controller:
    """The other end."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[WorkerToController] = asyncio.Queue()
        self.lost = asyncio.Event()
        self.channel = LoopChannel[WorkerToController](WorkerToController, self.heard.put_nowait, self.lost.set)


async def connected(link: ControllerLink, version: int = 0) -> Controller:
    controller = Controller()
    theirs, ours = socket_pair()
    await controller.channel.open(theirs)
    await link.attach(ours, version)
    return controller


def errors(capfd: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


async def test_introduces_itself_to_every_new_controller() -> None:
    link = ControllerLink(3, ErrorLog("worker 3", text=False), lambda _: None)
    first = await connected(link)
    assert await first.heard.get() == Ready(3, os.getpid(), 0)
    second = await connected(link, version=7)
    assert await second.heard.get() == Ready(3, os.getpid(), 7)
    await first.lost.wait()
    link.send(Heartbeat(3, 0.0, 0, 0))
    assert await second.heard.get() == Heartbeat(3, 0.0, 0, 0)
    link.close()


async def test_without_a_controller_messages_are_dropped_but_the_operator_still_reads_logs(
    capfd: pytest.CaptureFixture[str],
) -> None:
    link = ControllerLink(0, ErrorLog("worker 0", text=False), lambda _: None)
    link.send(Heartbeat(0, 0.0, 0, 0))
    link.send(Log("warning", "worker.odd", {"message": "look", "where": "here"}))
    assert link.dropped == 2
    (line,) = errors(capfd)
    assert (line["event"], line["message"], line["where"]) == ("worker.odd", "look", "here")


async def test_a_message_that_cannot_be_handled_does_not_cost_the_channel(capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[ControllerToWorker] = []
    both = asyncio.Event()

    def handle(message: ControllerToWorker) -> None:
        seen.append(message)
        if len(seen) == 1:
            raise RuntimeError("bug")
        both.set()

    link = ControllerLink(0, ErrorLog("worker 0", text=False), handle)
    controller = await connected(link)
    for _ in range(2):
        controller.channel.send(HealthChange("u", "e"))
    await both.wait()
    assert errors(capfd)[0]["event"] == "worker.message"
    link.close()
