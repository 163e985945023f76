"""Unary gRPC calls: HTTP/2 on both sides, with trailers."""

from __future__ import annotations

from benchmarks.macro import h2load
from benchmarks.macro.bench import Bench
from benchmarks.macro.grpc_origin import ANSWER, CALL, METHOD
from benchmarks.macro.protocols import Protocols
from benchmarks.macro.scenarios.h2c import measure
from benchmarks.results import Outcome

NAME = "grpc"
TITLE = "unary gRPC calls, HTTP/2 without TLS on both sides"


def run(bench: Bench, outcome: Outcome) -> None:
    """As ``h2c``, with calls."""
    load = h2load.Load(path=METHOD, message=CALL, answer_bytes=len(ANSWER))
    measure(bench, outcome, Protocols(http2=True, grpc=True), load, {"envoy": 1.3})
