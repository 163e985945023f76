from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gatewright.clock import SystemClock
from gatewright.controller.check import check_snapshot
from gatewright.errors import ConfigError
from gatewright.plugins.registry import load_registry
from gatewright.snapshot.model import PolicySpec, Respond, Route, Snapshot


async def test_what_compiles_passes_and_what_does_not_is_a_config_error() -> None:
    registry = load_registry([], Path())
    good = Snapshot(routes=tuple(Route(f"r{n}", respond=Respond()) for n in range(200)))
    await check_snapshot(good, registry, SystemClock())
    bad = msgspec.structs.replace(
        good, routes=(Route("r", respond=Respond(), policies=(PolicySpec("ip_filter", {"allow": 7}),)),)
    )
    with pytest.raises(ConfigError, match="cannot be compiled"):
        await check_snapshot(bad, registry, SystemClock())
