"""From a request to its route: host, then path, then methods and predicates.

All trees that apply to a host stand in one tuple, in order of precedence (priority, then the more specific host), so
a match is one look-up for the host and then the first tree that has an entry. A router never changes once it is
built; the next version of a configuration shares with it what has not changed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from gatewright.proxy.build import Builder, Tree
from gatewright.proxy.patterns import ANY_HOST
from gatewright.proxy.tree import NO_PARAMS, Entry, Rules, Trace, take, walk

if TYPE_CHECKING:
    from gatewright.sdk.exchange import ExchangeView
    from gatewright.snapshot.model import Match

#: A compiled route, what it matches, and its priority.
Row: TypeAlias = "tuple[Any, Match, int]"

__all__ = ["NO_PARAMS", "Entry", "Router", "Row", "build_router"]

_STEP = 200  # hosts between two rests of a build


class Router:
    """Finds the route of a request. Make one with :func:`build_router` or from all routes at once."""

    __slots__ = ("chains", "default", "depth", "rules", "suffixes", "trees")

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        """Raises ValueError for a pattern or predicate that cannot work."""
        #: What each route asks for, in the order of the file.
        self.rules: dict[int, Rules] = {}
        self.trees: dict[tuple[int, bytes], Tree] = {}
        #: Host → its trees in order of precedence; for wildcards the end of the name, with its dot.
        self.chains: dict[bytes, tuple[Tree, ...]] = {}
        self.suffixes: dict[bytes, tuple[Tree, ...]] = {}
        self.default: tuple[Tree, ...] = ()
        #: Into how many pieces a path is cut at most: no pattern looks further.
        self.depth = 1
        for _ in self._fill(list(rows), None):
            pass

    def match(self, ex: ExchangeView) -> Entry | None:
        """The entry that takes the request, or None. Sets ``ex.params``. Hot.

        A CORS preflight finds the route of the request it announces, when that route has ``allows_preflight``.
        """
        request = ex.request
        method = request.method
        if method == b"OPTIONS":
            return self._match_options(ex)
        trees = self.chains.get(request.host)  # find(), without its frames
        if trees is None:
            trees = self.chain_of(request.host) if self.suffixes else self.default
        return self.search(trees, ex, method, None)

    def find(self, ex: ExchangeView, method: bytes, trace: Trace | None) -> Entry | None:
        """The entry that takes the request as if it had this method. Hot.

        With ``trace``, list all leaves whose host and path match in order of precedence, and find nothing.
        """
        return self.search(self.trees_of(ex.request.host), ex, method, trace)

    def trees_of(self, host: bytes) -> tuple[Tree, ...]:
        """All trees that apply to a host, in order of precedence."""
        trees = self.chains.get(host)
        return self.chain_of(host) if trees is None else trees

    def search(self, trees: tuple[Tree, ...], ex: ExchangeView, method: bytes, trace: Trace | None) -> Entry | None:
        """The same among these trees, whatever the host. Hot."""
        path = ex.request.path
        pieces: list[bytes] | None = None
        for tree in trees:
            leaf = tree.literals.get(path)
            if leaf is not None:
                entry = take(leaf, ex, method, None, trace)
                if entry is not None:
                    return entry
            if tree.root is not None:
                if pieces is None:
                    pieces = path.split(b"/", self.depth)
                entry = walk(tree.root, pieces, 1, ex, method, trace)
                if entry is not None:
                    return entry
            if tree.regexes:
                entry = tree.search(path, ex, method, trace)
                if entry is not None:
                    return entry
        ex.params = NO_PARAMS
        return None

    def chain_of(self, host: bytes) -> tuple[Tree, ...]:
        """The trees of a host that no route names: those of the longest wildcard that fits, or of every host."""
        at = host.find(b".")
        while at >= 0:
            trees = self.suffixes.get(host[at:])
            if trees is not None and at > 0:
                return trees
            at = host.find(b".", at + 1)
        return self.default

    def _match_options(self, ex: ExchangeView) -> Entry | None:
        request = ex.request
        if request.path == b"*":  # the gateway itself is asked, no route
            ex.params = NO_PARAMS
            return None
        announced = announced_method(ex)
        if announced is not None:
            entry = self.find(ex, announced, None)
            if entry is not None and getattr(entry.route, "allows_preflight", False):
                return entry
        return self.find(ex, b"OPTIONS", None)

    def refusal(self, ex: ExchangeView) -> tuple[int, bytes]:
        """The status for a request without a route: 405 and the value of Allow, or 404 and nothing."""
        allowed: set[bytes] = set()
        if ex.request.path != b"*":
            for leaf, source in self.leaves(ex):
                for entry in leaf.entries:
                    entry.bind(ex, source)
                    if entry.rules.accepts is not None and all(test(ex) for test in entry.tests):
                        allowed |= entry.rules.accepts
        ex.params = NO_PARAMS
        return (405, b", ".join(sorted(allowed))) if allowed else (404, b"")

    def leaves(self, ex: ExchangeView) -> Trace:
        """All leaves whose host and path match the request, in order of precedence."""
        trace: Trace = []
        self.find(ex, ex.request.method, trace)
        return trace

    def _fill(self, rows: list[Row], previous: Router | None) -> Generator[None, None, None]:
        builder = Builder(None if previous is None else previous.rules, {} if previous is None else previous.trees)
        yield from builder.run(rows)
        self.rules, self.trees = builder.rules, builder.trees
        self.depth = max((tree.depth for tree in self.trees.values()), default=1)
        yield from self._chain()

    def _chain(self) -> Generator[None, None, None]:
        """Put the trees of each host in order of precedence."""
        of_host: dict[bytes, list[tuple[int, int, Tree]]] = {}
        for (priority, host), tree in self.trees.items():
            of_host.setdefault(host, []).append((-priority, -_specificity(host), tree))
        every = of_host.pop(ANY_HOST, [])
        self.default = _ordered(every)
        suffixes = {host[1:]: ranked for host, ranked in of_host.items() if host[:2] == b"*."}
        for number, (host, ranked) in enumerate(of_host.items()):
            if not number % _STEP:
                yield
            found = ranked + every
            at = host.find(b".", 2) if host[:2] == b"*." else host.find(b".", 1)
            while at >= 0:
                found += suffixes.get(host[at:], ())
                at = host.find(b".", at + 1)
            if host[:2] == b"*.":
                self.suffixes[host[1:]] = _ordered(found)
            else:
                self.chains[host] = _ordered(found)


def announced_method(ex: ExchangeView) -> bytes | None:
    """The method that a CORS preflight announces; None when the request is not a preflight."""
    request = ex.request
    if request.method != b"OPTIONS" or b"origin" not in request.headers:
        return None
    return request.headers.get(b"access-control-request-method")


def build_router(rows: list[Row], previous: Router | None = None) -> Generator[None, None, Router]:
    """Build a router in slices: a generator that rests every few hundred routes and returns the router.

    A route object stands for its match and its priority: what ``previous`` has built for the same object is used
    again, and only the trees' nodes on the way to changed routes are made anew.

    Raises:
        ValueError: for a pattern or predicate that cannot work, and for a route object that comes twice.
    """
    router = Router()
    yield from router._fill(rows, previous)  # noqa: SLF001 - the other half of the same class
    return router


def _specificity(host: bytes) -> int:
    """Exact names before wildcards, longer wildcards before shorter ones, every host last."""
    if host == ANY_HOST:
        return 0
    return host.count(b".") if host[:2] == b"*." else 1 << 16


def _ordered(ranked: list[tuple[int, int, Tree]]) -> tuple[Tree, ...]:
    ranks = sorted((priority, rank, i) for i, (priority, rank, _) in enumerate(ranked))
    return tuple(ranked[i][2] for _, _, i in ranks)
