"""Builds: what they share with the build before. That the result is right is test_router's business."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gatewright.proxy.build import Builder, compile_rules
from gatewright.snapshot.model import Match


def row(*paths: str, priority: int = 0, **match: Any) -> Any:
    return SimpleNamespace(name=paths[0]), Match(paths=paths, **match), priority


def run(rows: list[Any], before: Builder | None = None) -> Builder:
    builder = Builder(before.rules, before.trees) if before is not None else Builder(None, {})
    for _ in builder.run(rows):
        pass
    return builder


def test_trees_that_no_change_touches_are_the_same_objects() -> None:
    rows = [row("/a", hosts=("x",)), row("/b", hosts=("y",)), row("/c"), row("/d", priority=1)]
    first = run(rows)
    second = run([*rows[1:], row("/a/new", hosts=("x",))], first)
    assert set(first.trees) == set(second.trees) == {(0, b"x"), (0, b"y"), (0, b"*"), (1, b"*")}
    changed = {key for key, tree in second.trees.items() if first.trees[key] is not tree}
    assert changed == {(0, b"x")}
    assert set(first.trees[0, b"x"].literals) == {b"/a"}
    assert set(second.trees[0, b"x"].literals) == {b"/a/new"}


def test_rules_are_compiled_once_per_route_object() -> None:
    rows = [row("/a", when="request.method == 'GET'"), row("/b"), row("/c")]
    first = run(rows)
    second = run([*rows, row("/d")], first)
    for route, _, _ in rows:
        assert second.rules[id(route)] is first.rules[id(route)]


def test_a_tree_without_routes_goes() -> None:
    rows = [row(f"/{n}") for n in range(5)] + [row("/{a}/b", "~x", "/c", hosts=("x",))]
    first = run(rows)
    assert (0, b"x") in first.trees
    assert set(run(rows[:-1], first).trees) == {(0, b"*")}


def test_a_new_order_is_decided_anew() -> None:
    rows = [row("/a"), row("/a"), row("/b"), row("/c")]
    first = run(rows)
    rows[0], rows[1] = rows[1], rows[0]
    second = run(rows, first)
    assert second.trees[0, b"*"].literals[b"/a"].entries[0].route is rows[0][0]
    assert first.trees[0, b"*"].literals[b"/a"].entries[0].route is rows[1][0]


@pytest.mark.parametrize("paths", [("~x", "~y"), ("/{a:x}/1", "/{a:.}/1")])
def test_expressions_stay_in_the_order_of_the_file(paths: tuple[str, str]) -> None:
    rest = [row(f"/rest/{n}") for n in range(10)]
    later = row(paths[1])
    first = run([*rest, later])
    second = run([*rest, row(*paths), later], first)
    tree = second.trees[0, b"*"]
    order = [regex.pattern for regex in tree.regexes] or [text for _, text, _ in tree.root.regexes]  # type: ignore[union-attr]
    assert order == [b"x", b"y"] or order == [b"x", b"."]


def test_the_same_host_or_path_twice_is_one() -> None:
    rules = compile_rules(None, Match(hosts=("A", "a"), paths=("/a", "/a")), 0)
    assert rules.hosts == (b"a",)
    assert len(rules.paths) == 1
    every = compile_rules(None, Match(paths=()), 0)
    assert every.hosts == (b"*",)
    assert every.paths[0].text == "/*"


def test_two_ways_to_write_a_path_come_and_go_together() -> None:
    rows = [row("/a", "/%61", "/{x}", "/{y}"), row("/b"), row("/c"), row("/d")]
    first = run(rows)
    assert len(first.trees[0, b"*"].literals[b"/a"].entries) == 2
    second = run(rows[1:], first)
    assert b"/a" not in second.trees[0, b"*"].literals
    assert second.trees[0, b"*"].root is None
