"""Each case gives the report that stands in it; scripts/gen rewrites them, and the difference is read in review."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _golden() -> ModuleType:
    """The reader of the cases, which scripts/gen uses too."""
    spec = importlib.util.spec_from_file_location("golden", ROOT / "tools" / "golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["golden"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


CASES = _golden().all_cases()


@pytest.mark.parametrize("case", CASES, ids=[case.path.stem for case in CASES])
def test_the_report_is_the_expected_one(case: Any) -> None:
    assert case.report() == case.expected


def test_there_are_cases() -> None:
    assert len(CASES) > 20
