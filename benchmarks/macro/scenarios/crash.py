"""A worker is killed under load: which requests fail, and when is its place taken again?"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time

from benchmarks.macro.bench import GATEWAY, ROOT, Bench, Proxy, pause
from benchmarks.macro.client import fetch
from benchmarks.macro.procs import BenchError, established
from benchmarks.results import Goal, Outcome, Row

NAME = "crash"
TITLE = "kill -9 of a worker under load"

CASE = "64 connections at a fixed rate, 2 workers"


def run(bench: Bench, outcome: Outcome) -> None:
    """One kill a round, each on a fresh gateway."""
    outcome.about = "Accepting again: the longest that a new connection made right after the kill waits for its answer."
    outcome.metrics = ["requests", "failed", "in_flight", "back_ms"]
    row = Row(CASE, GATEWAY)
    outcome.rows = [row]
    for number in range(3):
        bench.say(f"kill {number + 1} of 3")
        with bench.gateway(bench.setup(workers=2), spread=True) as proxy:
            row.rounds.append(_kill(bench, proxy))
    beyond = max(values["failed"] - values["in_flight"] for values in row.rounds)
    outcome.goals = [
        Goal("failed requests beyond those of the killed worker", max(0.0, beyond), 0),
        Goal("accepting again", row.median("back_ms"), 200, "ms"),
    ]


def _worker(proxy: Proxy, port: int) -> int:
    """The child of the supervisor that holds most client connections."""
    held = {pid: established(pid, port) for pid in proxy.process.pids() if pid != proxy.process.pid}
    busiest = max(held, key=lambda pid: held[pid], default=0)
    if not busiest or not held[busiest]:
        raise BenchError("no worker with client connections was found")
    return busiest


def _kill(bench: Bench, proxy: Proxy) -> dict[str, float]:
    command = ["taskset", "-c", str(bench.load_core), sys.executable, "-m", "benchmarks.macro.openloop"]
    command += ["--port", str(proxy.port), "--rate", str(bench.settings.rate), "--seconds", "4"]
    load = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        pause(1.5)
        victim = _worker(proxy, proxy.port)
        connections = established(victim, proxy.port)
        os.kill(victim, signal.SIGKILL)
        back, broken = _probe(proxy, time.monotonic())
        output, _ = load.communicate(timeout=30)
    finally:
        load.kill()
        load.communicate()
    data = json.loads(output)
    return {
        "requests": float(data["sent"]),
        "failed": float(data["failed"] + broken),
        "in_flight": float(connections),
        "back_ms": back * 1e3,
    }


def _probe(proxy: Proxy, killed: float) -> tuple[float, int]:
    """New connections for a second: the longest wait for an answer, counted from the kill, and the failures."""
    longest = 0.0
    broken = 0
    while time.monotonic() < killed + 1.0:
        started = time.monotonic()
        try:
            fetch(proxy.port, "/", timeout=5.0)
        except (OSError, http.client.HTTPException):
            broken += 1
        longest = max(longest, time.monotonic() - started)
    return longest, broken
