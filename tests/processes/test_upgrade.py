from __future__ import annotations

import signal
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.processes


def test_an_upgrade_refuses_no_connection(start: Any, config: Any, load: Any, origin: Any) -> None:
    tree = start(config("old", extra=origin.route), watch=False)
    clients = load(tree.address())
    clients.more()
    pending = tree.begin("/slow")
    assert origin.arrived.acquire(timeout=20)
    tree.config.write_text(config("new", extra=origin.route))
    tree.signal(signal.SIGUSR2)
    successor = tree.wait_for("gateway.handover")["successor"]
    assert tree.ready(2)["pid"] == successor
    assert tree.ready(1)["listeners"] == tree.ready(2)["listeners"]
    clients.more(200)
    origin.release.set()
    assert pending.answer() == (200, b"done"), "begun in the old tree, finished there"
    assert tree.process.wait(20) == 0
    clients.more()
    clients.stop()
    assert clients.failures == []
    assert clients.bodies == {b"old", b"new"}
    heir = psutil.Process(successor)
    assert len([child for child in heir.children() if child.name().startswith("gw-worker")]) == 2
    heir.send_signal(signal.SIGTERM)
    psutil.wait_procs([heir], timeout=20)
    assert not heir.is_running() or heir.status() == psutil.STATUS_ZOMBIE


def test_a_new_version_that_cannot_start_changes_nothing(start: Any, config: Any) -> None:
    tree = start(config("old"), watch=False)
    assert tree.get() == (200, b"old")
    tree.config.write_text("nonsense: [")
    tree.signal(signal.SIGUSR2)
    event = tree.wait_for("gateway.upgrade", level="error")
    assert "exit code 3" in event["message"]
    assert tree.get() == (200, b"old")
    tree.config.write_text(config("new"))
    tree.signal(signal.SIGHUP)
    tree.wait_for("config.applied", number=2)
    assert tree.get() == (200, b"new")
    assert tree.stop() == 0
