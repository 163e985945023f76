"""pytest fixtures for plugin authors; loaded by pytest through an entry point."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gatewright.testing.rig import Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A data plane on scripted connections; the test fails when it leaves anything behind."""
    made = Rig()
    yield made
    made.check_idle()
