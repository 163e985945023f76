"""The example plugins work, and the example package passes its own tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gatewright.testing.rig import Rig

PLUGINS = Path(__file__).parents[3] / "examples" / "plugins"
PACKAGE = PLUGINS / "gatewright-hello"


def test_stamp(rig: Rig) -> None:
    rig.load(PLUGINS / "gateway.yaml")
    client = rig.client()
    stamps = []
    for request in (b"/hello", b"/sometimes", b"/sometimes HTTP/1.1\r\nx-please: 1"):
        line = request if b" " in request else request + b" HTTP/1.1"
        client.send(b"GET %b\r\nhost: x\r\n\r\n" % line)
        fields = client.take().partition(b"\r\n\r\n")[0].split(b"\r\n")
        stamps.append([field for field in fields if field.startswith(b"x-stamp")])
    assert stamps == [[b"x-stamp: hello from a plugin"], [], [b"x-stamp: on demand"]]


def test_gatewright_hello() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
