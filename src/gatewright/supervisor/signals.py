"""Signals. A handler only puts a number in a queue and wakes the selector; the main loop does the work."""

from __future__ import annotations

import signal
import socket
from queue import Empty, SimpleQueue
from types import FrameType

#: Signals that mean something to the supervisor.
HANDLED = (
    signal.SIGHUP,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)

_IGNORED_BY_CHILDREN = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Signals:
    """Collects signals for the main loop."""

    __slots__ = ("_queue", "_reader", "_writer")

    def __init__(self) -> None:
        # SimpleQueue.put may be interrupted by a handler that puts as well; no other queue allows that.
        self._queue: SimpleQueue[int] = SimpleQueue()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def install(self) -> None:
        """Take over the process's signals."""
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in HANDLED:
            signal.signal(number, self._on_signal)

    def fileno(self) -> int:
        """Readable when a signal has come."""
        return self._reader.fileno()

    def take(self) -> list[int]:
        """The signals that came since the last call, in their order."""
        try:
            while self._reader.recv(4096):
                pass
        except BlockingIOError:
            pass  # emptied
        numbers: list[int] = []
        while True:
            try:
                numbers.append(self._queue.get_nowait())
            except Empty:
                return numbers

    def close(self) -> None:
        """Give up the descriptors; the handlers stay as they are."""
        self._reader.close()
        self._writer.close()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._queue.put(number)


def hold() -> set[int]:
    """Keep signals back around a fork. Returns the mask for :func:`release`."""
    return signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


def release(mask: set[int]) -> None:
    """Let signals through again."""
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def reset_in_child() -> None:
    """What a child starts with: the terminal's and the group's signals are the supervisor's business.

    A Ctrl-C or a ``kill`` of the whole process group must not end workers behind the supervisor's back.
    """
    signal.set_wakeup_fd(-1)
    for number in _IGNORED_BY_CHILDREN:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
