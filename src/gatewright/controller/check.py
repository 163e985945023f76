"""Compiles a snapshot where nothing is served, to learn whether workers will be able to."""

from __future__ import annotations

import asyncio
import random
from typing import cast

from gatewright.clock import Clock
from gatewright.errors import ConfigError, Problem
from gatewright.ipc.messages import BreakerChange, HealthChange
from gatewright.plugins.registry import Registry
from gatewright.proxy import ports
from gatewright.proxy.record import WorkerStats
from gatewright.proxy.shared import SharedTable
from gatewright.snapshot.compile import compile_snapshot
from gatewright.snapshot.env import Note
from gatewright.snapshot.model import Snapshot

_SLICE = 0.005  # seconds of compiling between two turns of the loop


async def check_snapshot(snapshot: Snapshot, registry: Registry, clock: Clock) -> None:
    """Compile in slices, and throw the result away.

    Raises:
        ConfigError: It cannot be compiled.
    """
    compiling = compile_snapshot(snapshot, _Nowhere(registry, clock), None)
    try:
        until = clock.monotonic() + _SLICE
        for _ in compiling:
            if clock.monotonic() >= until:
                await asyncio.sleep(0)
                until = clock.monotonic() + _SLICE
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError([Problem("config.compile", f"the configuration cannot be compiled: {error}")]) from error


class _Nowhere:
    """A site with nothing behind it."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self.registry = registry
        self.policy_clock = clock
        self.shared = SharedTable.private()
        # Compiling looks at the clock, draws lots and registers counters; the rest of a world is for traffic.
        self.world = cast("ports.World", _NoTraffic(clock))
        self.note: Note = _unsaid

    def notify(self, change: HealthChange | BreakerChange) -> None:
        """Nothing is served, so nothing can be learnt of an endpoint."""


def _unsaid(event: str, level: str = "warning", **fields: str) -> None:
    """What a policy has to say is said when it serves."""


class _NoTraffic:
    """The part of a world that compiling uses."""

    __slots__ = ("clock", "now", "rand", "stats")

    def __init__(self, clock: Clock) -> None:
        self.clock = clock.monotonic
        self.now = clock.monotonic()
        self.rand = random.random
        self.stats = WorkerStats()
