"""Settings from the environment."""

from __future__ import annotations

from typing import Any

import pytest

from gatewright.config.document import Document
from gatewright.config.environment import apply_environment
from gatewright.config.interpolate import Interpolator
from gatewright.config.tree import Mapping, parse
from gatewright.errors import Problem

BASE = b"""\
workers: 1
listeners: [{name: public-web, bind: a}, {name: other, bind: b}]
upstreams: {my-orders: {endpoints: [x]}}
anchored: &l {x: 1}
alias: *l
"""


def applied(environ: dict[str, str]) -> tuple[Document, list[Problem]]:
    node, _ = parse("a.yaml", BASE)
    assert isinstance(node, Mapping)
    problems: list[Problem] = []
    return Document(apply_environment(node, environ, problems), Interpolator({})), problems


@pytest.mark.parametrize(
    ("variable", "value", "path", "result"),
    [
        ("GATEWRIGHT_WORKERS", "4", ("workers",), 4),
        ("GATEWRIGHT_DRAIN_TIMEOUT", "5s", ("drain_timeout",), "5s"),
        ("GATEWRIGHT__WORKERS", "auto", ("workers",), "auto"),
        ("GATEWRIGHT__ADMIN__BIND", "[::1]:9900", ("admin", "bind"), "[::1]:9900"),
        ("GATEWRIGHT__LISTENERS__PUBLIC_WEB__BIND", "c", ("listeners", 0, "bind"), "c"),
        ("GATEWRIGHT__LISTENERS__1__BIND", "c", ("listeners", 1, "bind"), "c"),
        ("GATEWRIGHT__LISTENERS__1__LIMITS__HEADERS", "7", ("listeners", 1, "limits", "headers"), 7),
        ("GATEWRIGHT__UPSTREAMS__MY_ORDERS__ENDPOINTS", "[y, z]", ("upstreams", "my-orders", "endpoints"), ["y", "z"]),
        ("GATEWRIGHT__UPSTREAMS__NEW__HOST", "a # b: c", ("upstreams", "new", "host"), "a # b: c"),
        ("GATEWRIGHT__ANCHORED__X", "2", ("anchored", "x"), 2),
    ],
)
def test_a_setting_wins_over_the_file(variable: str, value: str, path: tuple[str | int, ...], result: Any) -> None:
    document, problems = applied({variable: value})
    assert problems == []
    found: Any = document.data
    for part in path:
        found = found[part]
    assert found == result
    assert document.node(path).source.name == f"${variable}"


def test_an_alias_elsewhere_is_not_changed() -> None:
    document, _ = applied({"GATEWRIGHT__ANCHORED__X": "2"})
    assert document.data["alias"] == {"x": 1}


def test_other_variables_are_somebody_elses() -> None:
    document, problems = applied({"GATEWRIGHT_ADMIN_TOKEN": "t", "GATEWRIGHTX__A": "b", "PATH": "/"})
    assert problems == []
    assert set(document.data) == {"workers", "listeners", "upstreams", "anchored", "alias"}


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("GATEWRIGHT__LISTENERS__NONE__BIND", "x", "{}: the list has no member 'none'"),
        ("GATEWRIGHT__LISTENERS__7__BIND", "x", "{}: the list has no member '7'"),
        ("GATEWRIGHT__WORKERS__X", "x", "{}: there is nothing below 'x'"),
        ("GATEWRIGHT__", "x", "{} does not name a setting"),
        ("GATEWRIGHT__A____B", "x", "{} does not name a setting"),
        ("GATEWRIGHT__A", "\udcff", "{} is not UTF-8 text"),
        ("GATEWRIGHT__" + "__".join("A" * 40), "x", "{} does not name a setting"),
    ],
)
def test_what_names_nothing_is_a_problem(variable: str, value: str, message: str) -> None:
    _, problems = applied({variable: value})
    assert [(p.message, p.file) for p in problems] == [(message.format(variable), f"${variable}")]


def test_broken_yaml_in_brackets() -> None:
    _, problems = applied({"GATEWRIGHT__A": "[a: b: c]"})
    assert problems[0].file == "$GATEWRIGHT__A"
    assert problems[0].code == "config.syntax"
