from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from gatewright.clock import SystemClock
from gatewright.controller.check import Checker
from gatewright.errors import ConfigError
from gatewright.plugins.registry import load_registry
from gatewright.snapshot.model import PolicySpec, Respond, Route, Snapshot

REGISTRY = load_registry([], Path())
GOOD = Snapshot(routes=tuple(Route(f"r{n}", respond=Respond(), digest=str(n)) for n in range(200)))
BAD = msgspec.structs.replace(
    GOOD, routes=(Route("r", respond=Respond(), policies=(PolicySpec("ip_filter", {"allow": 7}),)),)
)


async def test_what_compiles_passes_and_what_does_not_is_a_config_error() -> None:
    checker = Checker(SystemClock())
    await checker.check(GOOD, REGISTRY)
    with pytest.raises(ConfigError, match="cannot be compiled"):
        await checker.check(BAD, REGISTRY)
    await checker.check(GOOD, REGISTRY)


async def test_an_unknown_policy_is_a_config_error_too() -> None:
    spec = msgspec.structs.replace(GOOD.routes[0], policies=(PolicySpec("of_a_plugin", {}),))
    with pytest.raises(ConfigError):
        await Checker(SystemClock()).check(msgspec.structs.replace(GOOD, routes=(spec,)), REGISTRY)


async def test_the_loop_goes_on_meanwhile() -> None:
    class Impatient(SystemClock):
        """Every look at it takes ten milliseconds."""

        now = 0.0

        def monotonic(self) -> float:
            Impatient.now += 0.01
            return Impatient.now

    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    await Checker(Impatient()).check(GOOD, REGISTRY)
    counting.cancel()
    assert turns >= 3
