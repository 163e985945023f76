"""Closed-loop load over HTTP/2 with h2load: so many streams on each connection, always all of them in use."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.macro.client import HEADERS
from benchmarks.macro.openloop import percentile
from benchmarks.macro.procs import BenchError
from benchmarks.macro.protocols import HOST, Protocols
from benchmarks.macro.wrk import Result

_DONE = re.compile(r"^finished in ([\d.]+)(us|ms|s),", re.MULTILINE)
_REQUESTS = re.compile(r"^requests: .* (\d+) done, \d+ succeeded, (\d+) failed,", re.MULTILINE)
_STATUSES = re.compile(r"^status codes: .* (\d+) 4xx, (\d+) 5xx", re.MULTILINE)
_TRAFFIC = re.compile(r"^traffic: \S+ \((\d+)\) total, .* \((\d+)\) data", re.MULTILINE)
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True)
class Load:
    """What h2load is to do. With a ``message`` every request is a gRPC call; right answers have ``answer_bytes``."""

    path: str = "/api/widgets/42"
    connections: int = 64
    streams: int = 1
    message: bytes = b""
    answer_bytes: int = 0


def _command(load: Load, port: int, protocols: Protocols, core: int, workdir: Path) -> list[str]:
    command = ["taskset", "-c", str(core), "h2load", "-t1", f"-c{load.connections}", f"-m{load.streams}"]
    command += ["--connect-to", f"127.0.0.1:{port}", "--ciphers=ECDHE-ECDSA-AES128-GCM-SHA256"]
    command += ["--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519:P-256", "--npn-list=h2"]
    sent = HEADERS
    if load.message:
        sent = {"User-Agent": "grpc-bench/1.0", "Content-Type": "application/grpc", "TE": "trailers"}
        (workdir / "message").write_bytes(load.message)
        command += ["-d", str(workdir / "message")]
    command += [part for name, value in sent.items() if name != "Host" for part in ("-H", f"{name.lower()}: {value}")]
    return [*command, f"{protocols.scheme}://{HOST}{load.path}"]


def run(load: Load, port: int, protocols: Protocols, seconds: float, core: int, workdir: Path) -> Result:
    """Run h2load for ``seconds`` against 127.0.0.1:``port``. Raises :class:`BenchError` when it failed itself."""
    command = _command(load, port, protocols, core, workdir)
    return read(_run([*command[:4], f"-D{round(seconds * 1000)}ms", *command[4:]], seconds), load)


def _run(command: list[str], seconds: float) -> str:
    # The libraries' defaults, whatever else is set up on this machine.
    environ = {**os.environ, "OPENSSL_CONF": os.devnull}
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False, env=environ)
    if done.returncode:
        raise BenchError(f"h2load failed: {done.stderr.strip() or done.stdout.strip()[-500:]}")
    return done.stdout


def read(output: str, load: Load) -> Result:
    """The figures that h2load has printed. Raises :class:`BenchError` when they are not there."""
    finished, requests = _DONE.search(output), _REQUESTS.search(output)
    statuses, traffic = _STATUSES.search(output), _TRAFFIC.search(output)
    if not (finished and requests and statuses and traffic):
        raise BenchError(f"h2load printed no figures: {output.strip()[-500:]}")
    # What is in flight at the end is in none of these figures.
    done, failed = int(requests[1]), int(requests[2])
    transferred, data = int(traffic[1]), int(traffic[2])
    refused = int(statuses[1]) + int(statuses[2])
    failed -= refused  # h2load counts them there, too
    if load.answer_bytes:  # a gRPC call that goes wrong is answered with 200, too, but without a message
        refused += max(0, done - data // load.answer_bytes)
    return Result(done, transferred, float(finished[1]) * _UNITS[finished[2]], failed, refused)


def latencies(
    load: Load, port: int, protocols: Protocols, rate: float, seconds: float, core: int, workdir: Path
) -> dict[str, float]:
    """P50, P99 and P99.9 in microseconds at a fixed rate.

    Each connection sends at equal distances, and they take turns. A request leaves when it is due unless all streams
    of its connection are in use: with ten of them, that takes a stall of a third of a second at the usual rate.
    """
    log = workdir / "h2load.log"
    log.unlink(missing_ok=True)
    command = _command(load, port, protocols, core, workdir)
    between = max(1, round(1000 / rate))  # whole milliseconds between the first requests of the connections ...
    together = max(1, round(rate * between / 1000))  # ... and how many begin at the same time
    total = max(load.connections, round(rate * seconds))
    options = [f"-n{total}", f"--rps={rate / load.connections:.3f}", f"-r{together}", f"--rate-period={between}ms"]
    read(_run([*command[:4], *options, f"--log-file={log}", *command[4:]], seconds), load)
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    wrong = sum(row[1] != "200" for row in rows) + total - len(rows)
    if wrong:
        raise BenchError(f"{wrong} of {total} requests at a fixed rate failed")
    ordered = sorted(float(row[2]) for row in rows)
    return {
        "p50_us": percentile(ordered, 0.50),
        "p99_us": percentile(ordered, 0.99),
        "p999_us": percentile(ordered, 0.999),
    }
