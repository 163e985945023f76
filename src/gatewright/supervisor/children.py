"""Child processes: fork, explain how they ended, and how long to wait before the next one."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

from gatewright.errorlog import flush_standard_streams
from gatewright.ipc.channel import SocketChannel
from gatewright.supervisor import signals

#: Restarts in a row that come without delay. A process that lived for :data:`WINDOW` seconds ends the row.
FREE_RESTARTS = 5
WINDOW = 10.0
LONGEST_DELAY = 15.0

_HINTS = {
    signal.SIGKILL: "perhaps out of memory",
    signal.SIGABRT: "it was aborted; a traceback stands above",
    signal.SIGSEGV: "a crash in native code",
    signal.SIGBUS: "a crash in native code",
}


class Child:
    """A process that runs, and the supervisor's end of the channel to it."""

    __slots__ = ("aborted_at", "channel", "last_beat", "pid", "ready", "started")

    def __init__(self, pid: int, channel: SocketChannel[Any], now: float) -> None:
        self.pid = pid
        self.channel = channel
        self.started = now
        self.last_beat = now
        self.ready = False
        self.aborted_at = 0.0

    def kill(self, number: int) -> None:
        """Send a signal; a process that has just ended is no error."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return


class Restarts:
    """Decides when a process that ended is started again: at once, unless it keeps ending soon after its start."""

    __slots__ = ("_short_lives", "_started")

    def __init__(self) -> None:
        self._short_lives = 0
        self._started = float("-inf")

    def delay(self, now: float) -> float:
        """Note an end at ``now``; seconds to wait before the next start."""
        if now - self._started >= WINDOW:
            self._short_lives = 0
        self._short_lives += 1
        beyond = self._short_lives - FREE_RESTARTS
        delay = min(LONGEST_DELAY, 0.1 * 2 ** min(beyond, 16)) if beyond > 0 else 0.0
        self._started = now + delay
        return delay


def fork(run: Callable[[], int]) -> int:
    """Start a child that executes ``run`` and exits with its result.

    Returns:
        The process id. Only the parent returns.

    Raises:
        OSError: The machine has no room for another process.
    """
    flush_standard_streams()
    mask = signals.hold()
    try:
        pid = os.fork()
    except OSError:
        signals.release(mask)
        raise
    if pid:
        signals.release(mask)
        return pid
    code = 1
    try:
        signals.reset_in_child()
        signals.release(mask)
        code = run()
    except BaseException:  # noqa: BLE001 - the last frame of this process
        traceback.print_exc()
    finally:
        flush_standard_streams()
        os._exit(code)


def explain(status: int) -> str:
    """How a process ended, from its wait status, for people."""
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return "ended"
    if code > 0:
        return f"ended with exit code {code}"
    try:
        number = signal.Signals(-code)
    except ValueError:  # a real-time signal has no name
        return f"was killed by signal {-code}"
    hint = _HINTS.get(number)
    return f"was killed by {number.name}" + (f": {hint}" if hint else "")


def reap() -> list[tuple[int, int]]:
    """Every child that has ended, as (pid, wait status): ours, and strangers' when this is process 1."""
    ended: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.append((pid, status))
