from __future__ import annotations

from pathlib import Path

from gatewright.cli.files import config_files


def test_given_files_win() -> None:
    assert config_files([Path("a"), Path("b")], {"GATEWRIGHT_CONFIG": "c"}) == [Path("a"), Path("b")]


def test_then_the_environment() -> None:
    assert config_files([], {"GATEWRIGHT_CONFIG": "one.yaml:two"}) == [Path("one.yaml"), Path("two")]


def test_then_the_usual_name() -> None:
    assert config_files([], {}) == [Path("gateway.yaml")]
