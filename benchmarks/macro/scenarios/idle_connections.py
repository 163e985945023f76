"""Ten thousand clients that stay connected and say nothing."""

from __future__ import annotations

import sys

from benchmarks.macro.bench import GATEWAY, ROOT, Bench, Proxy
from benchmarks.macro.compare import proxies
from benchmarks.macro.gateway import FULL
from benchmarks.macro.holder import held
from benchmarks.macro.procs import BenchError
from benchmarks.results import Goal, Outcome, Row

NAME = "idle-connections"
TITLE = "memory with 10,000 idle kept-alive connections"

COUNT = 10_000


def run(bench: Bench, outcome: Outcome) -> None:
    """Each proxy once: memory before, with the connections, and the difference for one."""
    count = min(COUNT, bench.open_files - 500)
    case = f"{count:,} connections, each idle after one request"
    outcome.metrics = ["pss_mb", "pss_kb_connection"]
    if count < COUNT:
        outcome.notes.append(f"Only {count:,} connections: no more open files are allowed here.")
    full = bench.setup(workers=2, policies=FULL, access_log=str(bench.workdir / "idle-connections.log"))
    with proxies(bench, {f"{GATEWAY}, 2 workers": full}, peers=("nginx", "envoy")) as subjects:
        for proxy in subjects:
            bench.say(f"{case}: {proxy.name}")
            outcome.rows.append(Row(case, proxy.name, [_idle(bench, proxy, count)]))
    row = outcome.row(case, f"{GATEWAY}, 2 workers")
    outcome.goals = [Goal("memory in all", row.median("pss_mb") if row else None, 250, "MB")]


def _idle(bench: Bench, proxy: Proxy, count: int) -> dict[str, float]:
    before = proxy.pss()
    command = ["taskset", "-c", str(bench.load_core), sys.executable, "-m", "benchmarks.macro.holder"]
    command += ["--port", str(proxy.port), "--connections", str(count)]
    with held(command, str(ROOT), settle=2.0) as connections:
        after = proxy.pss()
        connections.release()
    if connections.closed:
        raise BenchError(f"{proxy.name} closed {connections.closed} of {count} idle connections")
    return {"pss_mb": after / 1e6, "pss_kb_connection": (after - before) / count / 1e3}
