"""HTTP/2 between the gateway and peers that know nothing of its code."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.h2.raw import DEADLINE, SocketLink


@pytest.fixture(scope="session")
def nghttpd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real server: nghttpd with one file, ``ok``."""
    program = shutil.which("nghttpd")
    if program is None:
        pytest.skip("nghttpd is not installed")
    folder: Path = tmp_path_factory.mktemp("nghttpd")
    (folder / "index.html").write_bytes(b"ok")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    process = subprocess.Popen(
        [program, "--no-tls", "-a", "127.0.0.1", "-d", str(folder), str(port)], start_new_session=True
    )
    try:
        connect(port).sock.close()
        yield port
    finally:
        process.terminate()
        process.wait()


def connect(port: int) -> SocketLink:
    """A connection to a server that may still be starting."""
    end = time.monotonic() + DEADLINE
    while True:
        try:
            return SocketLink(socket.create_connection(("127.0.0.1", port), DEADLINE))
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
