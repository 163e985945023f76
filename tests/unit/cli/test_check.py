from __future__ import annotations

import json
from pathlib import Path

import pytest

from gatewright.cli import exits
from gatewright.cli.main import dispatch

GOOD = """version: 1
listeners: [{name: public, bind: 127.0.0.1:8000}]
routes: [{name: a, match: {paths: [/a]}, respond: {status: 204}}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def test_a_good_configuration_is_summed_up(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["check", "-c", str(file)]) == exits.OK
    assert capsys.readouterr().out == f"ok: {file}: 1 listener, 1 route, 0 upstreams, 0 consumers\n"


def test_all_problems_are_shown_on_standard_error(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(GOOD + "lissteners: []\nupstreams: {x: {}}\n", encoding="utf-8")
    assert dispatch(["check", "-c", str(file)]) == exits.FAILED
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{file}:4:1: error" in said.err
    assert "did you mean 'listeners'?" in said.err
    assert "2 errors" in said.err


def test_as_json_problems_have_their_place(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(GOOD + "lissteners: []\n", encoding="utf-8")
    assert dispatch(["check", "-c", str(file), "--json"]) == exits.FAILED
    content = json.loads(capsys.readouterr().out)
    assert content["ok"] is False
    (problem,) = content["problems"]
    assert (problem["file"], problem["line"], problem["column"]) == (str(file), 4, 1)


def test_as_json_a_good_one_says_what_was_read(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["check", "-c", str(file), "--json"]) == exits.OK
    content = json.loads(capsys.readouterr().out)
    assert content["ok"] is True
    assert content["files"] == [str(file)]


def test_what_cannot_be_compiled_is_a_problem(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(built: object) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr("gatewright.cli.load._compile", refuse)
    assert dispatch(["check", "-c", str(file)]) == exits.FAILED
    assert "no such thing" in capsys.readouterr().err


def test_a_missing_file_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["check", "-c", str(tmp_path / "none.yaml")]) == exits.FAILED
    assert "none.yaml" in capsys.readouterr().err
