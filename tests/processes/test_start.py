from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.processes


def test_reports_the_ports_serves_and_stops_with_0(start: Any, config: Any) -> None:
    tree = start(config())
    assert tree.address()[1] != 0
    assert tree.ready()["admin"].startswith("127.0.0.1:")
    assert tree.get() == (200, b"hello")
    assert len(tree.children("gw-worker")) == 2
    assert len(tree.children("gw-controller")) == 1
    assert tree.stop() == 0
    assert tree.events[-1]["event"] == "gateway.stopped"
    with pytest.raises(ConnectionRefusedError):
        tree.get()


def test_a_bad_configuration_binds_nothing_and_exits_with_3(start: Any, config: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    tree = start(config(bind=f"127.0.0.1:{address[1]}", extra="nonsense: true\n"))
    assert tree.wait() == 3
    text = "".join(tree.other_lines)
    assert "gateway.yaml:13:1" in text
    assert "nonsense" in text
    assert not any(event["event"] == "gateway.ready" for event in tree.events)


def test_an_address_in_use_is_explained_and_exits_with_3(start: Any, config: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        bind = f"127.0.0.1:{other.getsockname()[1]}"
        tree = start(config(bind=bind))
        assert tree.wait() == 3
    (event,) = [event for event in tree.events if event["event"] == "listener.bind"]
    assert event["message"].startswith(f"listener public cannot bind {bind}: address already in use")
    assert "another process" in event["message"]


def test_a_pid_file_lives_as_long_as_the_gateway(start: Any, config: Any, tmp_path: Path) -> None:
    path = tmp_path / "gateway.pid"
    tree = start(config(workers=1), pid_file=path)
    tree.ready()
    assert int(path.read_text()) == tree.process.pid
    assert tree.stop() == 0
    assert not path.exists()


def test_a_unix_socket_serves_from_all_workers(start: Any, config: Any, tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    tree = start(config(bind=f"unix:{path}"))
    assert tree.ready()["listeners"] == {"public": f"unix:{path}"}
    client = socket.socket(socket.AF_UNIX)
    with client:
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    assert tree.stop() == 0
    assert not path.exists()


def test_tells_systemd(start: Any, config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(20)
        manager.bind(path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        tree = start(config(workers=1), watch=False)
        assert manager.recv(1000) == b"READY=1\nMAINPID=%d" % tree.process.pid
        tree.signal(signal.SIGHUP)
        assert manager.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert manager.recv(1000).startswith(b"READY=1")
        tree.signal(signal.SIGTERM)
        assert manager.recv(1000) == b"STOPPING=1"
        assert tree.wait() == 0


def test_the_death_of_the_supervisor_leaves_no_orphans(start: Any, config: Any) -> None:
    tree = start(config())
    tree.ready()
    children = psutil.Process(tree.process.pid).children(recursive=True)
    assert len(children) == 3
    tree.signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


def test_strangers_children_are_reaped(start: Any, config: Any) -> None:
    """As process 1 of a container the supervisor inherits whatever loses its parent."""
    tree = start(config(workers=1), stranger=True)
    tree.ready()
    (stranger,) = [child for child in psutil.Process(tree.process.pid).children() if "gw-" not in child.name()]
    stranger.kill()
    psutil.wait_procs([stranger], timeout=20)
    assert not psutil.pid_exists(stranger.pid), "a zombie"
    assert tree.get() == (200, b"hello")
    assert tree.stop() == 0
    assert [event["event"] for event in tree.events if event["level"] != "info"] == []
