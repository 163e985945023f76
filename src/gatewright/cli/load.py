"""A configuration as a worker would see it: read, resolved and compiled with the code that serves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gatewright.clock import SystemClock
from gatewright.errors import ConfigError, Problem
from gatewright.proxy.ports import World
from gatewright.proxy.runtime import Runtime
from gatewright.proxy.shared import SharedTable
from gatewright.snapshot.build import Built, build_snapshot
from gatewright.snapshot.model import AccessLog
from gatewright.worker.server import DataPlane


@dataclass(slots=True)
class Loaded:
    """What was built from the files, and what a worker would make of it. ``world`` serves nothing any more."""

    built: Built
    runtime: Runtime
    world: World


def load(files: Sequence[Path], environ: Mapping[str, str]) -> Loaded:
    """Read and compile. Nothing is opened, resolved or sent. Raises ConfigError with everything that is wrong."""
    built = build_snapshot(files, environ=environ)
    try:
        return asyncio.run(_compile(built))
    except ValueError as error:
        problem = Problem("config.compile", str(error), file=str(files[0]))
        raise ConfigError([*built.problems, problem]) from error


async def _compile(built: Built) -> Loaded:
    """What a worker makes of it, without listeners, log or neighbours."""
    plane = DataPlane(0, SystemClock(), SharedTable.private(), _ignore)
    await plane.apply(msgspec.structs.replace(built.snapshot, access_log=AccessLog(to="off")))
    runtime = plane.runtime
    assert runtime is not None  # noqa: S101 - apply() has set it or raised
    return Loaded(built, runtime, plane.world)


def _ignore(message: object) -> None:
    """There is no controller to tell."""
