"""Nothing that a test decodes is remembered for the next one."""

from __future__ import annotations

import pytest

from gatewright.wire.h2 import hpack


@pytest.fixture(autouse=True)
def nothing_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hpack, "_NEVER_INDEXED", set(hpack._NEVER_INDEXED))
    hpack._FIELDS.clear()
    hpack._FIELDS._seen.clear()
    hpack._STRINGS.clear()
    hpack._STRINGS._seen.clear()
