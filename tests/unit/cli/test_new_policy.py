from __future__ import annotations

import json
from pathlib import Path

import pytest

from gatewright.cli import exits
from gatewright.cli.main import dispatch


def test_what_it_writes_passes_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["new-policy", "stamp", "--into", str(tmp_path)]) == exits.OK
    said = capsys.readouterr().out
    assert f"wrote {tmp_path / 'stamp.py'}" in said
    assert "plugins: [./stamp.py]" in said
    assert dispatch(["check", "-c", str(tmp_path / "stamp.gateway.yaml")]) == exits.OK


def test_as_json_it_names_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["new-policy", "stamp", "--into", str(tmp_path), "--json"]) == exits.OK
    written = json.loads(capsys.readouterr().out)["written"]
    assert str(tmp_path / "stamp.py") in written


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "stamp.py").write_text("mine", encoding="utf-8")
    assert dispatch(["new-policy", "stamp", "--into", str(tmp_path)]) == exits.FAILED
    assert (tmp_path / "stamp.py").read_text(encoding="utf-8") == "mine"
    assert "stamp.py" in capsys.readouterr().err


def test_an_odd_name_is_wrong_usage(tmp_path: Path) -> None:
    assert dispatch(["new-policy", "no-dash", "--into", str(tmp_path)]) == exits.USAGE
    assert list(tmp_path.iterdir()) == []
