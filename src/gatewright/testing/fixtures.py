"""pytest fixtures for plugin authors; loaded by pytest through an entry point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from gatewright.testing.certs import Authority
from gatewright.testing.gateway import Gateway
from gatewright.testing.rig import Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A data plane on scripted connections; the test fails when it leaves anything behind."""
    made = Rig()
    yield made
    made.check_idle()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Signs certificates for servers and clients, as files in ``tmp_path``."""
    return Authority(tmp_path)


class StartGateway(Protocol):
    """What the fixture ``gateway`` is."""

    def __call__(
        self,
        config: str | Path,
        *,
        workers: int | None = None,
        environ: Mapping[str, str] | None = None,
        watch: bool = False,
    ) -> Gateway:
        """Start a gateway and wait until it serves.

        Args:
            config: YAML text, or the path of a file, relative to the file of the test. Paths in a text are relative
                to ``tmp_path``.
            workers: Worker processes, instead of the configuration's.
            environ: Variables beside those of this process.
            watch: Reload when a file changes.
        """


@pytest.fixture
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartGateway]:
    """Starts real gateways; after the test they stop gracefully, and a bug in their error logs fails the test."""
    started: list[Gateway] = []

    def start(
        config: str | Path,
        *,
        workers: int | None = None,
        environ: Mapping[str, str] | None = None,
        watch: bool = False,
    ) -> Gateway:
        if isinstance(config, str):
            file = tmp_path / f"gateway-{len(started)}.yaml"
            file.write_text(config, encoding="utf-8")
        else:
            file = request.path.parent / config
        made = Gateway(file, workers=workers, environ=environ, watch=watch)
        made.start()
        started.append(made)
        return made

    yield start
    ended = [(made, made.stop()) for made in started]
    for made, code in ended:
        assert code == 0, f"the gateway has ended with {code}: {made.events[-5:]}"  # noqa: S101
        bugs = [event for event in made.events if event["event"] in {"worker.bug", "worker.loop", "worker.task"}]
        assert not bugs, bugs  # noqa: S101
