"""Bodies: throughput of small and large ones, uploads, and what slow readers hold in memory."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from benchmarks.macro import wrk
from benchmarks.macro.bench import GATEWAY, ROOT, Bench, Proxy
from benchmarks.macro.compare import closed_loop, proxies, rounds, warm
from benchmarks.macro.holder import held
from benchmarks.results import AT_LEAST, Goal, Outcome

NAME = "bodies"
TITLE = "response bodies of 1 KiB, 64 KiB and 10 MiB, uploads of 1 MiB, slow readers"

PEERS = ("nginx", "haproxy", "envoy")
#: Bytes a second that a slow reader takes.
PACE = 64 * 1024
MIB = 1024 * 1024


@dataclass(frozen=True)
class Case:
    """One kind of body."""

    title: str
    load: wrk.Load


CASES = (
    Case("1 KiB responses", wrk.Load(path="/files/1k")),
    Case("64 KiB responses", wrk.Load(path="/files/64k")),
    Case("10 MiB responses, 16 connections", wrk.Load(path="/files/10m", connections=16, timeout=30)),
    Case("1 MiB uploads, 16 connections", wrk.Load(path="/upload", connections=16, method="POST", body_bytes=MIB)),
)


def run(bench: Bench, outcome: Outcome) -> None:
    """Each kind of body in turn, then slow readers."""
    outcome.about = (
        f"Slow readers ask for 10 MiB and take {PACE // 1024} KiB a second; memory without the kernel's buffers."
    )
    outcome.metrics = ["cpu_us", "rps", "mb_s", "cpu_us_mb", "busy", "pss_mb", "pss_kb_connection"]
    with proxies(bench, {GATEWAY: bench.setup()}, peers=PEERS) as subjects:
        for case in CASES:
            warm(bench, subjects, case.load, check="/files/10m" if case.load.body_bytes else case.load.path)
            rows = rounds(bench, case.title, subjects, closed_loop(bench, case.load))
            if case.load.body_bytes:
                for row in rows:  # wrk counts what it received; here the sent bytes are meant
                    for values in row.rounds:
                        values["mb_s"] = values["rps"] * case.load.body_bytes / 1e6
                        values["cpu_us_mb"] = values["cpu_us"] / case.load.body_bytes * 1e6
            outcome.rows += rows
    slow = f"{_readers(bench)} slow readers of 10 MiB"
    # Started anew: memory that earlier load left behind would hide what the readers need.
    with proxies(bench, {GATEWAY: bench.setup()}, peers=PEERS) as subjects:
        outcome.rows += rounds(bench, slow, subjects, lambda proxy: _slow(bench, proxy))
    large = CASES[2].title
    reader = outcome.row(slow, GATEWAY)
    outcome.goals = [
        Goal(
            "throughput of 10 MiB responses to nginx's",
            outcome.ratio("mb_s", (large, GATEWAY), (large, "nginx")),
            0.5,
            "x",
            AT_LEAST,
        ),
        Goal("memory of a slow reader", reader.median("pss_kb_connection") if reader else None, 512, "KB"),
    ]


def _readers(bench: Bench) -> int:
    return int(bench.settings.pick(50, 200))


def _slow(bench: Bench, proxy: Proxy) -> dict[str, float]:
    count = _readers(bench)
    before = proxy.pss()
    command = ["taskset", "-c", str(bench.load_core), sys.executable, "-m", "benchmarks.macro.holder"]
    command += ["--port", str(proxy.port), "--connections", str(count), "--path", "/files/10m", "--pace", str(PACE)]
    with held(command, str(ROOT), settle=2.0):
        grown = proxy.pss() - before
    return {"pss_kb_connection": grown / count / 1e3}
