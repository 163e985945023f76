from __future__ import annotations

import os
import signal
import socket

import pytest

from gatewright.ipc.channel import SocketChannel
from gatewright.ipc.messages import WorkerToSupervisor
from gatewright.supervisor.children import FREE_RESTARTS, LONGEST_DELAY, WINDOW, Child, Restarts, explain, fork


def status_of(pid: int) -> int:
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "ended"),
        (3 << 8, "ended with exit code 3"),
        (signal.SIGKILL, "was killed by SIGKILL: perhaps out of memory"),
        (signal.SIGTERM, "was killed by SIGTERM"),
        (signal.SIGSEGV, "was killed by SIGSEGV: a crash in native code"),
        (40, "was killed by signal 40"),
    ],
)
def test_explains_how_a_process_ended(status: int, text: str) -> None:
    assert explain(status) == text


def test_a_few_crashes_are_restarted_at_once_a_loop_is_slowed_down() -> None:
    restarts = Restarts()
    delays = [restarts.delay(100.0 + n * 0.1) for n in range(FREE_RESTARTS + 4)]
    assert delays[:FREE_RESTARTS] == [0.0] * FREE_RESTARTS
    slowed = delays[FREE_RESTARTS:]
    assert slowed == sorted(slowed)
    assert slowed[0] > 0
    assert restarts.delay(200.0) == 0.0, "after a quiet time it starts afresh"


def test_a_crash_loop_stays_slow_although_its_waits_make_it_look_calm() -> None:
    restarts, now, delays = Restarts(), 100.0, []
    for _ in range(60):
        delay = restarts.delay(now)
        delays.append(delay)
        now += delay + 0.2
    assert max(delays) == LONGEST_DELAY
    assert sum(1 for delay in delays[20:] if delay == 0.0) == 0


def test_crashes_far_apart_are_no_loop() -> None:
    restarts = Restarts()
    assert [restarts.delay(n * (WINDOW + 1)) for n in range(1, 20)] == [0.0] * 19


def test_a_child_runs_its_body_and_exits_with_its_result() -> None:
    assert explain(status_of(fork(lambda: 7))) == "ended with exit code 7"


def test_a_child_that_raises_ends_with_1_and_a_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    def broken() -> int:
        raise RuntimeError("what went wrong")

    assert explain(status_of(fork(broken))) == "ended with exit code 1"
    assert "RuntimeError: what went wrong" in capfd.readouterr().err


def test_children_ignore_the_signals_of_the_group() -> None:
    def check() -> int:
        ignored = [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2]
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        return 0 if all(signal.getsignal(number) == signal.SIG_IGN for number in ignored) and not blocked else 1

    assert status_of(fork(check)) == 0


def test_killing_what_has_ended_is_no_error() -> None:
    pid = fork(lambda: 0)
    status_of(pid)
    left, right = socket.socketpair()
    child = Child(pid, SocketChannel[WorkerToSupervisor](left, WorkerToSupervisor), 0.0)
    child.kill(signal.SIGTERM)
    child.channel.close()
    right.close()
