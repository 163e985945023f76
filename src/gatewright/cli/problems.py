"""How problems of a configuration are shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TextIO

from gatewright.cli.output import COLOURS, paint
from gatewright.errors import Problem


def place(problem: Problem) -> str:
    """``file:line:column``, as far as it is known."""
    parts = [problem.file, *(str(number) for number in (problem.line, problem.column) if number)]
    return ":".join(part for part in parts if part)


def render(problem: Problem, stream: TextIO) -> str:
    """A problem with its line, a caret under the spot, and a hint."""
    where = place(problem) or problem.path or "configuration"
    severity = paint(problem.severity, COLOURS.get(problem.severity, ""), stream)
    lines = [f"{where}: {severity}: {problem.message}"]
    if problem.source:
        margin = f"{problem.line:>5} | " if problem.line else "      | "
        text = problem.source.rstrip("\n")
        lines.append(f"{margin}{text.replace(chr(9), ' ')}")
        if problem.column:
            lines.append(" " * (len(margin) - 2) + "| " + " " * (problem.column - 1) + paint("^", "bold", stream))
    if problem.hint:
        lines.append(f"      = {problem.hint}")
    lines += [f"      = see {other}" for other in problem.related]
    return "\n".join(lines)


def show(problems: Sequence[Problem], stream: TextIO | None = None) -> None:
    """Print all problems and how many there are."""
    stream = stream or sys.stderr
    for problem in problems:
        print(render(problem, stream), file=stream)
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    if problems:
        counts = [_count(errors, "error"), _count(warnings, "warning")]
        print(f"\n{', '.join(count for count in counts if count)}", file=stream)


def _count(number: int, word: str) -> str:
    return "" if number == 0 else f"{number} {word}{'' if number == 1 else 's'}"


def as_data(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """For ``--json``."""
    return [asdict(problem) for problem in problems]
