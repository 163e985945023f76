"""HTTP/1.1 over TLS in front, HTTP/1.1 behind."""

from __future__ import annotations

from benchmarks.macro import wrk
from benchmarks.macro.bench import GATEWAY, Bench
from benchmarks.macro.compare import before_goal, closed_loop, proxies, rounds, warm, with_before
from benchmarks.macro.protocols import Protocols
from benchmarks.results import Goal, Outcome

NAME = "tls"
TITLE = "HTTP/1.1 over TLS to HTTP/1.1"

CASE = "64 connections"


def run(bench: Bench, outcome: Outcome) -> None:
    """Full load with TLS 1.3 on kept-alive connections."""
    outcome.about = (
        "As `plain`, over TLS 1.3 with AES-128-GCM. The handshakes are in the figures: one for each connection."
    )
    outcome.metrics = ["cpu_us", "user_us", "rps", "rps_core", "busy", "stolen", "pss_mb"]
    protocols = Protocols(tls=bench.pair)
    load = wrk.Load()
    peers = ("nginx", "haproxy", "envoy")
    setups = with_before(bench, {GATEWAY: bench.setup(protocols=protocols)})
    with proxies(bench, setups, peers, protocols) as subjects:
        warm(bench, subjects, load)
        outcome.rows = rounds(bench, CASE, subjects, closed_loop(bench, load))
    ratio = outcome.ratio("cpu_us", (CASE, GATEWAY), (CASE, "envoy"))
    outcome.goals = [Goal("CPU per request to Envoy's", ratio, 0.8, "x"), *before_goal(outcome, CASE)]
