"""What all tests share: the order of the levels."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
#: From the cheapest to the dearest; folders not named here come last.
LEVELS = ("unit", "policies", "exchange", "h2", "golden", "contract", "perf", "sockets", "processes", "acceptance")


def level(item: pytest.Item) -> int:
    """The place of an item's folder in :data:`LEVELS`."""
    folder = item.path.relative_to(TESTS).parts[0]
    return LEVELS.index(folder) if folder in LEVELS else len(LEVELS)


@pytest.hookimpl(trylast=True)  # after pytest-randomly, which shuffles; a stable sort keeps that inside each level
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=level)
