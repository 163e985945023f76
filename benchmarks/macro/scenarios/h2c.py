"""HTTP/2 in front, HTTP/1.1 behind: what the other version costs, alone and with ten streams side by side."""

from __future__ import annotations

from benchmarks.macro import h2load
from benchmarks.macro.bench import GATEWAY, Bench, Proxy
from benchmarks.macro.compare import closed_loop, proxies, rounds, warm
from benchmarks.macro.protocols import Protocols
from benchmarks.results import Goal, Outcome, Row

NAME = "h2c"
TITLE = "HTTP/2 without TLS to HTTP/1.1"

PEERS = ("nginx", "envoy")
METRICS = ["cpu_us", "user_us", "rps", "rps_core", "busy", "stolen", "p50_us", "p99_us", "p999_us", "pss_mb"]
#: Streams in use on each connection, and what the case is called.
STREAMS = {1: "64 connections, 1 stream on each", 10: "64 connections, 10 streams on each"}
FIXED = "latency at a fixed rate"

#: Whose CPU per request the gateway's is compared with, and how often it may contain it.
LIMITS = {"envoy": 0.9, "nginx": 1.6}
_NAMES = {"envoy": "Envoy", "nginx": "nginx"}


def run(bench: Bench, outcome: Outcome) -> None:
    """Full load with one and with ten streams, then a fixed rate."""
    measure(bench, outcome, Protocols(http2=True), h2load.Load(), LIMITS)


def measure(bench: Bench, outcome: Outcome, protocols: Protocols, load: h2load.Load, limits: dict[str, float]) -> None:
    """The same for any load over HTTP/2; the goals are the ``limits`` of CPU per request."""
    outcome.about = (
        "Ten request headers, one small JSON answer, one worker on one core. "
        if not load.message
        else f"Unary calls: {len(load.message)} bytes there, {load.answer_bytes} bytes back, one worker on one core. "
    ) + f"Latency at {bench.settings.rate:,} requests/s, counted from when h2load sent them."
    outcome.metrics = METRICS
    with proxies(bench, {GATEWAY: bench.setup(protocols=protocols)}, PEERS, protocols) as subjects:
        warm(bench, subjects, load)
        for streams, case in STREAMS.items():
            some = h2load.Load(load.path, load.connections, streams, load.message, load.answer_bytes)
            outcome.rows += rounds(bench, case, subjects, closed_loop(bench, some))
        outcome.rows += fixed_rate(bench, subjects, load)
    for streams, case in STREAMS.items():
        for peer, limit in limits.items():
            ratio = outcome.ratio("cpu_us", (case, GATEWAY), (case, peer))
            text = f"CPU per request to {_NAMES[peer]}'s, {streams} stream{'s' if streams > 1 else ''}"
            outcome.goals.append(Goal(text, ratio, limit, "x"))


def fixed_rate(bench: Bench, subjects: list[Proxy], load: h2load.Load) -> list[Row]:
    """Latency of everybody, at the rate of the run."""
    some = h2load.Load(load.path, load.connections, 10, load.message, load.answer_bytes)
    settings = bench.settings
    seconds = settings.seconds / 2

    def latencies(proxy: Proxy) -> dict[str, float]:
        return h2load.latencies(
            some, proxy.port, proxy.protocols, settings.rate, seconds, bench.load_core, bench.workdir
        )

    return rounds(bench, FIXED, subjects, latencies)
