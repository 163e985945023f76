"""Problems as text."""

from __future__ import annotations

from gatewright.config.report import MOST_COLUMNS, format_problem, format_problems, summary
from gatewright.errors import Problem

PROBLEM = Problem(
    "config.unknown_key",
    "unknown key 'upstrem'",
    file="gateway.yaml",
    line=12,
    column=7,
    source="      upstrem: orders",
    hint="did you mean 'upstream'?",
    related=["the first is at gateway.yaml:1:1"],
)


def test_a_problem_with_everything() -> None:
    assert (
        format_problem(PROBLEM)
        == """\
gateway.yaml:12:7: error[config.unknown_key]: unknown key 'upstrem'
12 |       upstrem: orders
   |       ^
   = help: did you mean 'upstream'?
   = note: the first is at gateway.yaml:1:1"""
    )


def test_colours_stand_around_the_same_text() -> None:
    coloured = format_problem(PROBLEM, color=True)
    assert "\x1b[1;31merror[config.unknown_key]:\x1b[0m" in coloured
    plain = coloured
    for code in ("\x1b[1;31m", "\x1b[1;34m", "\x1b[1m", "\x1b[0m"):
        plain = plain.replace(code, "")
    assert plain == format_problem(PROBLEM)


def test_without_a_place() -> None:
    assert format_problem(Problem("x", "bad")) == "configuration: error[x]: bad"
    assert format_problem(Problem("x", "bad", file="a.yaml", hint="h")) == "a.yaml: error[x]: bad\n = help: h"
    assert format_problem(Problem("x", "bad", file="a.py", line=3)) == "a.py:3: error[x]: bad"


def test_control_characters_reach_no_terminal() -> None:
    text = format_problem(Problem("x", "a\x1b[2Jb\nc", file="f", line=1, column=3, source="\ta\x1b]0;x\x07"))
    assert text == "f:1:3: error[x]: a [2Jb c\n1 |  a ]0;x\n  |   ^"


def test_a_long_line_is_cut_around_the_place() -> None:
    source = "x" * 1000 + "HERE" + "y" * 1000
    _, line, caret = format_problem(Problem("x", "m", file="f", line=1, column=1001, source=source)).split("\n")
    assert len(line) <= MOST_COLUMNS + 6
    assert line[caret.index("^") :].startswith("HERE")
    start = format_problem(Problem("x", "m", file="f", line=1, column=1, source=source)).split("\n")
    assert start[1].startswith("1 | xxx")
    assert start[1].endswith("…")


def test_errors_come_first_and_are_counted() -> None:
    warning = Problem("w", "odd", file="f", severity="warning")
    text = format_problems([warning, PROBLEM, PROBLEM])
    assert text.index("error[") < text.index("warning[")
    assert text.endswith("\n\n2 errors, 1 warning\n")
    assert format_problems([]) == ""
    assert summary([warning]) == "1 warning"
