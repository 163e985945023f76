"""The tree that routes of one host (and one priority) form, and the walk through it.

A pattern without parameters is an entry of a dictionary and costs one look-up. The others share a tree of segments.
A node tries its children in order of precedence and goes back when one leads nowhere, so the first leaf that takes
the request is the right one. Both cost as much as the path is long, however many routes there are.

Trees are shared between versions of a configuration: a build copies the nodes on the way to a changed route and
leaves all others alone (``owner`` tells which nodes were made by the build that is running).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from gatewright.proxy.patterns import PARAM, STATIC, PathPattern, Segment

if TYPE_CHECKING:
    from gatewright.proxy.predicates import Test
    from gatewright.sdk.exchange import ExchangeView

#: What the parameters are taken from: the pieces of the path, or the match of a whole-path expression.
Source: TypeAlias = "list[bytes] | re.Match[bytes] | None"
#: Where each entry stands in the file: ``id`` of its rules → position.
Positions: TypeAlias = "dict[int, int]"
#: Leaves that a walk came to, in order of precedence; instead of asking them, a walk can list them.
Trace: TypeAlias = "list[tuple[Leaf, Source]]"

#: The parameters of every route without parameters. Never changed.
NO_PARAMS: dict[bytes, bytes] = {}


class Rules:
    """What a route asks of a request besides host and path, compiled once for all its hosts and paths.

    Attributes:
        route: The compiled route, handed back by the router.
        tests: Predicates, in the order in which they are tried.
        methods: Methods as configured; None takes every method.
        accepts: The same with HEAD where GET is.
        weight: How many predicates there are, for precedence; ``methods`` counts as one.
    """

    __slots__ = ("accepts", "hosts", "methods", "paths", "priority", "route", "tests", "weight")

    def __init__(
        self,
        route: Any,
        hosts: tuple[bytes, ...],
        paths: tuple[PathPattern, ...],
        methods: frozenset[bytes] | None,
        tests: tuple[Test, ...],
        priority: int,
    ) -> None:
        self.route = route
        self.hosts = hosts
        self.paths = paths
        self.methods = methods
        self.accepts = methods | {b"HEAD"} if methods is not None and b"GET" in methods else methods
        self.tests = tests
        self.priority = priority
        self.weight = len(tests) + (methods is not None)


class Entry:
    """One path of one route under one host: what a match gives.

    Attributes:
        route: The compiled route.
        host: The host pattern, ``*`` for every host.
        pattern: The path pattern.
        number: Which of the route's patterns it is, from 0.
        rules: Predicates and methods of the route.
    """

    __slots__ = ("host", "number", "params", "pattern", "route", "rules", "tail", "tail_at", "tests")

    def __init__(self, rules: Rules, host: bytes, number: int) -> None:
        pattern: PathPattern = rules.paths[number]
        self.rules = rules
        self.number = number
        self.route = rules.route
        self.host = host
        self.pattern = pattern
        self.tests = rules.tests
        self.params = pattern.params
        self.tail = pattern.tail
        self.tail_at = len(pattern.segments) + 1

    def place(self, positions: Positions) -> tuple[int, int]:
        """Where its pattern stands in the file, for sorting."""
        return positions[id(self.rules)], self.number

    def bind(self, ex: ExchangeView, source: Source) -> None:
        """Set the parameters of the path on the exchange. Hot."""
        if source is None:
            ex.params = NO_PARAMS
            return
        params: dict[bytes, bytes] = {}
        if type(source) is list:
            for name, at in self.params:
                params[name] = source[at]
            if self.tail:
                params[self.tail] = b"/".join(source[self.tail_at :])
        else:
            for name, at in self.params:
                params[name] = source[at] or b""  # a group that took no part is empty
        ex.params = params or NO_PARAMS


class Leaf:
    """The routes of one path under one host, in order of precedence."""

    __slots__ = ("any_method", "by_method", "entries", "only", "owner")

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.entries: list[Entry] = []
        #: The entry, when there is one and it takes whatever comes.
        self.only: Entry | None = None
        self.by_method: dict[bytes, tuple[Entry, ...]] = {}
        self.any_method: tuple[Entry, ...] = ()

    def own(self, owner: object) -> Leaf:
        """This leaf, or a copy of it that the running build may change."""
        if self.owner is owner:
            return self
        leaf = Leaf(owner)
        leaf.entries = self.entries.copy()
        return leaf

    def settle(self, positions: Positions) -> None:
        """Sort and index what has been added."""
        ranks = [(-entry.rules.weight, entry.place(positions), i) for i, entry in enumerate(self.entries)]
        self.entries = entries = [self.entries[i] for _, _, i in sorted(ranks)]
        methods = {method for entry in entries for method in entry.rules.accepts or ()}
        self.by_method = {method: self._taking(method) for method in methods}
        self.any_method = tuple(entry for entry in entries if entry.rules.accepts is None)
        self.only = entries[0] if len(entries) == 1 and not entries[0].rules.weight else None

    def _taking(self, method: bytes) -> tuple[Entry, ...]:
        taking = [entry for entry in self.entries if entry.rules.accepts is None or method in entry.rules.accepts]
        if method == b"HEAD":  # who names HEAD comes before who does not, when all else but the order is equal
            ranks = [
                (-entry.rules.weight, method not in (entry.rules.methods or ()), i) for i, entry in enumerate(taking)
            ]
            taking = [taking[i] for _, _, i in sorted(ranks)]
        return tuple(taking)

    def taking(self, method: bytes) -> tuple[Entry, ...]:
        """The entries that take a method, as they are asked."""
        return self.by_method.get(method, self.any_method)

    def choose(self, ex: ExchangeView, method: bytes, source: Source) -> Entry | None:
        """The first entry that takes the request; its parameters are then set. Hot."""
        for entry in self.by_method.get(method, self.any_method):
            entry.bind(ex, source)
            for test in entry.tests:
                if not test(ex):
                    break
            else:
                return entry
        return None


class Node:
    """One place in the tree: what has been seen so far, and how it may go on."""

    __slots__ = ("forks", "leaf", "owner", "param", "regexes", "static", "tail")

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.static: dict[bytes, Node] = {}
        self.regexes: list[tuple[Callable[[bytes], Any], bytes, Node]] = []
        self.param: Node | None = None
        #: The pattern that ends here, and the one whose rest begins here.
        self.leaf: Leaf | None = None
        self.tail: Leaf | None = None
        #: There are regular expressions or a rest: more than one way on.
        self.forks = False

    def own(self, owner: object) -> Node:
        """This node, or a copy of it that the running build may change."""
        if self.owner is owner:
            return self
        node = Node(owner)
        node.static = self.static.copy()
        node.regexes = self.regexes.copy()
        node.param, node.leaf, node.tail, node.forks = self.param, self.leaf, self.tail, self.forks
        return node

    def child(self, segment: Segment) -> Node | None:
        """The node below this one for a segment of a pattern."""
        if segment.kind == STATIC:
            return self.static.get(segment.text)
        if segment.kind == PARAM:
            return self.param
        return next((node for _, text, node in self.regexes if text == segment.text), None)

    def link(self, segment: Segment, child: Node | None) -> None:
        """Set, replace or (None) remove the child for a segment of a pattern."""
        if segment.kind == PARAM:
            self.param = child
        elif segment.kind == STATIC:
            if child is None:
                self.static.pop(segment.text, None)
            else:
                self.static[segment.text] = child
        else:
            self._link_regex(segment, child)
        self.forks = bool(self.regexes) or self.tail is not None

    def _link_regex(self, segment: Segment, child: Node | None) -> None:
        at = next((i for i, (_, text, _) in enumerate(self.regexes) if text == segment.text), len(self.regexes))
        if child is None:
            del self.regexes[at : at + 1]
        elif segment.regex is not None:
            self.regexes[at : at + 1] = [(segment.regex.fullmatch, segment.text, child)]

    def is_empty(self) -> bool:
        """Whether nothing is left below."""
        return not (self.static or self.regexes or self.param or self.leaf or self.tail)

    def first(self, positions: Positions) -> tuple[int, int]:
        """Where the first pattern below stands in the file."""
        found = [entry.place(positions) for leaf in (self.leaf, self.tail) if leaf for entry in leaf.entries]
        below = [*self.static.values(), *(node for _, _, node in self.regexes), *([self.param] if self.param else [])]
        return min([*found, *(node.first(positions) for node in below)])


def walk(
    node: Node, pieces: list[bytes], at: int, ex: ExchangeView, method: bytes, trace: Trace | None
) -> Entry | None:
    """Find the entry for ``pieces[at:]`` below ``node``. Hot.

    With ``trace``, ask no leaf, but list all that match. Calls itself only where there is a second way to come back
    to, so it is never deeper than the longest pattern.
    """
    count = len(pieces)
    while at < count:
        piece = pieces[at]
        child = node.static.get(piece)
        if node.forks or (child is not None and node.param is not None):
            return _fork(node, child, pieces, at, ex, method, trace)
        if child is None:
            child = node.param
            if child is None or not piece:
                return None
        node = child
        at += 1
    if node.leaf is not None:
        entry = take(node.leaf, ex, method, pieces, trace)
        if entry is not None:
            return entry
    return take(node.tail, ex, method, pieces, trace) if node.tail is not None else None


def _fork(
    node: Node,
    static: Node | None,
    pieces: list[bytes],
    at: int,
    ex: ExchangeView,
    method: bytes,
    trace: Trace | None,
) -> Entry | None:
    """Try all ways on from a node, in order of precedence."""
    if static is not None:
        entry = walk(static, pieces, at + 1, ex, method, trace)
        if entry is not None:
            return entry
    piece = pieces[at]
    if piece:
        for fullmatch, _, child in node.regexes:
            if fullmatch(piece) is not None:
                entry = walk(child, pieces, at + 1, ex, method, trace)
                if entry is not None:
                    return entry
        if node.param is not None:
            entry = walk(node.param, pieces, at + 1, ex, method, trace)
            if entry is not None:
                return entry
    return take(node.tail, ex, method, pieces, trace) if node.tail is not None else None


def take(leaf: Leaf, ex: ExchangeView, method: bytes, source: Source, trace: Trace | None) -> Entry | None:
    """Ask a leaf for its entry, or list it. Hot."""
    if trace is not None:
        trace.append((leaf, source))
        return None
    entry = leaf.only
    if entry is None:
        return leaf.choose(ex, method, source)
    entry.bind(ex, source)
    return entry
