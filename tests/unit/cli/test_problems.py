from __future__ import annotations

import io

import pytest

from gatewright.cli import problems
from gatewright.errors import Problem

MISSPELT = Problem(
    code="upstream.unknown",
    message='unknown upstream "oders"',
    file="gateway.yaml",
    line=14,
    column=9,
    source="    to: oders",
    hint='did you mean "orders"?',
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_plain_text() -> None:
    stream = io.StringIO()
    problems.show([MISSPELT], stream)
    assert "gateway.yaml:14:9:" in stream.getvalue()
    assert stream.getvalue().endswith("1 error\n")
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    problems.show([MISSPELT], stream)
    assert "\x1b[" in stream.getvalue()


def test_without_problems_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    problems.show([])
    assert capsys.readouterr() == ("", "")


def test_as_data_has_all_fields() -> None:
    (data,) = problems.as_data([MISSPELT])
    assert data["line"] == 14
    assert data["severity"] == "error"
    assert data["related"] == []
