from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator

import pytest

from gatewright.supervisor.signals import HANDLED, Signals, hold, release


@pytest.fixture
def signals() -> Iterator[Signals]:
    before = {number: signal.getsignal(number) for number in HANDLED}
    made = Signals()
    made.install()
    yield made
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)
    made.close()


def test_a_signal_wakes_the_selector_and_is_taken_once_in_order(signals: Signals) -> None:
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert select.select([signals], [], [], 2)[0] == [signals]
    assert signals.take() == [signal.SIGHUP, signal.SIGUSR1]
    assert signals.take() == []
    assert select.select([signals], [], [], 0)[0] == []


def test_held_signals_come_after_the_release(signals: Signals) -> None:
    mask = hold()
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.take() == []
    release(mask)
    assert signals.take() == [signal.SIGTERM]
