"""How commands speak: tables and colours in a terminal, plain columns in a pipe, JSON when asked for.

Answers go to standard output, everything about the command itself to standard error. Rich is loaded only when a
terminal is there to see it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

#: A word that stands for a state → its colour in a terminal.
COLOURS = {
    "ok": "green", "ready": "green", "healthy": "green", "closed": "green", "serving": "green",
    "warning": "yellow", "half_open": "yellow", "draining": "yellow", "unknown": "yellow", "starting": "yellow",
    "error": "red", "unhealthy": "red", "open": "red", "ejected": "red", "failed": "red", "stopped": "red",
}  # fmt: skip

_CODES = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}


def coloured(stream: TextIO) -> bool:
    """Whether colours may be used: a terminal, and nobody has said NO_COLOR (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """``text`` in a colour, or as it is where colours may not be used."""
    if colour and coloured(stream or sys.stdout):
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"
    return text


def emit_json(content: object) -> None:
    """Print JSON, for machines."""
    print(json.dumps(content, indent=2, ensure_ascii=False, default=str))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their column names: a drawn table in a terminal, aligned columns elsewhere."""
    cells = [[_cell(value) for value in row] for row in rows]
    if coloured(sys.stdout):
        _draw(title, columns, cells)
        return
    widths = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
    for line in [[name.upper() for name in columns], *cells]:
        print("  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)


def _draw(title: str, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(title=title or None, title_justify="left", header_style="bold", show_edge=False, pad_edge=False)
    for name in columns:
        drawn.add_column(name, overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(value, style=COLOURS.get(value, "")) for value in row))
    Console().print(drawn)


def heading(text: str) -> None:
    """A heading above what follows."""
    print(paint(text, "bold"))


def pairs(items: Mapping[str, Any]) -> None:
    """Names and values, one a line."""
    width = max((len(name) for name in items), default=0)
    for name, value in items.items():
        print(f"{name.ljust(width)}  {_cell(value)}")


def fail(message: str, hint: str = "", code: int = 1) -> int:
    """Say on standard error what went wrong and what may help. Returns ``code``."""
    print(f"{paint('error', 'red', sys.stderr)}: {message}", file=sys.stderr)
    if hint:
        print(f"  {hint}", file=sys.stderr)
    return code
