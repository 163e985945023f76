"""TLS in a real process tree: renewed certificates, drains, upgrades, scanners, and who gets to see a key."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from gatewright.testing.certs import Authority

pytestmark = pytest.mark.processes


def secure(text: str) -> str:
    """The configuration with TLS on its listener, from ``a.pem`` and ``a.key`` beside it."""
    return text.replace("name: public,", "name: public, tls: {certificates: [{cert: a.pem, key: a.key}]},")


@pytest.fixture
def pair(authority: Authority, tmp_path: Path) -> tuple[Path, Path]:
    cert, key = authority.pair("a.example")
    return shutil.move(cert, tmp_path / "a.pem"), shutil.move(key, tmp_path / "a.key")


class Client:
    """One connection."""

    def __init__(self, address: tuple[str, int], authority: Authority) -> None:
        plain = socket.create_connection(address, 10)
        self.tls = authority.client_context().wrap_socket(plain, server_hostname="a.example")

    def get(self) -> bytes:
        self.tls.sendall(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n")
        return self.tls.recv(65536)

    @property
    def names(self) -> set[str]:
        certificate = self.tls.getpeercert() or {}
        return {str(name) for _, name in certificate["subjectAltName"]}  # type: ignore[misc]

    def close(self) -> None:
        self.tls.close()


def names(address: tuple[str, int], authority: Authority) -> set[str]:
    client = Client(address, authority)
    try:
        assert b" 200 " in client.get()
        return client.names
    finally:
        client.close()


def test_a_renewed_pair_is_taken_without_dropping_a_connection(
    start: Any, config: Any, authority: Authority, pair: tuple[Path, Path]
) -> None:
    tree = start(secure(config("one")))
    address = tree.address()
    old = Client(address, authority)
    assert b" 200 " in old.get()
    new_cert, new_key = authority.pair("a.example", "new.example")
    shutil.copyfile(new_cert, pair[0])  # one file, and a moment later the other
    refused = tree.wait_for("config.refused")
    assert "does not belong to the certificate" in refused["message"]
    assert "gateway.yaml:" in refused["message"]
    assert names(address, authority) == {"a.example"}
    shutil.copyfile(new_key, pair[1])
    tree.wait_for("config.applied", number=2)
    assert names(address, authority) == {"a.example", "new.example"}
    assert b" 200 " in old.get(), "open connections stay, with what they were shown"
    old.close()
    assert tree.stop() == 0


def test_a_file_of_a_refused_version_is_watched_too(
    start: Any, config: Any, authority: Authority, tmp_path: Path
) -> None:
    tree = start(config("one"))
    tree.ready()
    cert, key = authority.pair("a.example")
    broken = tmp_path / "certificates"
    broken.mkdir()
    (broken / "a.pem").write_text("not yet")
    shutil.copyfile(key, broken / "a.key")
    tree.config.write_text(secure(config("two")).replace(" a.", " certificates/a."))
    tree.wait_for("config.refused")
    shutil.copyfile(cert, broken / "a.pem")
    tree.wait_for("config.applied", number=2)
    assert names(tree.address(), authority) == {"a.example"}
    assert tree.stop() == 0


def test_an_upgrade_keeps_serving(start: Any, config: Any, authority: Authority, pair: tuple[Path, Path]) -> None:
    tree = start(secure(config("one")), watch=False)
    address = tree.address()
    assert names(address, authority) == {"a.example"}
    tree.signal(signal.SIGUSR2)
    tree.ready(2)
    for _ in range(20):
        assert names(address, authority) == {"a.example"}
    assert tree.process.wait(20) == 0
    assert names(address, authority) == {"a.example"}


def test_scanners_leave_no_trace_in_the_log(
    start: Any, config: Any, authority: Authority, pair: tuple[Path, Path]
) -> None:
    tree = start(secure(config("one", workers=1)), watch=False)
    address = tree.address()
    hello = client_hello("x" * 20)
    for data in (
        b"\0" * 10,
        b"GET / HTTP/1.0\r\n\r\n",
        hello[:50],
        hello.replace(b"x" * 20, b"\xff" * 20),
        b"\x16\x03\x01",
    ):
        with socket.create_connection(address, 10) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
    assert names(address, authority) == {"a.example"}
    assert tree.stop() == 0
    assert tree.other_lines == []
    assert [event for event in tree.events if event["level"] in {"error", "warning"}] == []


def client_hello(name: str) -> bytes:
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def test_nobody_gets_to_see_a_key(start: Any, config: Any, authority: Authority, pair: tuple[Path, Path]) -> None:
    secret = pair[1].read_text().splitlines()[1]
    tree = start(secure(config("one")), watch=False)
    admin = tree.ready()["admin"]
    pages = [urllib.request.urlopen(f"http://{admin}/{page}").read().decode() for page in ("status", "metrics")]
    (listener,) = json.loads(pages[0])["listeners"]
    (certificate,) = listener["certificates"]
    assert (certificate["names"], certificate["certificate"], certificate["days_left"]) == (["a.example"], "a.pem", 89)
    assert "gatewright_certificate_expiry_timestamp_seconds{" in pages[1]
    for command in (["check", "--json"], ["explain", "GET", "https://a.example/", "--json"], ["status"]):
        where = ["--admin", f"http://{admin}"] if command == ["status"] else ["-c", str(tree.config)]
        done = subprocess.run(
            [sys.executable, "-m", "gatewright", *command, *where],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        pages += [done.stdout, done.stderr]
    assert tree.stop() == 0
    pages += [json.dumps(tree.events), *tree.other_lines]
    for page in pages:
        assert secret not in page
        assert "PRIVATE KEY" not in page
