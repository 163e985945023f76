"""Leaves and nodes: what a copy shares, and what a walk lists."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gatewright.http.head import RequestHead
from gatewright.http.headers import Headers
from gatewright.proxy.patterns import parse_path
from gatewright.proxy.tree import NO_PARAMS, Entry, Leaf, Node, Rules, Trace, take, walk


def entry(path: str, *methods: str) -> Entry:
    names = frozenset(method.encode() for method in methods) or None
    return Entry(Rules(SimpleNamespace(name=path), (b"*",), (parse_path(path),), names, (), 0), b"*", 0)


def leaf(owner: object, *entries: Entry) -> Leaf:
    made = Leaf(owner)
    made.entries = list(entries)
    made.settle({id(item.rules): position for position, item in enumerate(entries)})
    return made


def exchange() -> Any:
    return SimpleNamespace(request=RequestHead(b"GET", b"/", b"/", None, b"", b"", b"", 11, Headers()), params={})


def test_get_also_takes_head() -> None:
    assert entry("/", "GET").rules.accepts == {b"GET", b"HEAD"}
    assert entry("/", "PUT").rules.accepts == {b"PUT"}
    assert entry("/").rules.accepts is None


def test_methods_count_as_one_predicate() -> None:
    assert entry("/", "GET", "PUT").rules.weight == 1
    assert entry("/").rules.weight == 0


def test_a_copy_leaves_the_original_alone() -> None:
    old, new = object(), object()
    first = leaf(old, entry("/a"))
    assert first.own(old) is first
    copy = first.own(new)
    copy.entries.append(entry("/b"))
    assert len(first.entries) == 1
    node = Node(old)
    pattern = parse_path("/x/{id}/{n:[0-9]}")
    for segment in pattern.segments:
        node.link(segment, Node(old))
    twin = node.own(new)
    for segment in pattern.segments:
        assert twin.child(segment) is node.child(segment)
        twin.link(segment, None)
        assert twin.child(segment) is None
        assert node.child(segment) is not None
    assert twin.is_empty()
    assert not node.is_empty()
    assert node.forks
    assert not twin.forks


def test_the_only_entry_is_asked_without_looking_at_the_method() -> None:
    lonely = entry("/a")
    assert leaf(None, lonely).only is lonely
    assert leaf(None, entry("/a", "GET")).only is None
    assert leaf(None, entry("/a"), entry("/a")).only is None


def test_a_trace_lists_leaves_and_asks_none() -> None:
    trace: Trace = []
    mine = leaf(None, entry("/a"))
    assert take(mine, exchange(), b"GET", None, trace) is None
    assert trace == [(mine, None)]


def test_a_walk_lists_all_leaves_in_order_of_precedence() -> None:
    root = Node(None)
    below = {text: Node(None) for text in ("/a", "/{p}", "/{r:a+}")}
    for text, node in below.items():
        root.link(parse_path(text).segments[0], node)
        node.leaf = leaf(None, entry(text))
    root.tail = leaf(None, entry("/*"))
    trace: Trace = []
    assert walk(root, [b"", b"a"], 1, exchange(), b"GET", trace) is None
    assert [found.entries[0].pattern.text for found, _ in trace] == ["/a", "/{r:a+}", "/{p}", "/*"]


def test_parameters() -> None:
    ex = exchange()
    entry("/a").bind(ex, None)
    assert ex.params is NO_PARAMS
    entry("/{a}/x/{*b}").bind(ex, [b"", b"1", b"x", b"2", b"3"])
    assert ex.params == {b"a": b"1", b"b": b"2/3"}
    found = parse_path(r"~(.)(?P<n>.)?").regex
    assert found is not None
    entry(r"~(.)(?P<n>.)?").bind(ex, found.search(b"x"))
    assert ex.params == {b"1": b"x", b"n": b""}
