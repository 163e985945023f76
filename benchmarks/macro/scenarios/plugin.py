"""A user's policy in Python on the path: what it costs."""

from __future__ import annotations

from benchmarks.macro import wrk
from benchmarks.macro.bench import GATEWAY, ROOT, Bench
from benchmarks.macro.compare import closed_loop, proxies, rounds, warm
from benchmarks.results import Goal, Outcome

NAME = "plugin"
TITLE = "a header policy from examples/plugins on the path"

CASE = "64 connections"
PLUGIN = ROOT / "examples" / "plugins" / "stamp.py"


def run(bench: Bench, outcome: Outcome) -> None:
    """The plain proxy with and without the policy, side by side."""
    outcome.metrics = ["cpu_us", "user_us", "rps", "rps_core", "busy"]
    stamped = f"{GATEWAY} + stamp"
    setups = {
        GATEWAY: bench.setup(),
        stamped: bench.setup(plugins=[str(PLUGIN)], policies=[{"stamp": {}}]),
    }
    load = wrk.Load()
    with proxies(bench, setups, peers=()) as subjects:
        warm(bench, subjects, load)
        outcome.rows = rounds(bench, CASE, subjects, closed_loop(bench, load))
    ratio = outcome.ratio("cpu_us", (CASE, stamped), (CASE, GATEWAY))
    outcome.goals = [Goal("CPU per request with the policy to without", ratio, 1.05, "x")]
