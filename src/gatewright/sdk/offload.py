"""Expensive computations beside the event loop: few at once, a bounded queue, and equal ones only once.

For what lets other threads run while it computes, like verifying passwords. One bench serves a whole process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Overloaded(Exception):
    """More waits already than may wait."""


class Bench:
    """Runs functions in threads.

    Args:
        threads: How many run at once.
        waiting: How many different ones may be under way or wait.
    """

    __slots__ = ("_executor", "_pending", "_threads", "_waiting")

    def __init__(self, threads: int = 2, waiting: int = 64) -> None:
        self._threads = threads
        self._waiting = waiting
        self._executor: ThreadPoolExecutor | None = None
        self._pending: dict[bytes, Future[Any]] = {}

    async def run(self, key: bytes, function: Callable[..., T], *args: object) -> T:
        """What ``function(*args)`` returns. Who comes with the ``key`` of one that is under way waits for that one.

        Raises:
            Overloaded: Too many wait.
            Exception: Whatever the function raises.
        """
        work = self._pending.get(key)
        if work is None:
            if len(self._pending) >= self._waiting:
                raise Overloaded
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._threads, "gatewright-bench")
            work = self._pending[key] = self._executor.submit(function, *args)
            work.add_done_callback(partial(self._forget, key))
        # Shielded: others may wait for the same, and go on when this one's client has gone.
        result: T = await asyncio.shield(asyncio.wrap_future(work))
        return result

    def _forget(self, key: bytes, _: Future[Any]) -> None:
        """It is done. Runs in its thread: one operation on the dictionary, nothing more."""
        self._pending.pop(key, None)


BENCH = Bench()
"""The bench of this process."""
