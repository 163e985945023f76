"""Problems as text, in the manner of a good compiler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gatewright.errors import Problem

MOST_COLUMNS: Final = 160  # of a source line; a longer one is cut around the place

_RED, _YELLOW, _BLUE, _BOLD, _END = "\x1b[1;31m", "\x1b[1;33m", "\x1b[1;34m", "\x1b[1m", "\x1b[0m"


def format_problems(problems: Sequence[Problem], *, color: bool = False) -> str:
    """All problems, errors first, each with its line, a caret and what may help; ends with how many there are."""
    ordered = sorted(problems, key=lambda problem: problem.severity != "error")
    blocks = [format_problem(problem, color=color) for problem in ordered]
    return "\n\n".join([*blocks, summary(problems)]) + "\n" if blocks else ""


def summary(problems: Sequence[Problem]) -> str:
    """``2 errors, 1 warning``."""
    errors = sum(problem.severity == "error" for problem in problems)
    counts = [(errors, "error"), (len(problems) - errors, "warning")]
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts if count)


def format_problem(problem: Problem, *, color: bool = False) -> str:
    """One problem, over several lines, without a line break at the end."""
    red = _RED if problem.severity == "error" else _YELLOW
    place = problem.file or "configuration"
    if problem.line:
        place += f":{problem.line}:{problem.column}" if problem.column else f":{problem.line}"
    head = f"{_paint(place + ':', _BOLD, color)} {_paint(f'{problem.severity}[{problem.code}]:', red, color)}"
    lines = [f"{head} {_one_line(problem.message)}"]
    margin = " " * len(str(problem.line)) if problem.line else ""
    if problem.source and problem.line:
        source, column = _window(problem.source, problem.column)
        lines.append(f"{_paint(f'{problem.line} |', _BLUE, color)} {source}")
        lines.append(f"{_paint(f'{margin} |', _BLUE, color)} {' ' * (column - 1)}{_paint('^', red, color)}")
    lines += [f"{margin} {_paint('=', _BLUE, color)} help: {_one_line(problem.hint)}"] if problem.hint else []
    lines += [f"{margin} {_paint('=', _BLUE, color)} note: {_one_line(note)}" for note in problem.related]
    return "\n".join(lines)


def _paint(text: str, code: str, color: bool) -> str:
    return f"{code}{text}{_END}" if color else text


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _window(source: str, column: int) -> tuple[str, int]:
    """The part of the line around the column, with tabs and control characters as single blanks."""
    source = _one_line(source)
    column = max(1, min(column, len(source) + 1))
    if len(source) <= MOST_COLUMNS:
        return source.rstrip(), column
    start = max(0, min(column - MOST_COLUMNS // 2, len(source) - MOST_COLUMNS))
    before, after = "…" if start else "", "…" if start + MOST_COLUMNS < len(source) else ""
    return f"{before}{source[start : start + MOST_COLUMNS]}{after}", column - start + len(before)
