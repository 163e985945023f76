"""Ten routes or ten thousand: what a request and a change of the configuration cost."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.macro import gateway, wrk
from benchmarks.macro.bench import Bench, Proxy
from benchmarks.macro.client import HEADERS, fetch
from benchmarks.macro.compare import closed_loop, proxies, rounds, warm
from benchmarks.macro.procs import wait_until
from benchmarks.results import Goal, Outcome, Row

NAME = "routes"
TITLE = "10 routes and 10,000 routes"

FEW, MANY = 10, 10_000
ONE = "one route asked"
ALL = "all routes asked in turn"
CHANGE = "one route changed, from writing the file to the new answer"
CHANGES = 5


def run(bench: Bench, outcome: Outcome) -> None:
    """One gateway with few routes, one with many, side by side."""
    outcome.metrics = ["cpu_us", "user_us", "rps", "rps_core", "busy", "pss_mb", "effect_ms"]
    names = {count: f"{count:,} routes" for count in (FEW, MANY)}
    setups = {name: bench.setup(routes=[version_route(0), *_routes(count)]) for count, name in names.items()}
    rest = wrk.head_block(HEADERS)
    with proxies(bench, setups, peers=()) as subjects:
        one = wrk.Load(path=f"/svc{FEW - 1}/items/42")
        warm(bench, subjects, one)
        outcome.rows += rounds(bench, ONE, subjects, closed_loop(bench, one))
        turns = {
            names[count]: closed_loop(bench, wrk.Load(script=wrk.ROUTES.format(rest=rest, count=count)))
            for count in (FEW, MANY)
        }
        outcome.rows += rounds(bench, ALL, subjects, lambda proxy: turns[proxy.name](proxy))
        for proxy in subjects:
            bench.say(f"changing a route among {proxy.name}")
            times = [{"effect_ms": change(proxy, number) * 1e3} for number in range(1, CHANGES + 1)]
            outcome.rows.append(Row(CHANGE, proxy.name, times))
    few, many = names[FEW], names[MANY]
    effect = outcome.row(CHANGE, many)
    outcome.goals = [
        Goal("10,000 routes to 10, one asked", outcome.ratio("cpu_us", (ONE, many), (ONE, few)), 1.05, "x"),
        Goal("10,000 routes to 10, all asked", outcome.ratio("cpu_us", (ALL, many), (ALL, few)), 1.05, "x"),
        Goal("a change among 10,000 routes is in use", effect.median("effect_ms") if effect else None, 50, "ms"),
    ]


def _routes(count: int) -> list[dict[str, Any]]:
    return [{"name": f"svc{i}", "match": {"paths": [f"/svc{i}/items/{{id}}"]}, "to": "origin"} for i in range(count)]


def version_route(number: int) -> dict[str, Any]:
    """A route whose answer tells which configuration is in use."""
    answer = {"status": 200, "body": f"version {number}"}
    return {"name": "version", "match": {"paths": ["/version"]}, "respond": answer}


def change(proxy: Proxy, number: int, seen: int = 1) -> float:
    """Change the configuration and wait until ``seen`` connections in a row get the new answer; returns seconds."""
    configuration = proxy.configuration
    configuration.setup.routes[0] = version_route(number)
    configuration.write()
    started = time.monotonic()
    gateway.reload(proxy.process.pid)
    first = 0.0
    streak = 0

    def in_use() -> bool:
        nonlocal first, streak
        status, body = fetch(proxy.port, "/version")
        streak = streak + 1 if (status, body) == (200, f"version {number}".encode()) else 0
        if streak == 1:
            first = time.monotonic()
        return streak >= seen

    wait_until(f"version {number}", in_use, proxy.process, 60.0, pause=0.001)
    return first - started
