"""The supervisor's own small loop: a selector and a heap of times. Nothing here survives a fork."""

from __future__ import annotations

import heapq
import selectors
from collections.abc import Callable
from itertools import count
from typing import Protocol

from gatewright.clock import Clock

Callback = Callable[[], None]


class Source(Protocol):
    """Something with a file descriptor."""

    def fileno(self) -> int:
        """Its descriptor."""


class Loop:
    """Calls back when a descriptor is ready or a time has come."""

    __slots__ = ("_clock", "_order", "_selector", "_times")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._times: list[tuple[float, int, Callback]] = []
        self._order = count()

    def watch(self, source: Source, on_readable: Callback, on_writable: Callback | None = None) -> None:
        """Call ``on_readable`` whenever there is something to read; ``on_writable`` only while wanted."""
        self._selector.register(source, selectors.EVENT_READ, (on_readable, on_writable))

    def want_write(self, source: Source, wanted: bool) -> None:
        """Call the source's ``on_writable`` when it takes bytes, or no longer."""
        try:
            key = self._selector.get_key(source)
        except (KeyError, ValueError):
            return  # its end of file was seen already
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if wanted else 0)
        if key.events != events:
            self._selector.modify(source, events, key.data)

    def unwatch(self, source: Source) -> None:
        """Stop watching; fine when it is not watched."""
        try:
            self._selector.unregister(source)
        except (KeyError, ValueError):
            return

    def later(self, delay: float, callback: Callback) -> None:
        """Call back in ``delay`` seconds. There is no cancelling: the callback looks whether it still applies."""
        heapq.heappush(self._times, (self._clock.monotonic() + delay, next(self._order), callback))

    def turn(self) -> None:
        """Wait for something to happen, and do it."""
        timeout = max(0.0, self._times[0][0] - self._clock.monotonic()) if self._times else None
        for key, events in self._selector.select(timeout):
            on_readable, on_writable = key.data
            if events & selectors.EVENT_WRITE and on_writable is not None:
                on_writable()
            if events & selectors.EVENT_READ:
                on_readable()
        now = self._clock.monotonic()
        while self._times and self._times[0][0] <= now:
            heapq.heappop(self._times)[2]()

    def close(self) -> None:
        """Give up the selector."""
        self._selector.close()
        self._times.clear()
