from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gatewright.supervisor.systemd import notify, take_activated


def test_tells_the_service_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        assert notify("READY=1")
        assert manager.recv(100) == b"READY=1"


def test_abstract_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0gatewright-test-notify")
        monkeypatch.setenv("NOTIFY_SOCKET", "@gatewright-test-notify")
        assert notify("STOPPING=1")
        assert manager.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("value", ["", "nonsense", "/nowhere/at/all"])
def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", value)
    assert not notify("READY=1")


def test_activated_sockets_serve_the_listener_of_their_address(tmp_path: Path) -> None:
    """In a process of its own: the protocol fixes the descriptor numbers."""
    with socket.create_server(("127.0.0.1", 0)) as given:
        code = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
from gatewright.supervisor.listeners import Listeners
from gatewright.supervisor.systemd import take_activated
os.environ["LISTEN_PID"] = str(os.getpid())
inherited = take_activated()
listeners = Listeners(inherited)
(place,) = listeners.open([("public", inherited[0].bind)], 4)
print(place.shared, len(place.sockets), place.address, os.environ.get("LISTEN_FDS"), os.get_inheritable(3))
"""
        done = subprocess.run(
            [sys.executable, "-c", code, str(given.fileno())],
            pass_fds=[given.fileno()],
            env=os.environ | {"LISTEN_FDS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        host, port = given.getsockname()
        assert done.stdout.split() == ["True", "1", f"{host}:{port}", "None", "False"]


def test_sockets_meant_for_another_process_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert take_activated() == ()
