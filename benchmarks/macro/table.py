"""Tables for people: with lines and colours in a terminal, plain columns in a pipe."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.report import Table

_STYLES = {"yes": "green", "NO": "bold red", "not measured": "yellow"}


def show(table: Table, console: Console) -> None:
    """Print one table."""
    if console.is_terminal:
        _rich(table, console)
    else:
        print(plain(table))


def plain(table: Table) -> str:
    """Aligned columns, two spaces apart."""
    lines = [table.columns, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    out = [f"# {table.title}"] if table.title else []
    for line in lines:
        cells = [
            cell.ljust(width) if i < table.left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        out.append("  ".join(cells).rstrip())
    return "\n".join(out) + "\n"


def _rich(table: Table, console: Console) -> None:
    view = RichTable(title=table.title or None, title_justify="left")
    for number, column in enumerate(table.columns):
        view.add_column(column, justify="left" if number < table.left else "right", overflow="fold")
    for row in table.rows:
        style = "bold" if row[0].startswith("gatewright") else None
        view.add_row(*(f"[{_STYLES[cell]}]{cell}[/]" if cell in _STYLES else cell for cell in row), style=style)
    console.print(view)
