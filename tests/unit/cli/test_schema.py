from __future__ import annotations

import json
from pathlib import Path

import pytest

from gatewright.cli import exits
from gatewright.cli.main import dispatch

ROOT = Path(__file__).resolve().parents[3]


def test_it_is_the_schema_that_is_published(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["schema"]) == exits.OK
    published = (ROOT / "schema" / "gateway.schema.json").read_text(encoding="utf-8")
    assert json.loads(capsys.readouterr().out) == json.loads(published)


def test_plugins_of_a_configuration_are_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["new-policy", "stamp", "--into", str(tmp_path)]) == exits.OK
    capsys.readouterr()
    assert dispatch(["schema", "-c", str(tmp_path / "stamp.gateway.yaml")]) == exits.OK
    assert "policy.stamp" in json.loads(capsys.readouterr().out)["$defs"]


def test_a_broken_configuration_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "gateway.yaml").write_text("version: 1\nplugins: [./none.py]\n", encoding="utf-8")
    assert dispatch(["schema", "-c", str(tmp_path / "gateway.yaml")]) == exits.FAILED
    assert "none.py" in capsys.readouterr().err
