"""Thirty changes of the configuration under full load, and a WebSocket that must not notice."""

from __future__ import annotations

import sys

from benchmarks.macro import wrk
from benchmarks.macro.bench import GATEWAY, ROOT, Bench, Proxy, pause
from benchmarks.macro.procs import BenchError, wait_until
from benchmarks.macro.scenarios.routes import change, version_route
from benchmarks.macro.websocket import Client
from benchmarks.results import Goal, Outcome, Row

NAME = "reload"
TITLE = "30 configuration changes under load, a WebSocket held open through all of them"

CASE = "64 connections, 2 workers"
CHANGES = 30
#: A connection lands on either worker: so many in a row have both seen the change, but for one in 256.
SEEN = 8


def run(bench: Bench, outcome: Outcome) -> None:
    """Changes one after the other, as fast as they come into use, at most five a second."""
    outcome.metrics = ["changes", "requests", "failed", "effect_ms", "echoes", "socket_breaks"]
    echo = bench.launcher.start("echo", [sys.executable, "-m", "benchmarks.macro.websocket"], bench.cores, _path())
    wait_until("the echo server", lambda: bool(echo.log.read_text().strip()), echo)
    upstreams = {"echo": {"endpoints": [f"http://127.0.0.1:{int(echo.log.read_text())}"]}}
    routes = [version_route(0), {"name": "echo", "match": {"paths": ["/ws"]}, "to": "echo"}]
    setup = bench.setup(workers=2, routes=routes, extra_upstreams=upstreams)
    with bench.gateway(setup, spread=True) as proxy:
        outcome.rows = [Row(CASE, GATEWAY, [_under_load(bench, proxy)])]
    bench.launcher.stop(echo)
    row = outcome.rows[0]
    outcome.goals = [
        Goal("failed requests", row.median("failed"), 0),
        Goal("broken WebSockets", row.median("socket_breaks"), 0),
    ]


def _path() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT)}


def _under_load(bench: Bench, proxy: Proxy) -> dict[str, float]:
    socket = Client(proxy.port, "/ws")
    seconds = 12.0
    popen = wrk.start(wrk.Load(), proxy.port, seconds, bench.load_core, bench.workdir)
    effects: list[float] = []
    echoes = breaks = 0
    try:
        pause(0.5)
        while len(effects) < CHANGES and popen.poll() is None:
            bench.say(f"change {len(effects) + 1} of {CHANGES}")
            effects.append(change(proxy, len(effects) + 1, SEEN))
            try:
                echoes += socket.echo(f"still here after {len(effects)}")
            except OSError:
                breaks += 1
                socket = Client(proxy.port, "/ws")
            pause(0.2)
        if len(effects) < CHANGES:
            bench.say(f"only {len(effects)} changes came into use during the load")
        result = wrk.finish(popen, seconds)
    finally:
        socket.close()
        popen.kill()
        popen.communicate()
    if not effects:
        raise BenchError("no change came into use under load")
    return {
        "changes": float(len(effects)),
        "requests": float(result.requests),
        "failed": float(result.failed + result.refused),
        "effect_ms": sorted(effects)[len(effects) // 2] * 1e3,
        "echoes": float(echoes),
        "socket_breaks": float(breaks),
    }
