from __future__ import annotations

import time

from gatewright.clock import ManualClock, SystemClock


def test_the_system_clock_is_the_machines() -> None:
    clock = SystemClock()
    before = time.monotonic()
    assert before <= clock.monotonic() <= time.monotonic()
    assert abs(clock.wall() - time.time()) < 60


def test_a_manual_clock_moves_only_when_told_and_both_times_together() -> None:
    clock = ManualClock(now=10.0, start=1000.0)
    assert (clock.monotonic(), clock.wall()) == (10.0, 1000.0)
    clock.advance(2.5)
    assert (clock.monotonic(), clock.wall()) == (12.5, 1002.5)
