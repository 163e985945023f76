"""``gatewright schema``: the JSON Schema of the configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gatewright.cli import exits, problems
from gatewright.errors import ConfigError
from gatewright.plugins.registry import Registry, load_registry
from gatewright.plugins.schema import configuration_schema, render
from gatewright.snapshot.build import build_snapshot


def schema(config: Sequence[Path]) -> int:
    """Print it: of the built-in policies, and of the plugins that ``config`` names. Returns the exit code."""
    try:
        registry = _registry(config)
    except ConfigError as error:
        problems.show(error.problems)
        return exits.FAILED
    print(render(configuration_schema(registry)), end="")
    return exits.OK


def _registry(config: Sequence[Path]) -> Registry:
    if config:
        return build_snapshot(config, environ=os.environ).registry
    return load_registry([], Path())
