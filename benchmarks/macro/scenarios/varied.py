"""No two requests are alike: what is left when caches of header blocks do not help."""

from __future__ import annotations

from benchmarks.macro import wrk
from benchmarks.macro.bench import GATEWAY, Bench
from benchmarks.macro.client import HEADERS
from benchmarks.macro.compare import closed_loop, proxies, rounds, warm
from benchmarks.macro.gateway import FULL
from benchmarks.results import Goal, Outcome

NAME = "varied"
TITLE = "every request with its own path and trace id"

CASE = "64 connections"


def run(bench: Bench, outcome: Outcome) -> None:
    """Like the closed-loop part of ``plain`` and ``full``."""
    outcome.metrics = ["cpu_us", "user_us", "rps", "rps_core", "busy", "stolen"]
    load = wrk.Load(script=wrk.VARIED.format(rest=wrk.head_block(HEADERS, without="Traceparent")))
    full = f"{GATEWAY} full"
    setups = {
        GATEWAY: bench.setup(),
        full: bench.setup(policies=FULL, access_log=str(bench.workdir / "varied.log")),
    }
    with proxies(bench, setups) as subjects:
        warm(bench, subjects, load)
        outcome.rows = rounds(bench, CASE, subjects, closed_loop(bench, load))
    outcome.goals = [
        Goal("CPU per request to Envoy's", outcome.ratio("cpu_us", (CASE, GATEWAY), (CASE, "envoy")), 0.75, "x"),
        Goal("the same, everything on", outcome.ratio("cpu_us", (CASE, full), (CASE, "envoy")), 0.9, "x"),
    ]
