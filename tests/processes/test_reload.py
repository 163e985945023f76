from __future__ import annotations

import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.processes


def test_hup_reads_the_configuration_again(start: Any, config: Any, load: Any) -> None:
    tree = start(config("one"), watch=False)
    clients = load(tree.address())
    clients.more()
    tree.config.write_text(config("two"))
    tree.signal(signal.SIGHUP)
    event = tree.wait_for("config.applied", number=2)
    assert event["version"] == 2
    assert tree.get() == (200, b"two")
    tree.signal(signal.SIGHUP)
    tree.wait_for("config.unchanged")
    clients.stop()
    assert clients.failures == []
    assert tree.stop() == 0


def test_a_change_of_the_file_is_noticed(start: Any, config: Any) -> None:
    tree = start(config("one"))
    assert tree.get() == (200, b"one")
    replacement = tree.config.with_name("new")
    replacement.write_text(config("two"))
    replacement.rename(tree.config)  # as editors and deployment tools do
    tree.wait_for("config.applied", number=2)
    assert tree.get() == (200, b"two")
    tree.config.write_text(config("three"))
    tree.wait_for("config.applied", number=3)
    assert tree.get() == (200, b"three")
    assert tree.stop() == 0


def test_a_bad_version_is_refused_whole_and_the_old_one_serves(start: Any, config: Any) -> None:
    tree = start(config("one"), watch=False)
    assert tree.get() == (200, b"one")
    tree.config.write_text(config("two", extra="nonsense: 1\nworks: 2\n"))
    tree.signal(signal.SIGHUP)
    event = tree.wait_for("config.refused")
    assert "nonsense" in event["message"]
    assert "works" in event["message"], "all errors at once"
    assert tree.get() == (200, b"one")
    tree.config.write_text(config("three"))
    tree.signal(signal.SIGHUP)
    tree.wait_for("config.applied", number=2)
    assert tree.get() == (200, b"three")
    assert tree.stop() == 0


def test_listeners_come_and_go(start: Any, config: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        other = free.getsockname()
    tree = start(config("one"), watch=False)
    public = tree.address()
    second = f'  - {{name: second, bind: "127.0.0.1:{other[1]}"}}\n'
    tree.config.write_text(config("one").replace("admin:", second + "admin:"))
    tree.signal(signal.SIGHUP)
    tree.wait_for("config.applied", number=2)
    for address in (public, other):
        with socket.create_connection(address, 20) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    tree.config.write_text(config("two"))
    tree.signal(signal.SIGHUP)
    tree.wait_for("config.applied", number=3)
    assert tree.get() == (200, b"two")
    tree.config.write_text(config("three"))  # one more round: the old sockets are closed by now
    tree.signal(signal.SIGHUP)
    tree.wait_for("config.applied", number=4)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(other, 20)
    assert tree.stop() == 0


def test_an_address_that_cannot_be_bound_refuses_the_version(start: Any, config: Any) -> None:
    tree = start(config("one"), watch=False)
    tree.ready()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        second = f'  - {{name: second, bind: "127.0.0.1:{taken.getsockname()[1]}"}}\n'
        tree.config.write_text(config("two").replace("admin:", second + "admin:"))
        tree.signal(signal.SIGHUP)
        event = tree.wait_for("config.refused")
    assert "listener second cannot bind" in event["message"]
    assert tree.get() == (200, b"one")
    assert tree.stop() == 0


def test_log_files_are_opened_anew(start: Any, config: Any, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    tree = start(config(workers=1).replace('to: "off"', f'to: "{log}"'), watch=False)
    assert tree.get() == (200, b"hello")
    old = log.rename(tmp_path / "access.log.1")
    tree.signal(signal.SIGUSR1)
    deadline = time.monotonic() + 20
    while not log.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert tree.get() == (200, b"hello")
    assert tree.stop() == 0
    new = log.read_text().splitlines()
    assert new, "what comes after the signal is in the new file"
    assert len(old.read_text().splitlines()) + len(new) == 2, "nothing is lost"


def test_fewer_workers_at_once_more_up_to_the_number_at_start(start: Any, config: Any, load: Any) -> None:
    tree = start(config(workers=2), watch=False)
    clients = load(tree.address())
    clients.more()
    tree.config.write_text(config(workers=1))
    tree.signal(signal.SIGHUP)
    tree.wait_for("worker.exited", slot=1)
    clients.more()
    tree.config.write_text(config(workers=3))
    tree.signal(signal.SIGHUP)
    tree.wait_for("gateway.workers")
    tree.wait_for("config.applied", number=3)
    clients.more()
    clients.stop()
    assert len(tree.children("gw-worker")) == 2
    assert tree.stop() == 0
