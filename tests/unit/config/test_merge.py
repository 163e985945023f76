"""Several files as one."""

from __future__ import annotations

from gatewright.config.document import Document
from gatewright.config.interpolate import Interpolator
from gatewright.config.merge import merge
from gatewright.config.tree import Mapping, parse
from gatewright.errors import Problem


def merged(*texts: str) -> tuple[Document, list[Problem]]:
    nodes = []
    for number, text in enumerate(texts):
        node, _ = parse(f"{number}.yaml", text.encode())
        assert isinstance(node, Mapping)
        nodes.append(node)
    problems: list[Problem] = []
    return Document(merge(nodes, problems), Interpolator({})), problems


def test_lists_are_appended_and_mappings_merged_in_order() -> None:
    document, problems = merged(
        "version: 1\nroutes: [{name: a}]\nupstreams: {u: {x: 1}}\ntelemetry: {access_log: {format: text}}",
        "version: 1\nroutes: [{name: b}]\nupstreams: {v: {x: 2}}\ntelemetry: {access_log: {sample: 1%}, metrics: {}}",
    )
    assert problems == []
    assert document.data == {
        "version": 1,
        "routes": [{"name": "a"}, {"name": "b"}],
        "upstreams": {"u": {"x": 1}, "v": {"x": 2}},
        "telemetry": {"access_log": {"format": "text", "sample": "1%"}, "metrics": {}},
    }
    assert document.node(("routes", 1, "name")).place() == "1.yaml:2:17"


def test_the_same_thing_twice_names_both_places() -> None:
    document, problems = merged(
        "upstreams: {u: {x: 1}}\nworkers: 2\nversion: 1", "workers: 2\nupstreams: {u: {y: 2}}\nversion: 2"
    )
    assert [(p.file, p.line, p.column, p.message, p.related) for p in problems] == [
        ("1.yaml", 1, 1, "'workers' is also given in another file", ["the first is at 0.yaml:2:1"]),
        ("1.yaml", 2, 13, "'u' is also given in another file", ["the first is at 0.yaml:1:13"]),
        ("1.yaml", 3, 1, "'version' is also given in another file", ["the first is at 0.yaml:3:1"]),
    ]
    assert document.data == {"upstreams": {"u": {"x": 1}}, "workers": 2, "version": 1}


def test_what_is_an_alias_too_is_left_as_it_is() -> None:
    document, _ = merged("a: &r [1]\nroutes: *r\n", "routes: [2]")
    assert document.data == {"a": [1], "routes": [1, 2]}


def test_an_upstream_named_like_a_section_is_an_upstream() -> None:
    _, problems = merged("upstreams: {metrics: {x: 1}}", "upstreams: {metrics: {y: 1}}")
    assert len(problems) == 1
