"""The scenarios, in their order. A scenario is a module with NAME, TITLE and ``run(bench, outcome)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.macro.bench import Bench
from benchmarks.macro.scenarios import (
    bodies,
    connections,
    crash,
    full,
    grpc,
    h2_tls,
    h2c,
    handshake,
    idle,
    idle_connections,
    plain,
    plugin,
    ratelimit,
    reload,
    routes,
    tls,
    varied,
)
from benchmarks.results import Outcome


@dataclass(frozen=True)
class Scenario:
    """One question and the function that fills in the answer; what it has found before an error is kept."""

    name: str
    title: str
    run: Callable[[Bench, Outcome], None]


SCENARIOS = {
    module.NAME: Scenario(module.NAME, module.TITLE, module.run)
    for module in (
        plain,
        full,
        varied,
        routes,
        connections,
        bodies,
        tls,
        h2c,
        h2_tls,
        grpc,
        handshake,
        idle_connections,
        idle,
        plugin,
        reload,
        crash,
        ratelimit,
    )
}
