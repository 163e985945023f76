"""Interleaved rounds: A B C, A B C, … so that whatever disturbs the machine disturbs everybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from benchmarks.macro import h2load, wrk
from benchmarks.macro.bench import GATEWAY, Bench, Proxy
from benchmarks.macro.gateway import Setup
from benchmarks.macro.procs import BenchError, stolen_seconds
from benchmarks.macro.protocols import PLAIN, Protocols
from benchmarks.results import Goal, Outcome, Row

Measure = Callable[[Proxy], dict[str, float]]
Load = wrk.Load | h2load.Load

#: The other checkout of the gateway.
BEFORE = f"{GATEWAY} before"
#: More wrong answers than this share of all, and a figure means nothing.
TOLERATED = 0.001


@contextmanager
def proxies(
    bench: Bench,
    setups: dict[str, Setup],
    peers: Sequence[str] | None = None,
    protocols: Protocols = PLAIN,
) -> Iterator[list[Proxy]]:
    """The peers (all chosen ones, or those named) and one gateway per setup, running side by side.

    A peer that does not start is left out with a message; the gateway has to start.
    """
    with ExitStack() as stack:
        running: list[Proxy] = []
        for peer in bench.peers if peers is None else bench.named(*peers):
            try:
                running.append(stack.enter_context(bench.peer(peer, protocols)))
            except BenchError as error:
                bench.say(f"{peer.name} left out: {error}")
        for name, setup in setups.items():
            running.append(stack.enter_context(bench.gateway(setup, name=name)))
        yield running


def with_before(bench: Bench, setups: dict[str, Setup]) -> dict[str, Setup]:
    """The same, and the first of them served by the other checkout, if there is one to compare with."""
    if bench.settings.before is None:
        return setups
    first = next(iter(setups.values()))
    return {**setups, BEFORE: replace(first, source=bench.settings.before)}


def before_goal(outcome: Outcome, case: str) -> list[Goal]:
    """That nothing has become slower; no goal when there was nothing to compare with."""
    if outcome.row(case, BEFORE) is None:
        return []
    ratio = outcome.ratio("cpu_us", (case, GATEWAY), (case, BEFORE))
    return [Goal("CPU per request to that of the other checkout", ratio, 1.03, "x")]


def rounds(bench: Bench, case: str, subjects: Sequence[Proxy], measure: Measure) -> list[Row]:
    """Measure every subject once a round; one row per subject.

    A peer that fails is left out of the case with a message: it is not what is tested. The gateway's failure is raised.
    """
    rows = [Row(case, proxy.name) for proxy in subjects]
    out: set[str] = set()
    for number in range(bench.settings.rounds):
        for proxy, row in zip(subjects, rows, strict=True):
            if proxy.name in out:
                continue
            bench.say(f"{case}: round {number + 1} of {bench.settings.rounds}, {proxy.name}")
            try:
                row.rounds.append(measure(proxy))
            except BenchError as error:
                if not proxy.is_peer:
                    raise
                bench.say(f"{case}: {proxy.name} left out: {error}")
                out.add(proxy.name)
    return [row for row in rows if row.subject not in out]


def warm(bench: Bench, subjects: Sequence[Proxy], load: Load, check: str = "") -> None:
    """Compare the bytes of an answer with the origin's, then a second of load that is not counted."""
    for proxy in subjects:
        bench.say(f"checking and warming up {proxy.name}")
        proxy.check(bench.workdir, check or load.path)
        drive(bench, proxy, replace(load, connections=min(load.connections, 256)), 1.0)


def drive(bench: Bench, proxy: Proxy, load: Load, seconds: float) -> wrk.Result:
    """Put the load on the proxy, with the program that is for it."""
    if isinstance(load, h2load.Load):
        return h2load.run(load, proxy.port, proxy.protocols, seconds, bench.load_core, bench.workdir)
    return wrk.run(load, proxy.port, seconds, bench.load_core, bench.workdir, proxy.protocols)


def closed_loop(bench: Bench, load: Load, seconds: float | None = None) -> Measure:
    """Full load: CPU per request, requests a second, how busy the core was, memory right after."""

    def measure(proxy: Proxy) -> dict[str, float]:
        before, user, stolen = proxy.cpu(), proxy.user(), stolen_seconds(bench.proxy_core)
        result = drive(bench, proxy, load, seconds or bench.settings.seconds)
        used, user = proxy.cpu() - before, proxy.user() - user
        wrong = result.failed + result.refused
        if not result.requests or wrong > result.requests * TOLERATED:
            raise BenchError(f"{proxy.name}: {wrong} of {result.requests} requests failed\n{proxy.process.tail()}")
        return {
            "cpu_us": used / result.requests * 1e6,
            "user_us": user / result.requests * 1e6,
            "rps": result.requests / result.seconds,
            "rps_core": result.requests / used if used else 0.0,
            "busy": used / result.seconds,
            "stolen": (stolen_seconds(bench.proxy_core) - stolen) / result.seconds,
            "mb_s": result.transferred / result.seconds / 1e6,
            "cpu_us_mb": used / result.transferred * 1e12 if result.transferred else 0.0,
            "pss_mb": proxy.pss() / 1e6,
            "failed": float(wrong),
        }

    return measure


def open_loop(bench: Bench, port: int, connections: int = 64) -> dict[str, float]:
    """Latency at the fixed rate of the run, seen from outside."""
    settings = bench.settings
    options = {"port": port, "rate": settings.rate, "seconds": settings.seconds, "connections": connections}
    arguments = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    data = bench.python("openloop", *arguments)
    if data["failed"]:
        raise BenchError(f"{data['failed']} of {data['sent']} requests at a fixed rate failed: {data['failures'][:3]}")
    return {key: float(data[key]) for key in ("p50_us", "p99_us", "p999_us")}
