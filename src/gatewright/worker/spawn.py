"""The one place in a worker that creates Tasks. The loop itself keeps only a weak reference to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

#: Told of an exception that nobody awaits: name of the task, exception.
Report = Callable[[str, BaseException], None]


class Running(Protocol):
    """A task seen from outside. It cannot be awaited: whoever wants to wait runs the coroutine itself."""

    def cancel(self) -> bool:
        """Cancel it; False when it has ended."""

    def done(self) -> bool:
        """Whether it has ended."""


class Spawner:
    """Creates Tasks, keeps them alive until they end, counts them and reports what they raise.

    Args:
        report: Called when a task ends with an exception.
    """

    __slots__ = ("_report", "_tasks", "started")

    def __init__(self, report: Report) -> None:
        self._report = report
        self._tasks: set[asyncio.Task[Any]] = set()
        #: Tasks created so far.
        self.started = 0

    @property
    def running(self) -> int:
        """Tasks that have not ended."""
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, object], name: str) -> Running:
        """Run a coroutine in a Task with a name. With eager tasks (3.12) it may have run before this returns."""
        task = asyncio.create_task(coroutine, name=name)
        self.started += 1
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def cancel_all(self) -> None:
        """Cancel every task and wait until they have ended."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._report(task.get_name(), error)
