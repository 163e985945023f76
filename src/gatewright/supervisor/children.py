"""Child processes: fork, explain how they ended, and how long to wait before the next one."""

from __future__ import annotations

import os
import signal
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from gatewright.errorlog import flush_standard_streams
from gatewright.ipc.channel import SocketChannel
from gatewright.supervisor import signals

#: Restarts within :data:`WINDOW` seconds that come without delay.
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
    """Decides when a process that ended is started again: at once, unless it keeps ending."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=64)

    def delay(self, now: float) -> float:
        """Note an end at ``now``; seconds to wait before the next start."""
        times = self._times
        # A crash loop that waits between its starts would look calm, so the window grows with the delay.
        while times and now - times[0] > WINDOW + LONGEST_DELAY * 2:
            times.popleft()
        times.append(now)
        recent = sum(1 for time in times if now - time <= WINDOW)
        if recent <= FREE_RESTARTS and len(times) <= FREE_RESTARTS * 2:
            return 0.0
        return float(min(LONGEST_DELAY, 0.1 * 2 ** min(20, len(times) - FREE_RESTARTS)))


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
