"""Time, injected. This module is the only caller of :mod:`time` for reading clocks."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back. Shared by all processes of a machine."""

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC."""


class SystemClock:
    """The machine's clocks. The attributes are the C functions themselves: no extra frame."""

    __slots__ = ()
    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)


class ManualClock:
    """A clock for tests: it stands still until told to move."""

    __slots__ = ("now", "start")

    def __init__(self, now: float = 1000.0, start: float = 1_700_000_000.0) -> None:
        self.now = now
        self.start = start - now

    def monotonic(self) -> float:
        """The time set by the test."""
        return self.now

    def wall(self) -> float:
        """The wall clock moves with the monotonic one."""
        return self.start + self.now

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        self.now += seconds
