from __future__ import annotations

import io
from contextlib import redirect_stdout

import pytest

from gatewright.cli import output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def test_a_pipe_gets_aligned_columns(capsys: pytest.CaptureFixture[str]) -> None:
    output.table("ignored", ["name", "state"], [["a", "healthy"], ["longer", None]])
    assert capsys.readouterr().out == "NAME    STATE\na       healthy\nlonger  -\n"


def test_a_terminal_gets_a_table_with_colours(terminal: Terminal) -> None:
    with redirect_stdout(terminal):
        output.table("Upstreams", ["name", "state"], [["a", "unhealthy"]])
        assert output.paint("x", "red") == "\x1b[31mx\x1b[0m"
    assert "Upstreams" in terminal.getvalue()
    assert "\x1b[31munhealthy" in terminal.getvalue()


def test_no_color_is_honoured(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with redirect_stdout(terminal):
        assert output.paint("x", "red") == "x"
        output.table("", ["name"], [["a"]])
    assert terminal.getvalue() == "NAME\na\n"


def test_failures_go_to_standard_error_with_their_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert output.fail("it broke", "mend it", code=3) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "error: it broke\n  mend it\n"


def test_numbers_are_short(capsys: pytest.CaptureFixture[str]) -> None:
    output.pairs({"seconds": 0.123456, "bytes": 123456.7, "none": None})
    assert capsys.readouterr().out == "seconds  0.123\nbytes    123457\nnone     -\n"
