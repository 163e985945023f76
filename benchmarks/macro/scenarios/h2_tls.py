"""HTTP/2 over TLS in front, HTTP/1.1 behind: what browsers do."""

from __future__ import annotations

from benchmarks.macro import h2load
from benchmarks.macro.bench import Bench
from benchmarks.macro.protocols import Protocols
from benchmarks.macro.scenarios.h2c import LIMITS, measure
from benchmarks.results import Outcome

NAME = "h2-tls"
TITLE = "HTTP/2 over TLS to HTTP/1.1"


def run(bench: Bench, outcome: Outcome) -> None:
    """As ``h2c``, with TLS 1.3."""
    measure(bench, outcome, Protocols(http2=True, tls=bench.pair), h2load.Load(), LIMITS)
