"""A reverse proxy and nothing else: what the machinery itself costs."""

from __future__ import annotations

from benchmarks.macro import wrk
from benchmarks.macro.bench import GATEWAY, Bench, Proxy
from benchmarks.macro.compare import before_goal, closed_loop, open_loop, proxies, rounds, warm, with_before
from benchmarks.results import Goal, Outcome, Row

NAME = "plain"
TITLE = "plain reverse proxy, 64 kept-alive connections"

CASE = "full load, and latency at a fixed rate"
METRICS = ["cpu_us", "user_us", "rps", "rps_core", "busy", "stolen", "p50_us", "p99_us", "p999_us", "pss_mb"]


def run(bench: Bench, outcome: Outcome) -> None:
    """Measure the gateway and all peers, full load and fixed rate in turn."""
    outcome.about = (
        "Ten request headers, one small JSON answer, one worker on one core. Latency is from outside at "
        f"{bench.settings.rate:,} requests/s, counted from when a request should have left."
    )
    outcome.metrics = METRICS
    load = wrk.Load()
    with proxies(bench, with_before(bench, {GATEWAY: bench.setup()})) as subjects:
        warm(bench, subjects, load)
        outcome.rows = measured(bench, subjects, load)
    outcome.goals = [
        Goal("CPU per request to Envoy's", outcome.ratio("cpu_us", (CASE, GATEWAY), (CASE, "envoy")), 0.75, "x"),
        Goal("CPU per request to nginx's", outcome.ratio("cpu_us", (CASE, GATEWAY), (CASE, "nginx")), 1.6, "x"),
        Goal("P99 added over the origin alone", added_p99(outcome.rows), 1000, "µs"),
        *before_goal(outcome, CASE),
    ]


def measured(bench: Bench, subjects: list[Proxy], load: wrk.Load) -> list[Row]:
    """Both kinds of load for everybody, and the origin without any proxy for comparison."""
    full = closed_loop(bench, load)

    origin = Proxy("origin alone", bench.origin.port, bench.origin.process)

    def both(proxy: Proxy) -> dict[str, float]:
        loaded = {} if proxy is origin else full(proxy)
        return {**loaded, **open_loop(bench, proxy.port)}

    return rounds(bench, CASE, [origin, *subjects], both)


def added_p99(rows: list[Row], subject: str = GATEWAY) -> float | None:
    """P99 of the gateway less the origin's own, in microseconds."""
    by_name = {row.subject: row.median("p99_us") for row in rows}
    own, origin = by_name.get(subject), by_name.get("origin alone")
    return own - origin if own is not None and origin is not None else None
