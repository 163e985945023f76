"""Closed-loop load with wrk: as many requests as the proxy can take, on kept-alive connections."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.macro.client import HEADERS
from benchmarks.macro.procs import BenchError
from benchmarks.macro.protocols import PLAIN, Protocols

_DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n@@{"requests":%d,"bytes":%d,"micros":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\\n',
    summary.requests, summary.bytes, summary.duration, e.connect, e.read, e.write, e.status, e.timeout))
end
"""

#: Each request has its own trace id and its own path, so nothing that remembers header blocks is of use.
VARIED = """
local n = 0
local head = "GET /api/widgets/"
local rest = {rest}
request = function()
  n = n + 1
  return head .. n .. " HTTP/1.1\\r\\n" .. rest ..
    string.format("Traceparent: 00-%016x%016x-%016x-01\\r\\n\\r\\n", n * 2654435761 % 9007199254740991, n, n)
end
"""

#: One route after the other, spread over all of them by a step that has no factor in common with their number.
ROUTES = """
local n = 0
local rest = {rest}
request = function()
  n = (n + 7919) % {count}
  return "GET /svc" .. n .. "/items/42 HTTP/1.1\\r\\n" .. rest .. "\\r\\n"
end
"""


@dataclass(frozen=True)
class Load:
    """What wrk is to do. ``script`` is Lua that may define ``request``."""

    path: str = "/api/widgets/42"
    connections: int = 64
    script: str = ""
    method: str = "GET"
    body_bytes: int = 0
    timeout: int = 10


@dataclass(frozen=True)
class Result:
    """What came back: ``failed`` connections and answers gone wrong, ``refused`` answers of 400 and above."""

    requests: int
    transferred: int
    seconds: float
    failed: int
    refused: int


def head_block(headers: Mapping[str, str], without: str = "") -> str:
    """Header fields as Lua string literal."""
    return json.dumps("".join(f"{k}: {v}\r\n" for k, v in headers.items() if k != without))


def start(
    load: Load,
    port: int,
    seconds: float,
    core: int,
    workdir: Path,
    protocols: Protocols = PLAIN,
) -> subprocess.Popen[str]:
    """Start wrk for ``seconds`` against 127.0.0.1:``port``; :func:`finish` waits for it."""
    lines = [f'wrk.method = "{load.method}"']
    lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in HEADERS.items()]
    if load.body_bytes:
        lines.append(f'wrk.body = string.rep("0123456789abcde\\n", {load.body_bytes // 16})')
    script = workdir / "load.lua"
    script.write_text("\n".join([*lines, load.script, _DONE]))
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{load.connections}", f"-d{max(1, round(seconds))}s"]
    command += ["--timeout", str(load.timeout), "-s", str(script), f"{protocols.scheme}://127.0.0.1:{port}{load.path}"]
    environ = {**os.environ, **(protocols.tls.client_environ if protocols.tls else {})}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


def finish(popen: subprocess.Popen[str], seconds: float) -> Result:
    """Wait for wrk and read its figures. Raises :class:`BenchError` when wrk itself failed."""
    try:
        stdout, stderr = popen.communicate(timeout=seconds + 60)
    except BaseException:  # also an interrupt: wrk must not go on alone
        popen.kill()
        popen.wait()
        raise
    found = [line[2:] for line in stdout.splitlines() if line.startswith("@@")]
    if popen.returncode or not found:
        raise BenchError(f"wrk failed: {stderr.strip() or stdout.strip()}")
    data = json.loads(found[0])
    failed = data["connect"] + data["read"] + data["write"] + data["timeout"]
    return Result(data["requests"], data["bytes"], data["micros"] / 1e6, failed, data["status"])


def run(
    load: Load,
    port: int,
    seconds: float,
    core: int,
    workdir: Path,
    protocols: Protocols = PLAIN,
) -> Result:
    """Run wrk from beginning to end."""
    return finish(start(load, port, seconds, core, workdir, protocols), seconds)
