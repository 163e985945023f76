"""How problems of a configuration are shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TextIO

from gatewright.cli.output import coloured
from gatewright.config.report import format_problems
from gatewright.errors import Problem


def show(problems: Sequence[Problem], stream: TextIO | None = None) -> None:
    """Print all problems, with their lines, and how many there are."""
    stream = stream or sys.stderr
    if problems:
        print(format_problems(problems, color=coloured(stream)), end="", file=stream)


def as_data(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """For ``--json``."""
    return [asdict(problem) for problem in problems]
