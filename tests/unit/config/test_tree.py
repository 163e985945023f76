"""Parsing: YAML's core schema, places of nodes, and the bounds that keep hostile documents out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.config.tree import MOST_DEPTH, Mapping, Node, Scalar, Sequence, parse, resolve_plain
from gatewright.errors import ConfigError, Problem


def data(node: Node | None) -> Any:
    if isinstance(node, Scalar):
        return resolve_plain(node.text) if node.plain else node.text
    if isinstance(node, Mapping):
        return {name: data(value) for name, (_, value) in node.entries.items()}
    if isinstance(node, Sequence):
        return [data(item) for item in node.items]
    return None


def load(text: str, name: str = "a.yaml") -> Any:
    node, problems = parse(name, text.encode())
    assert problems == []
    return data(node)


def refused(text: str | bytes) -> Problem:
    with pytest.raises(ConfigError) as caught:
        parse("a.yaml", text.encode() if isinstance(text, str) else text)
    return caught.value.problems[-1]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-7", -7),
        ("010", 10),
        ("0x1f", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1e999", "1e999"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("9" * 30, "9" * 30),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    assert resolve_plain(text) == value
    assert type(resolve_plain(text)) is type(value)


def test_a_quoted_scalar_is_text() -> None:
    assert load("[\"1\", 'true', 1, !!str 1, ! 2]") == ["1", "true", 1, "1", "2"]


def test_on_is_a_key_like_any_other() -> None:
    assert load("retries: {on: [connect]}") == {"retries": {"on": ["connect"]}}


def test_every_node_knows_its_place() -> None:
    node, _ = parse("a.yaml", b"a:\n  - b: 1\n    c: [x, y]\n")
    assert isinstance(node, Mapping)
    items = node.entries["a"][1]
    assert isinstance(items, Sequence)
    inner = items.items[0]
    assert isinstance(inner, Mapping)
    key, value = inner.entries["c"]
    assert isinstance(value, Sequence)
    assert (key.place(), value.items[1].place()) == ("a.yaml:3:5", "a.yaml:3:12")


def test_a_repeated_key_is_a_problem_with_both_places() -> None:
    node, problems = parse("a.yaml", b"a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert [(p.line, p.column, p.related) for p in problems] == [
        (2, 11, ["the first is at a.yaml:2:5"]),
        (3, 1, ["the first is at a.yaml:1:1"]),
    ]
    assert data(node) == {"a": 1, "b": {"c": 1}}


def test_an_alias_stands_for_its_anchor() -> None:
    assert load("a: &x {b: [1]}\nc: *x\nd: &y z\ne: *y\n") == {"a": {"b": [1]}, "c": {"b": [1]}, "d": "z", "e": "z"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: *nothing", "the alias *nothing has no anchor before it"),
        ("a: &a [*a]", "the alias *a has no anchor before it"),
        ("a: !thing x", "the tag !thing has no meaning here"),
        ("a: !!python/name:os.system x", "the tag tag:yaml.org,2002:python/name:os.system has no meaning here"),
        ("a: !x {}", "the tag !x has no meaning here"),
        ("{[a]: 1}", "a key must be text"),
        ("? {a: 1}\n: 2", "a key must be text"),
        ("a\n---\nb", "a file holds one document; this is a second one"),
    ],
)
def test_what_yaml_can_and_a_configuration_may_not(text: str, message: str) -> None:
    problem = refused(text)
    assert problem.message == message
    assert problem.line > 0


@pytest.mark.parametrize("opening", ["[", "- ", "{a: "])
def test_deep_nesting_is_refused_and_overflows_nothing(opening: str) -> None:
    assert refused(opening * (MOST_DEPTH + 1)).code == "config.limits"
    assert refused(opening * 100_000).code in ("config.limits", "config.syntax")


def test_keys_within_keys_are_refused_at_the_first() -> None:
    assert refused("? " * 100_000).message == "a key must be text"


def test_aliases_cannot_blow_up() -> None:
    lines = ["a0: &a0 [" + "x, " * 20 + "]"]
    lines += [f"a{n}: &a{n} [" + f"*a{n - 1}, " * 20 + "]" for n in range(1, 12)]
    problem = refused("\n".join(lines))
    assert problem.message == "aliases repeat more than 100000 values"


def test_bytes_that_are_not_utf8() -> None:
    problem = refused(b"a: 1\nb: \xff\n")
    assert (problem.message, problem.line) == ("byte 0xff is not UTF-8", 2)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert load("\ufeffa: 1") == {"a": 1}


def test_tabs_get_a_hint() -> None:
    assert refused("a:\n\t- b").hint == "indent with spaces; YAML allows no tabs there"


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=4),
        max_leaves=20,
    )
)
def test_json_is_read_as_json(value: Any) -> None:
    text = json.dumps({"v": value})
    if "\\u007f" in text or "\x7f" in text:
        return  # YAML does not allow DEL as it is, JSON does
    assert load(text, "a.json") == {"v": value}


@given(st.binary(max_size=200))
def test_any_bytes_give_a_tree_or_a_problem(text: bytes) -> None:
    problems: list[Problem] = []
    try:
        node, problems = parse("a.yaml", text)
    except ConfigError as error:
        node, problems = None, error.problems
    data(node)
    assert all(problem.message for problem in problems)
