from __future__ import annotations

import signal
import time
from typing import Any

import pytest

pytestmark = pytest.mark.processes


def test_a_stop_waits_for_requests_in_flight_and_takes_no_more(start: Any, config: Any, origin: Any) -> None:
    tree = start(config(extra=origin.route))
    pending = tree.begin("/slow")
    assert origin.arrived.acquire(timeout=20)
    tree.signal(signal.SIGTERM)
    tree.wait_for("worker.exited")  # the one that had nothing to do
    assert len(tree.children("gw-worker")) == 1
    assert tree.process.poll() is None
    origin.release.set()
    assert pending.answer() == (200, b"done")
    assert tree.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        tree.get()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_second_signal_stops_at_once(start: Any, config: Any, origin: Any, second: signal.Signals) -> None:
    tree = start(config(drain="60s", workers=1, extra=origin.route))
    pending = tree.begin("/slow")
    assert origin.arrived.acquire(timeout=20)
    tree.signal(signal.SIGTERM)
    tree.wait_for("gateway.stopping")
    began = time.monotonic()
    tree.signal(second)
    assert tree.wait() == 0
    assert time.monotonic() - began < 10
    with pytest.raises(ConnectionError):
        pending.answer()


def test_what_does_not_finish_within_the_drain_timeout_is_ended(start: Any, config: Any, origin: Any) -> None:
    tree = start(config(drain="300ms", workers=1, extra=origin.route))
    pending = tree.begin("/slow")
    assert origin.arrived.acquire(timeout=20)
    assert tree.stop() == 0
    with pytest.raises(ConnectionError):
        pending.answer()


def test_a_stop_while_starting_is_obeyed(start: Any, config: Any) -> None:
    tree = start(config())
    tree.wait_for("config.applied")
    assert tree.stop() == 0
