from __future__ import annotations

import io

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


def shown(*found: Problem) -> str:
    stream = io.StringIO()
    problems.show(found, stream)
    return stream.getvalue()


def test_the_caret_stands_under_the_column() -> None:
    where, line, caret, hint, *_ = shown(MISSPELT).splitlines()
    assert where == 'gateway.yaml:14:9: error: unknown upstream "oders"'
    assert line.index("oders") == caret.index("^")
    assert hint == '      = did you mean "orders"?'


def test_tabs_do_not_move_the_caret() -> None:
    problem = Problem("x", "x", "f", 1, 5, source="\tto: oders")
    _, line, caret, *_ = shown(problem).splitlines()
    assert line.index(":") + 2 == caret.index("^") + 1


def test_they_are_counted() -> None:
    warning = Problem("route.shadowed", "never reached", severity="warning", path="routes[1]")
    assert shown(MISSPELT, MISSPELT, warning).endswith("\n\n2 errors, 1 warning\n")
    assert "routes[1]: warning: never reached" in shown(warning)


def test_without_problems_nothing_is_said() -> None:
    assert shown() == ""


def test_as_data_has_all_fields() -> None:
    (data,) = problems.as_data([MISSPELT])
    assert data["line"] == 14
    assert data["severity"] == "error"
    assert data["related"] == []
