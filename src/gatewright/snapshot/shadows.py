"""Routes that can never be reached, because others take all of their requests first.

The order is the router's: priority, host, path, number of predicates, place in the file. Within one priority a more
general path is asked later, so only an equal one can shadow; a higher priority shadows whatever it covers.

The answer is careful: a route is called unreachable only when that is certain. The cost grows with the number of routes
and the length of their paths, because the routes of higher priorities stand in a tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from gatewright.proxy.patterns import PARAM, STATIC, PathPattern, PatternError, parse_host
from gatewright.snapshot.model import Predicate, Route

MOST_COMPARED: Final = 32  # rules compared at one place; beyond it a shadow may go unseen

Shape: TypeAlias = tuple[object, ...]


class Shadow(NamedTuple):
    """The route at position ``route`` loses ``path`` (its index; None means everything) to the one at ``by``."""

    route: int
    by: int
    path: int | None


class _Rule:
    """What a route asks for, one per route."""

    __slots__ = ("accepts", "hosts", "index", "listeners", "methods", "paths", "priority", "tests")

    def __init__(self, index: int, route: Route, patterns: Mapping[str, PathPattern]) -> None:
        match = route.match
        self.index = index
        self.priority = route.priority
        self.listeners = frozenset(route.listeners)
        self.hosts = [parse_host(host) for host in match.hosts] or [b"*"]
        self.paths = [patterns[path] for path in match.paths]
        self.methods = frozenset(match.methods)
        self.accepts = self.methods | {"HEAD"} if "GET" in self.methods else self.methods
        tests: set[object] = {(kind, _key(predicate)) for kind in _KINDS for predicate in getattr(match, kind)}
        if match.sources:
            tests.add(("sources", match.sources))
        if match.when:
            tests.add(("when", match.when))
        self.tests = tests

    def takes_all_of(self, other: _Rule) -> bool:
        """Whether every request that ``other`` wants of a host and path of ours is taken, being asked first."""
        if self.listeners and not (other.listeners and other.listeners <= self.listeners):
            return False
        if self.priority > other.priority:
            takes_methods = not self.methods or (other.methods and other.accepts <= self.accepts)
            return bool(takes_methods) and self.tests <= other.tests
        # More predicates come first, so the earlier one must have just as many, and HEAD goes to who names it.
        if bool(self.methods) != bool(other.methods) or self.tests != other.tests:
            return False
        return self.index < other.index and other.methods <= self.methods


_KINDS: Final = ("headers", "query", "cookies")


def _key(predicate: Predicate) -> tuple[str, str | None, str | None, bool]:
    return predicate.name, predicate.value, predicate.regex, predicate.absent


class _Node:
    """A place in the tree of the paths of higher priorities."""

    __slots__ = ("below", "ends", "tails")

    def __init__(self) -> None:
        self.below: dict[tuple[int, bytes], _Node] = {}
        self.ends: list[tuple[_Rule, bytes]] = []
        self.tails: list[tuple[_Rule, bytes]] = []


class Shadows:
    """Finds the shadows among routes. ``patterns`` are their paths, parsed; routes with others are passed over."""

    def __init__(self, routes: tuple[Route, ...], patterns: Mapping[str, PathPattern]) -> None:
        self._rules: list[_Rule] = []
        for index, route in enumerate(routes):
            try:
                self._rules.append(_Rule(index, route, patterns))
            except (PatternError, KeyError):
                continue  # reported where patterns are checked
        self._tree = _Node()
        self._regexes: dict[bytes, list[tuple[_Rule, bytes]]] = {}
        self._equal: dict[Shape, list[_Rule]] = {}

    def find(self) -> Iterator[Shadow]:
        """All shadows; for a route that loses everything only one."""
        by_priority: dict[int, list[_Rule]] = {}
        for rule in self._rules:
            by_priority.setdefault(rule.priority, []).append(rule)
        for priority in sorted(by_priority, reverse=True):
            self._equal.clear()
            for rule in by_priority[priority]:
                yield from self._shadows_of(rule)
                self._remember_equal(rule)
            for rule in by_priority[priority]:
                self._insert(rule)

    def _shadows_of(self, rule: _Rule) -> Iterator[Shadow]:
        takers = [self._taker(rule, pattern) for pattern in rule.paths]
        if all(taker is not None for taker in takers):
            if takers[0] is not None:
                yield Shadow(rule.index, takers[0].index, None)
            return
        for number, taker in enumerate(takers):
            if taker is not None:
                yield Shadow(rule.index, taker.index, number)

    def _taker(self, rule: _Rule, pattern: PathPattern) -> _Rule | None:
        """A route that takes this path from the rule, on all of its hosts."""
        last = None
        for host in rule.hosts:
            last = self._taker_of(rule, host, pattern)
            if last is None:
                return None
        return last

    def _taker_of(self, rule: _Rule, host: bytes, pattern: PathPattern) -> _Rule | None:
        for other in self._equal.get((host, *_shape(pattern)), ())[:MOST_COMPARED]:
            if other is not rule and other.takes_all_of(rule):
                return other
        for other, other_host in islice(self._covering(pattern), MOST_COMPARED):
            if _host_covers(other_host, host) and other.takes_all_of(rule):
                return other
        return None

    # --- higher priorities ----------------------------------------------------------------------------------------

    def _remember_equal(self, rule: _Rule) -> None:
        for host in rule.hosts:
            for pattern in rule.paths:
                self._equal.setdefault((host, *_shape(pattern)), []).append(rule)

    def _insert(self, rule: _Rule) -> None:
        for pattern in rule.paths:
            entries = [(rule, host) for host in rule.hosts]
            if pattern.regex is not None:
                self._regexes.setdefault(pattern.regex.pattern, []).extend(entries)
                continue
            node = self._tree
            for segment in pattern.segments:
                node = node.below.setdefault((segment.kind, segment.text), _Node())
            (node.tails if pattern.tail else node.ends).extend(entries)

    def _covering(self, pattern: PathPattern) -> Iterator[tuple[_Rule, bytes]]:
        """Rules whose path takes every path that ``pattern`` takes."""
        if pattern.regex is not None:
            yield from self._regexes.get(pattern.regex.pattern, ())
            yield from self._tree.tails
            return
        waiting = [(self._tree, 0)]
        while waiting:
            node, at = waiting.pop()
            yield from node.tails
            if at == len(pattern.segments):
                if not pattern.tail:
                    yield from node.ends
                continue
            segment = pattern.segments[at]
            same = node.below.get((segment.kind, segment.text))
            if same is not None:
                waiting.append((same, at + 1))
            param = node.below.get((PARAM, b""))
            # Only the empty segment of a slash at the end is no parameter's: regexes never see an empty one either.
            if param is not None and param is not same and (segment.kind != STATIC or segment.text):
                waiting.append((param, at + 1))


def _shape(pattern: PathPattern) -> Shape:
    """The pattern without the names of its parameters."""
    if pattern.regex is not None:
        return ("~", pattern.regex.pattern)
    return (*((segment.kind, segment.text) for segment in pattern.segments), bool(pattern.tail))


def _host_covers(one: bytes, other: bytes) -> bool:
    if one in (b"*", other):
        return True
    return one.startswith(b"*.") and other.removeprefix(b"*").endswith(one[1:]) and len(other) > len(one) - 1
