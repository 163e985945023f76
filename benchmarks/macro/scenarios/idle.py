"""Nothing to do: what the gateway takes from the machine all the same."""

from __future__ import annotations

import time

from benchmarks.macro.bench import GATEWAY, Bench, pause
from benchmarks.macro.gateway import FULL
from benchmarks.results import Goal, Outcome, Row

NAME = "idle"
TITLE = "supervisor, controller and two workers without traffic"

CASE = "idle"


def run(bench: Bench, outcome: Outcome) -> None:
    """Memory and CPU over a while, after the start has settled."""
    seconds = bench.settings.pick(5, 20)
    outcome.metrics = ["pss_mb", "idle_cpu"]
    setup = bench.setup(workers=2, policies=FULL, access_log=str(bench.workdir / "idle.log"))
    with bench.gateway(setup, spread=True) as proxy:
        pause(3.0)
        before, started = proxy.cpu(), time.monotonic()
        bench.say(f"idle for {seconds:.0f} s")
        pause(seconds)
        used = (proxy.cpu() - before) / (time.monotonic() - started)
        outcome.rows = [Row(CASE, f"{GATEWAY}, 2 workers", [{"pss_mb": proxy.pss() / 1e6, "idle_cpu": used}])]
    row = outcome.rows[0]
    outcome.goals = [
        Goal("memory in all", row.median("pss_mb"), 100, "MB"),
        Goal("CPU of one core", row.median("idle_cpu"), 0.01, "%"),
    ]
