from __future__ import annotations

import json

import pytest

from gatewright.clock import ManualClock
from gatewright.controller.bus import KEPT, Bus, ConfigApplied, WorkerDown, WorkerUp
from gatewright.errorlog import ErrorLog


def test_tells_the_subscribers_of_a_kind_until_they_have_enough() -> None:
    bus, heard = Bus(ManualClock(), ErrorLog("controller")), []
    end = bus.subscribe(WorkerUp, heard.append)
    bus.publish(WorkerUp(0, 10))
    bus.publish(WorkerDown(0, 10, "ended"))
    end()
    bus.publish(WorkerUp(1, 11))
    assert heard == [WorkerUp(0, 10)]


def test_a_subscriber_that_fails_does_not_silence_the_others(capfd: pytest.CaptureFixture[str]) -> None:
    bus, heard = Bus(ManualClock(), ErrorLog("controller", text=False)), []

    def fails(_event: WorkerUp) -> None:
        raise RuntimeError("bug")

    bus.subscribe(WorkerUp, fails)
    bus.subscribe(WorkerUp, heard.append)
    bus.publish(WorkerUp(0, 10))
    assert heard == [WorkerUp(0, 10)]
    assert json.loads(capfd.readouterr().err)["event"] == "bus.subscriber"


def test_remembers_the_last_events_and_no_more() -> None:
    clock = ManualClock(start=1_700_000_000.0)
    bus = Bus(clock, ErrorLog("controller"))
    for version in range(KEPT + 10):
        bus.publish(ConfigApplied(version, "", 0.0, "test"))
    assert len(bus.recent) == KEPT
    assert bus.recent[-1] == (1_700_000_000.0, ConfigApplied(KEPT + 9, "", 0.0, "test"))
