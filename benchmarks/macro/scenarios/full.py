"""The gateway with what it is bought for, beside peers with nothing on."""

from __future__ import annotations

from benchmarks.macro import wrk
from benchmarks.macro.bench import GATEWAY, Bench, Proxy
from benchmarks.macro.client import fetch
from benchmarks.macro.compare import proxies, warm
from benchmarks.macro.gateway import FULL
from benchmarks.macro.procs import BenchError, wait_until
from benchmarks.macro.scenarios.plain import CASE, METRICS, added_p99, measured
from benchmarks.results import AT_LEAST, Goal, Outcome

NAME = "full"
TITLE = "api_key + rate_limit + metrics + JSON access log, beside peers with nothing on"

SUBJECT = f"{GATEWAY} full"


def run(bench: Bench, outcome: Outcome) -> None:
    """As ``plain``, with the policies on for the gateway only."""
    outcome.about = (
        "The gateway checks the API key, takes from a rate limit shared by all workers, counts metrics and writes "
        "one JSON line a request to a file. The peers are the plain reverse proxies of `plain`."
    )
    outcome.metrics = METRICS
    load = wrk.Load()
    log = bench.workdir / "access.log"
    setups = {
        GATEWAY: bench.setup(),
        SUBJECT: bench.setup(policies=FULL, access_log=str(log)),
    }
    with proxies(bench, setups) as subjects:
        _check_policies(subjects[-1])
        warm(bench, subjects, load)
        outcome.rows = measured(bench, subjects, load)
        outcome.notes.append(_check_log(bench, subjects[-1]))
    outcome.goals = [
        Goal(
            "CPU per request, everything on, to Envoy's with nothing on",
            outcome.ratio("cpu_us", (CASE, SUBJECT), (CASE, "envoy")),
            0.9,
            "x",
        ),
        Goal("P99 added over the origin alone", added_p99(outcome.rows, SUBJECT), 1000, "µs"),
        Goal("requests a second on two cores' worth of gateway time", _two_cores(outcome), 50_000, "", AT_LEAST),
    ]


def _two_cores(outcome: Outcome) -> float | None:
    row = outcome.row(CASE, SUBJECT)
    per_core = row.median("rps_core") if row else None
    return None if per_core is None else 2 * per_core


def _check_policies(proxy: Proxy) -> None:
    """A policy that does not refuse is not being measured."""
    status, _ = fetch(proxy.port, "/", {"X-Api-Key": "wrong"})
    if status != 401:
        raise BenchError(f"a wrong API key was answered with {status}, not 401: the policies are not on")


def _check_log(bench: Bench, proxy: Proxy) -> str:
    """The log must have a line for every request that the metrics counted: nothing was left out to be quick."""
    log = bench.workdir / "access.log"
    lines = counted = 0

    def agree() -> bool:
        nonlocal lines, counted
        counted = _counted(proxy)
        with log.open("rb") as stream:
            lines = sum(1 for _ in stream)
        return lines == counted

    # The counters reach the controller once a second, the lines the file ten times a second.
    wait_until("access log and metrics to agree", agree, seconds=10.0, pause=0.5)
    return (
        f"Checked: {counted:,} requests in the metrics, {lines:,} lines in the access log, "
        f"{log.stat().st_size / max(1, lines):.0f} bytes each."
    )


def _counted(proxy: Proxy) -> int:
    # The admin listener answers to its own name only.
    admin = proxy.configuration.admin
    status, metrics = fetch(admin, "/metrics", {"Host": f"127.0.0.1:{admin}"})
    if status != 200:
        raise BenchError(f"/metrics answered {status}")
    found = [line for line in metrics.splitlines() if line.startswith(b"gatewright_requests_total{")]
    return round(sum(float(line.rpartition(b" ")[2]) for line in found))
