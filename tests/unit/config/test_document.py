"""Data, places and problems."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatewright.config.document import MOST_PROBLEMS, Document, suggestion, written_path
from gatewright.config.interpolate import Interpolator
from gatewright.config.tree import Mapping, parse


def document(text: str, environ: dict[str, str] | None = None) -> Document:
    node, _ = parse("dir/a.yaml", text.encode())
    assert isinstance(node, Mapping)
    return Document(node, Interpolator(environ or {}))


def test_interpolated_values_are_text_and_others_have_their_type() -> None:
    found = document('a: ${env:N}\nb: 5\nc: "5"\nd: ${env:E:-}\n', {"N": "5"})
    assert found.data == {"a": "5", "b": 5, "c": "5", "d": ""}


def test_places() -> None:
    found = document("a:\n  - {b: 1}\n")
    assert found.node(("a", 0, "b")).place() == "dir/a.yaml:2:9"
    assert found.node(("a", 0, "b"), key=True).place() == "dir/a.yaml:2:6"
    assert found.node(("a", 0, "none", 5)).place() == "dir/a.yaml:2:5"  # the nearest that there is
    assert found.base(("a",)) == Path("dir")


def test_a_problem_within_a_text_points_into_it() -> None:
    found = document("a: 'x/{y'\nb: x/{y\nc: \"\\x78/{y\"\n")
    for key in "abc":
        found.problem("config.x", "bad", (key,), column=3)
    assert [(p.line, p.column) for p in found.problems] == [(1, 7), (2, 6), (3, 4)]


def test_a_value_that_was_filled_in_is_never_printed() -> None:
    found = document("a: ${env:KEY}\n", {"KEY": "hunter22"})
    found.problem("config.x", "'hunter22' is wrong", ("a",), hint="not hunter22")
    (problem,) = found.problems
    assert problem.message == "'${env:KEY}' is wrong"
    assert problem.hint == "not ${env:KEY}"


@pytest.mark.parametrize(
    ("line", "shown", "key"),
    [
        ("x: {api_key: s3cret, b: 1}", "x: {api_key: ***, b: 1}", "b"),
        ('x: {"api_key": "s3, cret", b: 1}', 'x: {"api_key": ***, b: 1}', "b"),
        ("x: {token: a}", "x: {token: ***}", "token"),
        ("x: {client_secret: abc, b: 1}", "x: {client_secret: ***, b: 1}", "b"),
        ("x: {token: '${env:T:-}', b: 1}", "x: {token: '${env:T:-}', b: 1}", "b"),
        ("x: {api_key: {header: x}, b: 1}", "x: {api_key: {header: x}, b: 1}", "b"),
    ],
)
def test_secrets_in_the_line_are_masked_and_the_caret_moves_with_it(line: str, shown: str, key: str) -> None:
    found = document(line)
    found.problem("config.x", "bad", ("x", key), key=True)
    (problem,) = found.problems
    assert problem.source == shown
    assert shown[problem.column - 1 :].startswith(key)


def test_where_a_placeholder_failed_nothing_else_is_said() -> None:
    found = document("a: ${env:NONE}\n")
    found.problem("config.x", "not a number", ("a",))
    assert [problem.code for problem in found.problems] == ["config.interpolation"]


def test_problems_are_sorted_and_bounded() -> None:
    found = document("a: 1\nb: 2\n")
    found.problem("w", "w", ("a",), severity="warning")
    found.problem("e", "e", ("b",))
    for _ in range(MOST_PROBLEMS):
        found.problem("e", "e", ("a",))
    problems = found.all_problems()
    assert len(problems) == MOST_PROBLEMS + 1
    assert [p.severity for p in problems[:-1]] == ["error"] * (MOST_PROBLEMS - 1) + ["warning"]
    assert problems[-1].message == "2 more problems are not shown"


def test_suggestions() -> None:
    assert suggestion("upstrem", ["upstream", "routes"]) == "did you mean 'upstream'?"
    assert suggestion("Round_Robin", ["round_robin"]) == "did you mean 'round_robin'?"
    assert suggestion("xyz", ["upstream"]) == ""
    assert suggestion("user", ["query"]) == ""


def test_paths_are_written_as_people_write_them() -> None:
    assert written_path(("routes", 3, "match", "paths", 0)) == "routes[3].match.paths[0]"
    assert written_path(("upstreams", "a.b")) == "upstreams['a.b']"
