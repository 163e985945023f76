"""One key, one limit, two workers, far more requests than allowed: how many get through?"""

from __future__ import annotations

from benchmarks.macro import wrk
from benchmarks.macro.bench import GATEWAY, Bench
from benchmarks.results import Goal, Outcome, Row

NAME = "ratelimit"
TITLE = "1,000 requests/s allowed to one key, two workers, saturated"

CASE = "64 connections, one API key"
LIMIT, BURST = 1000, 1000


def run(bench: Bench, outcome: Outcome) -> None:
    """Ten seconds of full load; whatever is not 429 was admitted."""
    seconds = 10.0
    outcome.metrics = ["requests", "admitted", "allowed", "deviation"]
    policies = [
        {"api_key": {"header": "x-api-key"}},
        {"rate_limit": {"limit": f"{LIMIT}/s", "burst": BURST, "by": "consumer"}},
    ]
    bench.say(f"saturating for {seconds:.0f} s")
    with bench.gateway(bench.setup(workers=2, policies=policies), spread=True) as proxy:
        result = wrk.run(wrk.Load(), proxy.port, seconds, bench.load_core, bench.workdir)
    admitted = result.requests - result.refused
    allowed = LIMIT * result.seconds + BURST
    values = {
        "requests": float(result.requests),
        "admitted": float(admitted),
        "allowed": allowed,
        "deviation": admitted / allowed - 1,
    }
    outcome.rows = [Row(CASE, GATEWAY, [values])]
    outcome.goals = [
        Goal("distance from what is allowed", abs(values["deviation"]), 0.02, "%"),
        Goal("failed requests", float(result.failed), 0),
    ]
