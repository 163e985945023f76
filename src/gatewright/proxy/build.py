"""Building a router's trees, from nothing or from those of the version before.

A build never touches what it did not make itself, so the old router goes on serving while the new one is being built
in slices, and keeps doing so when the build is given up.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

from gatewright.proxy.patterns import PathPattern, Segment, parse_host, parse_path
from gatewright.proxy.predicates import compile_tests
from gatewright.proxy.tree import Entry, Leaf, Node, Positions, Rules, Trace, take

if TYPE_CHECKING:
    from gatewright.sdk.exchange import ExchangeView
    from gatewright.snapshot.model import Match

_STEP = 100  # routes between two rests

K = TypeVar("K")


class Tree:
    """All routes of one priority and one host pattern."""

    __slots__ = ("depth", "host", "literals", "owner", "priority", "regexes", "root")

    def __init__(self, priority: int, host: bytes, owner: object) -> None:
        self.priority = priority
        self.host = host
        self.owner = owner
        #: Patterns without parameters: the path itself → its leaf.
        self.literals: dict[bytes, Leaf] = {}
        #: Patterns with parameters.
        self.root: Node | None = None
        #: Patterns that are regular expressions, in the order of the file.
        self.regexes: dict[re.Pattern[bytes], Leaf] = {}
        #: Segments of the longest pattern with parameters that was ever in it.
        self.depth = 0

    def own(self, owner: object) -> Tree:
        """This tree, or a copy of it that the running build may change."""
        if self.owner is owner:
            return self
        tree = Tree(self.priority, self.host, owner)
        tree.literals, tree.regexes = self.literals.copy(), self.regexes.copy()
        tree.root, tree.depth = self.root, self.depth
        return tree

    def search(self, path: bytes, ex: ExchangeView, method: bytes, trace: Trace | None) -> Entry | None:
        """Try the regular expressions one by one, in the order of the file."""
        for regex, leaf in self.regexes.items():
            found = regex.search(path)
            if found is not None:
                entry = take(leaf, ex, method, found, trace)
                if entry is not None:
                    return entry
        return None


class Builder:
    """One build. Call :meth:`run` and take ``rules`` and ``trees``."""

    __slots__ = ("_kept", "_leaves", "_nodes", "_old", "_positions", "_token", "_touched", "rules", "trees")

    def __init__(self, old: dict[int, Rules] | None, trees: dict[tuple[int, bytes], Tree]) -> None:
        self.rules: dict[int, Rules] = {}
        self.trees = trees.copy()
        self._old = old or {}
        self._kept = 0
        self._positions: Positions = {}
        #: Marks what this build made and may change.
        self._token = object()
        self._leaves: list[Leaf] = []
        self._nodes: list[Node] = []
        self._touched: list[Tree] = []

    def run(self, rows: list[tuple[Any, Match, int]]) -> Generator[None, None, None]:
        """Build, resting now and then. Raises ValueError for what cannot work."""
        yield from self._compile(rows)
        gone = [rules for key, rules in self._old.items() if self.rules.get(key) is not rules]
        new = [rules for key, rules in self.rules.items() if self._old.get(key) is not rules]
        if self._moved() or len(gone) + len(new) > len(self._old) // 2:
            gone, new, self.trees = [], list(self.rules.values()), {}
        for number, rules in enumerate(gone):
            if not number % _STEP:
                yield
            for entry in _entries(rules):
                self._edit(entry, add=False)
        for number, rules in enumerate(new):
            if not number % _STEP:
                yield
            for entry in _entries(rules):
                self._edit(entry, add=True)
        yield from self._settle()

    def _compile(self, rows: list[tuple[Any, Match, int]]) -> Generator[None, None, None]:
        for number, (route, match, priority) in enumerate(rows):
            if not number % _STEP:
                yield
            key = id(route)
            if key in self.rules:
                raise ValueError(f"route {getattr(route, 'name', route)!r} is there twice")
            known = self._old.get(key)
            rules = known if known is not None and known.route is route else compile_rules(route, match, priority)
            self.rules[key] = rules
            self._positions[id(rules)] = number

    def _moved(self) -> bool:
        """Whether routes that stay have changed their order. What is tied is then decided anew: build it all."""
        kept = [self._positions[id(rules)] for rules in self._old.values() if id(rules) in self._positions]
        return kept != sorted(kept)

    def _edit(self, entry: Entry, *, add: bool) -> None:
        key = (entry.rules.priority, entry.host)
        known = self.trees.get(key)
        tree = Tree(*key, self._token) if known is None else known.own(self._token)
        if tree is not known:
            self.trees[key] = tree
            self._touched.append(tree)
        pattern = entry.pattern
        if pattern.regex is not None:
            self._edit_table(tree.regexes, pattern.regex, entry, add=add)
        elif pattern.literal is not None:
            self._edit_table(tree.literals, pattern.literal, entry, add=add)
        else:
            tree.depth = max(tree.depth, len(pattern.segments) + 1)
            tree.root = self._edit_node(tree.root, pattern, 0, entry, add=add)

    def _edit_leaf(self, leaf: Leaf | None, entry: Entry, *, add: bool) -> Leaf | None:
        """The leaf with the entry, or without those of its rules; None when nothing is left."""
        own = Leaf(self._token) if leaf is None else leaf.own(self._token)
        if own is not leaf:
            self._leaves.append(own)
        if add:
            own.entries.append(entry)
        else:
            own.entries = [other for other in own.entries if other.rules is not entry.rules]
        return own if own.entries else None

    def _edit_table(self, table: dict[K, Leaf], key: K, entry: Entry, *, add: bool) -> None:
        leaf = self._edit_leaf(table.get(key), entry, add=add)
        if leaf is not None:
            table[key] = leaf
        else:
            table.pop(key, None)

    def _edit_node(self, node: Node | None, pattern: PathPattern, at: int, entry: Entry, *, add: bool) -> Node | None:
        """The node with the entry added or removed below it; None when nothing is left. As deep as the pattern."""
        own = Node(self._token) if node is None else node.own(self._token)
        if own is not node:
            self._nodes.append(own)
        if at < len(pattern.segments):
            segment: Segment = pattern.segments[at]
            own.link(segment, self._edit_node(own.child(segment), pattern, at + 1, entry, add=add))
        elif pattern.tail:
            own.tail = self._edit_leaf(own.tail, entry, add=add)
            own.forks = bool(own.regexes) or own.tail is not None
        else:
            own.leaf = self._edit_leaf(own.leaf, entry, add=add)
        return None if own.is_empty() else own

    def _settle(self) -> Generator[None, None, None]:
        """Bring what was changed into its order, and drop what is empty."""
        for number, leaf in enumerate(self._leaves):
            if not number % _STEP:
                yield
            leaf.settle(self._positions)
        for node in self._nodes:
            if len(node.regexes) > 1:
                order = sorted((child.first(self._positions), i) for i, (_, _, child) in enumerate(node.regexes))
                node.regexes = [node.regexes[i] for _, i in order]
        for tree in self._touched:
            if len(tree.regexes) > 1:
                found = [
                    (min(entry.place(self._positions) for entry in leaf.entries), i)
                    for i, leaf in enumerate(tree.regexes.values())
                ]
                pairs = list(tree.regexes.items())
                tree.regexes = dict(pairs[i] for _, i in sorted(found))
            if not (tree.literals or tree.root or tree.regexes):
                self.trees.pop((tree.priority, tree.host), None)


def _entries(rules: Rules) -> list[Entry]:
    return [Entry(rules, host, number) for host in rules.hosts for number in range(len(rules.paths))]


def compile_rules(route: Any, match: Match, priority: int) -> Rules:
    """Compile what a route asks for. Raises ValueError for a pattern or predicate that cannot work."""
    hosts = tuple(dict.fromkeys(parse_host(host) for host in match.hosts)) or (b"*",)
    paths = tuple({path: parse_path(path) for path in match.paths}.values()) or (parse_path("/*"),)
    methods = frozenset(method.encode() for method in match.methods) or None
    return Rules(route, hosts, paths, methods, compile_tests(match), priority)
