"""What a process loads is what it weighs: heavy packages stay out of the supervisor, the workers and quick commands.

import-linter checks the directions of imports in the source; this checks what is really loaded.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "starlette",
    "uvicorn",
    "prometheus_client",
    "yaml",
    "watchfiles",
    "dns",
    "rich",
    "typer",
    "httpx2",
    "anyio",
    "h2",
    "hpack",
}


def loaded_by(statement: str) -> set[str]:
    """The top-level packages in ``sys.modules`` after ``statement`` in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "module",
    [
        "gatewright.supervisor.main",
        "gatewright.worker.main",
        "gatewright.worker.server",
        "gatewright.snapshot.compile",
        "gatewright.policies",
        "gatewright.sdk",
        "gatewright.cli.run",
    ],
)
def test_these_load_nothing_heavy(module: str) -> None:
    assert loaded_by(f"import {module}") & HEAVY == set()


@pytest.mark.parametrize("module", ["gatewright.http.head", "gatewright.proxy.exchange", "gatewright.wire.h1"])
def test_the_hot_core_loads_no_event_loop_and_no_models(module: str) -> None:
    assert loaded_by(f"import {module}") & {*HEAVY, "asyncio", "uvloop", "pydantic", "ssl", "logging"} == set()


def test_the_controller_loads_what_checks_over_http2_need_when_there_are_some() -> None:
    assert loaded_by("import gatewright.controller.main") & {"h2", "hpack", "grpc"} == set()


def test_the_version_costs_nothing() -> None:
    statement = "from gatewright.cli.main import dispatch\nassert dispatch(['version']) == 0"
    assert loaded_by(statement) & {*HEAVY, "pydantic", "asyncio", "msgspec"} == set()
