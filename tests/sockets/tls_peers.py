"""A data plane that speaks TLS, and what it has counted."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from gatewright.proxy import families
from gatewright.testing.data_plane import DataPlaneServer

ROUTES = 'routes: [{name: all, match: {paths: ["/*"]}, respond: {status: 200, body: "hello"}}]'


def configuration(*pairs: tuple[Path, Path], tls: str = "", listener: str = "", rest: str = ROUTES) -> str:
    """One listener with these certificates; additions begin with a comma."""
    certificates = ", ".join(f'{{cert: "{cert}", key: "{key}"}}' for cert, key in pairs)
    return f"""
version: 1
drain_timeout: 5s
telemetry: {{access_log: {{to: "off"}}}}
listeners:
  - {{name: public, bind: "127.0.0.1:0", tls: {{certificates: [{certificates}]{tls}}}{listener}}}
{rest}
"""


def counted(server: DataPlaneServer, *names: str) -> dict[tuple[str, ...], float]:
    """Labels → count, since the last call, of the first of the metrics; the listener is left out."""
    found = {}
    for key, value in server.plane.stats().counters.items():
        name, _, *labels = key.split(families.SEPARATOR)
        if name in names:
            found[tuple(labels)] = value
    return found


def handshakes(server: DataPlaneServer) -> dict[tuple[str, ...], float]:
    """(version, resumed) or (reason of a failure,) → count, since the last call."""
    return counted(server, families.TLS_HANDSHAKES, families.TLS_REFUSED)


def tool(name: str) -> str:
    """The path of a program; the test is skipped when there is none."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


async def run(*command: str, stdin: bytes = b"", deadline: float = 15.0) -> tuple[int, str]:
    """Run a program: its exit code, and all it has written."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(deadline):
        out, _ = await process.communicate(stdin)
    return process.returncode or 0, out.decode("utf-8", "replace")


async def s_client(port: int, *options: str, stdin: bytes = b"") -> tuple[int, str]:
    """``openssl s_client``."""
    return await run(tool("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", *options, stdin=stdin)


async def curl(port: int, authority: Any, name: str, *options: str, path: str = "/") -> tuple[int, str]:
    """``curl`` to a name that leads here."""
    return await run(
        tool("curl"), "-sS", "--noproxy", "*", "--max-time", "10", "--cacert", str(authority.ca_path),
        "--resolve", f"{name}:{port}:127.0.0.1", *options, f"https://{name}:{port}{path}",
    )  # fmt: skip
