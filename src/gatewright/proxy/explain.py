"""Why a request has the route it has: the candidates, what each of them failed, and what nearly matched.

Made from the walk and the compiled predicates that serve requests. Cold.
"""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from gatewright.proxy.router import announced_method

if TYPE_CHECKING:
    from gatewright.proxy.build import Tree
    from gatewright.proxy.router import Router
    from gatewright.proxy.tree import Entry, Leaf, Source, Trace
    from gatewright.sdk.exchange import ExchangeView

MOST_CANDIDATES = 100
MOST_NEAR = 20
_MOST_HOSTS = 2000  # trees of other hosts that are searched
_MOST_COMPARED = 500  # patterns that are compared with the path, letter by letter
_MOST_ALIKE = 5
_ALIKE = 0.7


@dataclass(slots=True)
class Candidate:
    """A route whose host and path match. ``failed`` says what it wants, ``saw`` what the request has instead.

    ``state`` is chosen, failed, or beaten (it would have taken the request, but comes later).
    """

    route: str
    host: str
    path: str
    priority: int
    state: str
    failed: str = ""
    saw: str = ""


@dataclass(slots=True)
class NearMiss:
    """A route whose path or host does not match, but nearly."""

    route: str
    host: str
    path: str
    why: str


@dataclass(slots=True)
class Explanation:
    """How the router decides about one request. All texts; :meth:`as_dict` gives plain data.

    ``route`` is empty when there is none; ``status`` is then 404 or 405, and ``allow`` lists the methods.
    ``candidates`` are in order of precedence; ``omitted`` counts those left out of a very long list.
    """

    method: str
    host: str
    path: str
    route: str = ""
    params: dict[str, str] = field(default_factory=dict)
    status: int = 0
    allow: str = ""
    preflight: bool = False
    candidates: list[Candidate] = field(default_factory=list)
    omitted: int = 0
    near: list[NearMiss] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The same as dictionaries, lists, texts and numbers."""
        return asdict(self)


def explain(router: Router, ex: ExchangeView) -> Explanation:
    """Explain the route of a request. Leaves ``ex.params`` as :meth:`Router.match` does."""
    request = ex.request
    found = Explanation(_text(request.method), _text(request.host), _text(request.path))
    if request.path == b"*":
        found.status = 404
        return found
    chosen = router.match(ex)
    method = request.method
    announced = announced_method(ex)
    if announced is not None and chosen is not None and chosen is router.find(ex, announced, None):
        found.preflight, method = True, announced  # it was decided with the method it announces
    _add_candidates(found, router.leaves(ex), ex, method, chosen)
    if chosen is None:
        found.status, allow = router.refusal(ex)
        found.allow = _text(allow)
    else:
        found.route = chosen.route.name
    if chosen is None or chosen.pattern.tail:
        _add_near(found, router, ex)
    router.match(ex)  # the explanation has tried parameters of other routes
    found.params = {_text(name): _text(value) for name, value in ex.params.items()}
    return found


def _add_candidates(found: Explanation, trace: Trace, ex: ExchangeView, method: bytes, chosen: Entry | None) -> None:
    for leaf, source in trace:
        for entry in _in_order(leaf, method):
            if len(found.candidates) >= MOST_CANDIDATES and entry is not chosen:
                found.omitted += 1
                continue
            found.candidates.append(_judge(entry, ex, source, method, chosen))


def _in_order(leaf: Leaf, method: bytes) -> list[Entry]:
    """The entries of a leaf as they are asked; then those that do not take the method and are never asked."""
    asked = leaf.taking(method)
    return [*asked, *(entry for entry in leaf.entries if entry not in asked)]


def _judge(entry: Entry, ex: ExchangeView, source: Source, method: bytes, chosen: Entry | None) -> Candidate:
    candidate = Candidate(
        entry.route.name,
        _text(entry.host),
        entry.pattern.text,
        entry.rules.priority,
        "chosen" if entry is chosen else "",
    )
    accepts = entry.rules.accepts
    if accepts is not None and method not in accepts:
        candidate.failed = f"method is {_text(b' or '.join(sorted(accepts)))}"
        candidate.saw = _text(method)
    else:
        entry.bind(ex, source)
        for test in entry.tests:
            if not test(ex):
                candidate.failed, candidate.saw = test.describe(), test.saw(ex)
                break
    if not candidate.state:
        candidate.state = "failed" if candidate.failed else "beaten"
    return candidate


def _add_near(found: Explanation, router: Router, ex: ExchangeView) -> None:
    """What nearly matched: another host, a slash too many or too few, other letters, a slip of the pen."""
    request = ex.request
    known = {candidate.route for candidate in found.candidates}
    trees = router.trees_of(request.host)
    others = [tree for tree in router.trees.values() if tree not in trees][:_MOST_HOSTS]
    host, path = request.host, request.path
    for tree in others:
        if len(found.near) >= MOST_NEAR:
            return
        _note(found, known, _leaves(router, (tree,), ex), f"the path matches, but the host is {_text(host)}")
    other_slash = path[:-1] if path.endswith(b"/") else path + b"/"
    for variant, why in (
        (other_slash, "it would match " + ("without" if path.endswith(b"/") else "with") + " a slash at the end"),
        (path.lower(), "it would match in lower case"),
    ):
        if variant and variant != path:
            request.path = variant
            try:
                _note(found, known, _leaves(router, trees, ex), why)
            finally:
                request.path = path
    _add_alike(found, known, router, trees)


def _leaves(router: Router, trees: tuple[Tree, ...], ex: ExchangeView) -> Trace:
    trace: Trace = []
    router.search(trees, ex, ex.request.method, trace)
    return trace


def _note(found: Explanation, known: set[str], trace: Trace, why: str) -> None:
    for leaf, _ in trace:
        for entry in leaf.entries:
            if entry.route.name not in known and not _takes_all(entry) and len(found.near) < MOST_NEAR:
                known.add(entry.route.name)
                found.near.append(NearMiss(entry.route.name, _text(entry.host), entry.pattern.text, why))


def _takes_all(entry: Entry) -> bool:
    """Whether the path alone takes every request: that is no near miss."""
    return bool(entry.pattern.tail) and not entry.pattern.segments


def _add_alike(found: Explanation, known: set[str], router: Router, trees: tuple[Tree, ...]) -> None:
    """Patterns that look like the path: first those that begin with the same segment."""
    hosts = {tree.host for tree in trees}
    beginning = found.path[: found.path.find("/", 1)] if "/" in found.path[1:] else found.path
    patterns: dict[str, tuple[str, str]] = {}
    later: dict[str, tuple[str, str]] = {}
    for rules in router.rules.values():
        host = next((host for host in rules.hosts if host in hosts), None)
        if host is not None and rules.route.name not in known:
            for pattern in rules.paths:
                table = patterns if pattern.text.startswith(beginning) else later
                if len(table) < _MOST_COMPARED:
                    table.setdefault(pattern.text, (rules.route.name, _text(host)))
    for text, names in later.items():
        if len(patterns) < _MOST_COMPARED:
            patterns.setdefault(text, names)
    for text in difflib.get_close_matches(found.path, patterns, _MOST_ALIKE, _ALIKE):
        route, host_text = patterns[text]
        if route not in known and len(found.near) < MOST_NEAR:
            known.add(route)
            found.near.append(NearMiss(route, host_text, text, "the path is similar"))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
