"""More and more connections, all of them busy."""

from __future__ import annotations

from benchmarks.macro import wrk
from benchmarks.macro.bench import GATEWAY, Bench
from benchmarks.macro.compare import closed_loop, proxies, rounds, warm
from benchmarks.results import Goal, Outcome

NAME = "connections"
TITLE = "64, 1,000 and 5,000 busy connections"

COUNTS = (64, 1000, 5000)
PEERS = ("nginx", "haproxy", "envoy")


def run(bench: Bench, outcome: Outcome) -> None:
    """The plain proxy with each number of connections; opening them is part of what is measured."""
    outcome.about = "wrk opens all connections at once and keeps them; the CPU time to open them is included."
    outcome.metrics = ["cpu_us", "rps", "rps_core", "busy", "pss_mb", "failed"]
    with proxies(bench, {GATEWAY: bench.setup()}, peers=PEERS) as subjects:
        warm(bench, subjects, wrk.Load())
        for count in COUNTS:
            if count > bench.open_files // 2 - 64:
                outcome.notes.append(f"{count:,} connections left out: only {bench.open_files:,} open files allowed")
                continue
            # Opening five thousand connections takes a second or more; it must not be most of the run.
            seconds = max(bench.settings.seconds, bench.settings.pick(6, 10)) if count > COUNTS[1] else None
            load = wrk.Load(connections=count, timeout=20)
            case = f"{count:,} connections"
            outcome.rows += rounds(bench, case, subjects, closed_loop(bench, load, seconds))
            ratio = outcome.ratio("cpu_us", (case, GATEWAY), (case, "envoy"))
            outcome.goals.append(Goal(f"CPU per request to Envoy's, {case}", ratio, 0.75, "x"))
