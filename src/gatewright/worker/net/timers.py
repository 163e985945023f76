"""A coarse timer wheel: one loop timer per worker, none per request.

What has a time limit holds two numbers: ``deadline`` (monotonic seconds; change it freely) and ``wheel_at`` (the tick
it is registered for, 0 when it is not). Moving a deadline *back* costs nothing: when the tick comes and the deadline
has not, it is registered again. Only a deadline that comes earlier than the registered tick needs :meth:`Wheel.at`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

TICK = 0.05
_FARTHEST = 1200  # ticks; what is farther away is looked at again after a minute


class Timed(Protocol):
    """Something with a time limit."""

    deadline: float
    wheel_at: int

    def on_deadline(self, now: float) -> None:
        """The deadline has come. Called once; register again for more."""


class Wheel:
    """Sets of timed objects by tick. Each object stands in at most one of them."""

    __slots__ = ("_bug", "_last", "_ticks")

    def __init__(self, now: float, bug: Callable[[str, BaseException], None]) -> None:
        self._ticks: dict[int, set[Timed]] = {}
        self._last = int(now / TICK)
        #: Told of what an ``on_deadline`` raises; the others have their turn all the same.
        self._bug = bug

    def at(self, timed: Timed) -> None:
        """Register ``timed`` for its deadline, unless it is registered for an earlier tick already."""
        tick = min(int(timed.deadline / TICK) + 1, self._last + _FARTHEST)
        if tick <= self._last:
            tick = self._last + 1
        at = timed.wheel_at
        if at:
            if at <= tick:
                return
            self._ticks[at].discard(timed)
        timed.wheel_at = tick
        members = self._ticks.get(tick)
        if members is None:
            self._ticks[tick] = {timed}
        else:
            members.add(timed)

    def drop(self, timed: Timed) -> None:
        """Forget ``timed``."""
        at = timed.wheel_at
        if at:
            timed.wheel_at = 0
            members = self._ticks.get(at)
            if members is not None:
                members.discard(timed)

    def tick(self, now: float) -> None:
        """Let everything up to ``now`` happen."""
        current = int(now / TICK)
        while self._last < current:
            self._last += 1
            members = self._ticks.get(self._last)
            if members is None:
                continue
            # One by one, each out of the set first: an on_deadline may drop others, and what is registered meanwhile
            # goes to a later tick.
            while members:
                timed = members.pop()
                timed.wheel_at = 0
                if timed.deadline > now:
                    self.at(timed)
                    continue
                try:
                    timed.on_deadline(now)
                except Exception as error:  # noqa: BLE001 - a bug in one must not cost the others their time limits
                    self._bug("a deadline", error)
            del self._ticks[self._last]

    def __len__(self) -> int:
        return sum(map(len, self._ticks.values()))
