"""The router: precedence as documented, going back, methods, preflights, and building from the version before."""

from __future__ import annotations

import re
from collections.abc import Generator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gatewright.http.head import RequestHead
from gatewright.http.headers import Fields, Headers
from gatewright.proxy.router import NO_PARAMS, Router, Row, build_router
from gatewright.snapshot.model import Match, Predicate


class Route:
    """What the router needs of a compiled route."""

    def __init__(self, name: str, *, allows_preflight: bool = False) -> None:
        self.name = name
        self.allows_preflight = allows_preflight

    def __repr__(self) -> str:
        return self.name


class Exchange:
    """What the router needs of an exchange."""

    def __init__(
        self, path: str, host: str = "x", method: str = "GET", headers: dict[str, str] | None = None, query: str = ""
    ) -> None:
        pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        self.request = RequestHead(
            method.encode(),
            path.encode(),
            path.encode(),
            query.encode() or None,
            host.encode(),
            host.encode(),
            b"http",
            11,
            Headers(Fields(pairs)),
        )
        self.client_addr = "10.1.2.3"
        self.params: dict[bytes, bytes] = {b"stale": b"1"}
        self.consumer = None
        self.response = None
        self.vars: dict[str, Any] = {}
        self.route_name = ""


def row(
    path: str,
    *,
    name: str = "",
    hosts: tuple[str, ...] = (),
    methods: tuple[str, ...] = (),
    priority: int = 0,
    **match: Any,
) -> Row:
    return Route(name or path), Match(hosts=hosts, paths=(path,), methods=methods, **match), priority


def matched(router: Router, ex: Exchange) -> str | None:
    entry = router.match(ex)
    return None if entry is None else entry.route.name


def find(rows: list[Row], path: str, **request: Any) -> str | None:
    return matched(Router(rows), Exchange(path, **request))


def finish(build: Generator[None, None, Router]) -> Router:
    while True:
        try:
            next(build)
        except StopIteration as stop:
            return stop.value


@pytest.mark.parametrize(
    ("pattern", "path", "params"),
    [
        ("/", "/", {}),
        ("/", "/a", None),
        ("/a", "/a", {}),
        ("/a", "/a/", None),
        ("/a/", "/a/", {}),
        ("/a/", "/a", None),
        ("/a/{id}", "/a/7", {"id": "7"}),
        ("/a/{id}", "/a/b%2Fc", {"id": "b%2Fc"}),
        ("/a/{id}", "/a/", None),
        ("/a/{id}", "/a", None),
        ("/a/{id}", "/a/7/", None),
        ("/a/{id}/", "/a/7/", {"id": "7"}),
        ("/a/{id}/b/{no}", "/a/7/b/8", {"id": "7", "no": "8"}),
        ("/a/{id:[0-9]+}", "/a/7", {"id": "7"}),
        ("/a/{id:[0-9]+}", "/a/7x", None),
        ("/a/{id:[0-9]{2}|x}/c", "/a/77/c", {"id": "77"}),
        ("/a/{id:[0-9]{2}|x}/c", "/a/777/c", None),
        ("/*", "/", {"*": ""}),
        ("/*", "/a/b", {"*": "a/b"}),
        ("/f/*", "/f", {"*": ""}),
        ("/f/*", "/f/", {"*": ""}),
        ("/f/*", "/f/a/b/", {"*": "a/b/"}),
        ("/f/*", "/ff", None),
        ("/f/{*rest}", "/f/a/b", {"rest": "a/b"}),
        ("/{a}/{*}", "/1/2/3/4/5/6", {"a": "1", "*": "2/3/4/5/6"}),
        (r"~^/v(\d+)/(?P<rest>.*)$", "/v1/x", {"1": "1", "rest": "x"}),
        (r"~^/v(\d+)?/", "/v/", {"1": ""}),
        (r"~\.php$", "/a/b.php", {}),
        (r"~\.php$", "/a/b.php/c", None),
        ("/%7Ebob/%e9", "/~bob/%E9", {}),
    ],
)
def test_patterns_and_parameters(pattern: str, path: str, params: dict[str, str] | None) -> None:
    ex = Exchange(path)
    entry = Router([row(pattern)]).match(ex)
    if params is None:
        assert entry is None
        assert ex.params is NO_PARAMS
    else:
        assert entry is not None
        assert entry.pattern.text == pattern
        assert ex.params == {name.encode(): value.encode() for name, value in params.items()}


def published_patterns() -> list[tuple[str, str, bool]]:
    text = (Path(__file__).parents[3] / "docs" / "concepts" / "routing.md").read_text(encoding="utf-8")
    lines = text.split("\n## Paths\n")[1].split("\n## ")[0].splitlines()
    rows = [
        [re.findall("`([^`]+)`", cell) for cell in line.split("|")[1:4]] for line in lines if line.startswith("| `")
    ]
    return [(row[0][0], path, bool(takes)) for row in rows for takes in (1, 0) for path in row[2 - takes]]


@pytest.mark.parametrize(("pattern", "path", "takes"), published_patterns())
def test_the_published_patterns(pattern: str, path: str, takes: bool) -> None:
    assert find([row(pattern)], path) == (pattern if takes else None)


def test_no_parameters_are_shared() -> None:
    router = Router([row("/a"), row("/b", headers=(Predicate("x"),))])
    for ex in (Exchange("/a"), Exchange("/b", headers={"x": "1"}), Exchange("/b")):
        router.match(ex)
        assert ex.params is NO_PARAMS


@pytest.mark.parametrize(
    ("rows", "path", "winner"),
    [
        (["/*", "/{a}", "/{a:b}", "/b"], "/b", "/b"),
        (["/*", "/{a}", "/{a:b}"], "/b", "/{a:b}"),
        (["/*", "/{a}"], "/b", "/{a}"),
        (["/a/{x}/c", "/a/b/d"], "/a/b/c", "/a/{x}/c"),
        (["/a/b/d", "/{x}/b/c"], "/a/b/c", "/{x}/b/c"),
        (["/a/{x}/{y}/z", "/a/b/{y}/q", "/a/*"], "/a/b/c/z", "/a/{x}/{y}/z"),
        (["/a/{x}/{y}/z", "/a/b/{y}/q", "/a/*"], "/a/b/c/d", "/a/*"),
        (["/{x}/c", "/a/*"], "/a/c", "/a/*"),
        (["/a/*", "/a"], "/a", "/a"),
        (["/a/*", "/a/{x}/*"], "/a/b", "/a/{x}/*"),
        (["~^/a$", "/*"], "/a", "/*"),
        (["~a", "~b"], "/ba", "~a"),
        (["/{x:[a-z]+}/{y}", "/{x:a.*}/b"], "/ab/b", "/{x:[a-z]+}/{y}"),
        (["/{x:a.*}/b", "/{x:[a-z]+}/{y}"], "/ab/b", "/{x:a.*}/b"),
    ],
)
def test_the_more_specific_path_wins(rows: list[str], path: str, winner: str) -> None:
    assert find([row(pattern) for pattern in rows], path) == winner


def test_hosts_in_order_of_precedence() -> None:
    hosts = ["*", "*.org", "*.example.org", "a.example.org"]
    rows = [row("/*", name=host, hosts=(host,)) for host in hosts]
    for host, winner in {
        "a.example.org": "a.example.org",
        "b.example.org": "*.example.org",
        "c.b.example.org": "*.example.org",
        "example.org": "*.org",
        "org": "*",
        "[::1]": "*",
        "xexample.org": "*.org",
    }.items():
        assert find(rows, "/", host=host) == winner


def test_a_less_specific_host_is_asked_when_the_path_fails() -> None:
    rows = [row("/a", hosts=("a.b.c",)), row("/b", hosts=("*.b.c",)), row("/c", hosts=("*.c",)), row("/d")]
    for path in ("/a", "/b", "/c", "/d"):
        assert find(rows, path, host="a.b.c") == path
    assert find(rows, "/a", host="z.b.c") is None


def test_priority_comes_before_everything() -> None:
    rows = [row("/a/b", hosts=("x",)), row("/a/{x}", priority=1), row("/*", priority=2, headers=(Predicate("h"),))]
    assert find(rows, "/a/b") == "/a/{x}"
    assert find(rows, "/a/b", headers={"h": ""}) == "/*"
    assert find([*rows, row("/a/*", priority=-1)], "/a/b/c") == "/a/*"


def test_more_predicates_then_order() -> None:
    one, two = (Predicate("a", "1"),), (Predicate("a", "1"), Predicate("b"))
    rows = [row("/", name="none"), row("/", name="one", headers=one), row("/", name="later", headers=one)]
    rows += [row("/", name="two", headers=two), row("/", name="method", methods=("GET",), headers=one)]
    assert find(rows, "/") == "none"
    assert find(rows, "/", method="PUT", headers={"a": "1"}) == "one"
    assert find(rows, "/", headers={"a": "1"}) == "method"
    assert find(rows, "/", method="PUT", headers={"a": "1", "b": ""}) == "two"


def test_when_sees_the_parameters() -> None:
    rows = [row("/a/{id}", when="request.params.id == '7'"), row("/a/*", when="request.params.id == '8'")]
    assert find(rows, "/a/7") == "/a/{id}"
    assert find(rows, "/a/8") is None


def test_methods() -> None:
    rows = [row("/", name="get", methods=("GET",)), row("/", name="head", methods=("HEAD",))]
    rows += [row("/p", methods=("POST", "PUT")), row("/g", methods=("GET",)), row("/g/*", name="any")]
    router = Router(rows)
    assert matched(router, Exchange("/", method="HEAD")) == "head"
    assert matched(router, Exchange("/g", method="HEAD")) == "/g"
    assert matched(router, Exchange("/g", method="PUT")) == "any"
    assert matched(router, Exchange("/p", method="get")) is None


def test_refusals() -> None:
    rows = [row("/p", methods=("POST", "GET")), row("/{x}", methods=("PUT",))]
    rows += [row("/p", methods=("TRACE",), headers=(Predicate("no"),)), row("/q", headers=(Predicate("no"),))]
    router = Router(rows)
    assert router.refusal(Exchange("/p", method="DELETE")) == (405, b"GET, HEAD, POST, PUT")
    assert router.refusal(Exchange("/q/r")) == (404, b"")
    assert router.refusal(Exchange("/q")) == (405, b"PUT")
    assert router.refusal(Exchange("*", method="OPTIONS")) == (404, b"")


def test_options_for_the_gateway_itself_has_no_route() -> None:
    assert find([row("/*")], "*", method="OPTIONS") is None


@pytest.mark.parametrize(
    ("headers", "allows", "winner"),
    [
        ({"origin": "o", "access-control-request-method": "PUT"}, True, "put"),
        ({"origin": "o", "access-control-request-method": "PUT"}, False, "rest"),
        ({"origin": "o"}, True, "rest"),
        ({"access-control-request-method": "PUT"}, True, "rest"),
        ({"origin": "o", "access-control-request-method": "PATCH"}, True, "rest"),
    ],
)
def test_preflights(headers: dict[str, str], allows: bool, winner: str) -> None:
    route = Route("put", allows_preflight=allows)
    router = Router([(route, Match(paths=("/{id}",), methods=("PUT",)), 0), row("/*", name="rest")])
    assert matched(router, Exchange("/7", method="OPTIONS", headers=headers)) == winner


def test_a_preflight_without_a_willing_route_is_an_options_request() -> None:
    headers = {"origin": "o", "access-control-request-method": "PUT"}
    ex = Exchange("/7", method="OPTIONS", headers=headers)
    router = Router([row("/{id}", methods=("PUT",))])
    assert router.match(ex) is None
    assert ex.params is NO_PARAMS
    assert router.refusal(ex) == (405, b"PUT")


def test_a_deep_path_costs_no_more_than_the_patterns_are_deep() -> None:
    router = Router([row("/a/{b}"), row("/c/{d}/*")])
    deep = "/c" + "/x" * 4000
    ex = Exchange(deep)
    trace: list[Any] = []
    router.find(ex, b"GET", trace)
    assert len(trace[0][1]) <= router.depth + 1
    assert matched(router, ex) == "/c/{d}/*"
    assert ex.params[b"*"] == deep[5:].encode()


# --- a naive reference: every route is tried, in the documented order ---------------------------------------------

SEGMENTS = ["a", "b", "{p}", "{q}", "{r:[ab]}", "{s:a|c}", ""]
REGEXES = ["~^/a", "~b$", "~^/(a|c)/"]
PATTERNS = st.one_of(
    st.builds(
        lambda parts, tail: "/" + "/".join(parts) + tail,
        st.lists(st.sampled_from(SEGMENTS[:-1]), max_size=3),
        st.sampled_from(["", "/", "/*"]),
    ),
    st.sampled_from(REGEXES),
)
HOSTS = ["*", "*.c", "*.b.c", "a.b.c", "z"]
ROWS = st.tuples(
    st.lists(st.sampled_from(HOSTS), max_size=2, unique=True),
    st.lists(PATTERNS, min_size=1, max_size=2, unique=True),
    st.lists(st.sampled_from(["GET", "HEAD", "PUT"]), max_size=2, unique=True),
    st.lists(st.sampled_from(["h", "i"]), max_size=2, unique=True),
    st.sampled_from([0, 0, 0, 1]),
)
PATHS = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=4).map(lambda parts: "/" + "/".join(parts))
REQUESTS = st.tuples(
    PATHS,
    st.sampled_from(["a.b.c", "x.b.c", "y.c", "c", "z"]),
    st.sampled_from(["GET", "HEAD", "PUT", "DELETE"]),
    st.dictionaries(st.sampled_from(["h", "i"]), st.just("1"), max_size=2),
)


def make(spec: tuple[Any, ...]) -> Row | None:
    hosts, paths, methods, headers, priority = spec
    clean = [path if path.startswith("~") else re.sub("//+", "/", path) for path in paths]
    for names in (re.findall(r"\{(\w)", path) for path in clean):
        if len(names) != len(set(names)):
            return None
    match = Match(
        hosts=tuple(hosts),
        paths=tuple(clean),
        methods=tuple(methods),
        headers=tuple(Predicate(name) for name in headers),
    )
    return Route(f"{spec}"), match, priority


def host_rank(pattern: str, host: str) -> int | None:
    if pattern == "*":
        return 0
    if pattern.startswith("*."):
        return pattern.count(".") if host.endswith(pattern[1:]) else None
    return 100 if pattern == host else None


def path_rank(pattern: str, path: str, firsts: dict[tuple[Any, ...], tuple[int, int]]) -> tuple[Any, ...] | None:
    """What the documentation says, by comparing segments one by one. Lower is better."""
    if pattern.startswith("~"):
        return ((9, firsts[pattern,]),) if re.search(pattern[1:], path) else None
    wanted, pieces = pattern.split("/")[1:], path.split("/")[1:]
    tail = wanted[-1] == "*"
    if tail:
        wanted.pop()
    if len(pieces) < len(wanted) or (len(pieces) > len(wanted) and not tail):
        return None
    rank: list[Any] = []
    for at, (want, piece) in enumerate(zip(wanted, pieces, strict=False)):
        if want.startswith("{"):
            if not piece:
                return None
            if ":" in want:
                if not re.fullmatch(want[1:-1].partition(":")[2], piece):
                    return None
                rank.append((1, firsts[shape(wanted[: at + 1])]))
            else:
                rank.append((2, 0))
        elif want == piece:
            rank.append((0, 0))
        else:
            return None
    return (*rank, (3 if tail else -1, 0))


def shape(segments: list[str]) -> tuple[str, ...]:
    """Two patterns go the same way through the tree when their shapes are equal: names do not count."""
    return tuple(re.sub(r"^\{\w", "{", segment) for segment in segments)


def first_positions(rows: list[Row]) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Priority, host and beginning of a pattern → where it is first in the file."""
    firsts: dict[tuple[Any, ...], tuple[int, int]] = {}
    for position, (_, match, priority) in enumerate(rows):
        for under, (number, pattern) in product(match.hosts or ("*",), enumerate(match.paths)):
            firsts.setdefault((priority, under, pattern), (position, number))
            for end in range(1, pattern.count("/") + 1):
                firsts.setdefault((priority, under, *shape(pattern.split("/")[1 : end + 1])), (position, number))
    return firsts


def takes(match: Match, ex: Exchange) -> bool:
    accepts = {*match.methods, "HEAD"} if "GET" in match.methods else {*match.methods}
    if match.methods and ex.request.method.decode() not in accepts:
        return False
    return all(predicate.name.encode() in ex.request.headers for predicate in match.headers)


def reference(rows: list[Row], ex: Exchange) -> Route | None:
    """Try every route; see docs/concepts/routing.md for the order."""
    firsts = first_positions(rows)
    found = []
    for position, (route, match, priority) in enumerate(rows):
        weight = len(match.headers) + bool(match.methods)
        named = ex.request.method == b"HEAD" and "HEAD" in match.methods
        for under, pattern in product(match.hosts or ("*",), match.paths):
            known = {key[2:]: at for key, at in firsts.items() if key[:2] == (priority, under)}
            of_host = host_rank(under, ex.request.host.decode())
            of_path = path_rank(pattern, ex.request.path.decode(), known)
            if of_host is not None and of_path is not None and takes(match, ex):
                found.append((-priority, -of_host, of_path, -weight, not named, position, route))
    return min(found, key=lambda rank: rank[:-1])[-1] if found else None


@settings(max_examples=150, deadline=None)
@given(st.lists(ROWS, max_size=8), st.lists(REQUESTS, min_size=1, max_size=5))
@example(
    [
        (["*.b.c"], ["~^/a", "~^/(a|c)/"], [], [], 0),
        (["*.b.c"], ["~^/(a|c)/"], ["PUT"], [], 0),
    ],
    [("/a/a", "a.b.c", "PUT", {})],
)
@example([([], ["/"], [], ["h"], 0), ([], ["/"], ["GET"], [], 0)], [("/", "z", "GET", {"h": "1"})])
@example([([], ["/a/*"], [], [], 0), ([], ["/{p}/c"], [], [], 0)], [("/a/c", "z", "GET", {})])
def test_agrees_with_trying_every_route(specs: list[Any], requests: list[Any]) -> None:
    rows = [made for spec in specs if (made := make(spec)) is not None]
    router = Router(rows)
    for path, host, method, headers in requests:
        ex = Exchange(path, host, method, headers)
        entry = router.match(ex)
        expected = reference(rows, ex)
        assert (None if entry is None else entry.route) is expected


class Versions(RuleBasedStateMachine):
    """One version after the other: routes come, go and move; each router is built from the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self.router = Router()

    @rule(spec=ROWS, at=st.integers(0, 20))
    def add(self, spec: Any, at: int) -> None:
        made = make(spec)
        if made is not None:
            self.rows.insert(at % (len(self.rows) + 1), made)

    @rule(at=st.integers(0, 20))
    def remove(self, at: int) -> None:
        if self.rows:
            del self.rows[at % len(self.rows)]

    @rule(at=st.integers(0, 20))
    def move(self, at: int) -> None:
        if self.rows:
            self.rows.insert(0, self.rows.pop(at % len(self.rows)))

    @rule(requests=st.lists(REQUESTS, min_size=1, max_size=8))
    def next_version(self, requests: list[Any]) -> None:
        old, old_rows = self.router, [rules.route for rules in self.router.rules.values()]
        before = [matched(old, Exchange(*request)) for request in requests]
        self.router = finish(build_router(self.rows, old))
        fresh = Router(self.rows)
        for request, known in zip(requests, before, strict=True):
            assert matched(self.router, Exchange(*request)) == matched(fresh, Exchange(*request))
            assert matched(old, Exchange(*request)) == known, "a build changed the router before it"
        assert [rules.route for rules in old.rules.values()] == old_rows

    @invariant()
    def nothing_is_left_of_routes_that_are_gone(self) -> None:
        assert {host for _, host in self.router.trees} == {
            host for rules in self.router.rules.values() for host in rules.hosts
        }


TestVersions = Versions.TestCase
TestVersions.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


def test_one_change_among_many_rebuilds_little() -> None:
    rows = [row(f"/svc{n}/items/{{id}}") for n in range(3000)]
    router = finish(build_router(rows))
    rows[1500] = row("/svc1500/items/{id}/new")
    changed = finish(build_router(rows, router))
    assert matched(changed, Exchange("/svc1500/items/7/new")) == "/svc1500/items/{id}/new"
    assert matched(changed, Exchange("/svc1500/items/7")) is None
    (old,), (new,) = router.trees.values(), changed.trees.values()
    assert old.root is not None
    assert new.root is not None
    same = sum(new.root.static.get(name) is node for name, node in old.root.static.items())
    assert same == 2999


def test_a_build_rests() -> None:
    build = build_router([row(f"/svc{n}/{{id}}", hosts=(f"h{n}",)) for n in range(1000)])
    rests = sum(1 for _ in build)
    assert rests >= 4 * 5


def test_a_build_that_is_given_up_changes_nothing() -> None:
    rows = [row(f"/{{a}}/svc{n}") for n in range(500)]
    router = Router(rows)
    build = build_router([*rows[1:], row("/{a}/new")], router)
    for _ in range(6):
        next(build)
    build.close()
    assert matched(router, Exchange("/x/svc0")) == "/{a}/svc0"
    assert matched(router, Exchange("/x/new")) is None


def test_a_route_object_comes_once() -> None:
    once = row("/a")
    with pytest.raises(ValueError, match="twice"):
        Router([once, once])


@pytest.mark.parametrize(
    "match", [Match(paths=("a",)), Match(hosts=("a b",)), Match(when="nope"), Match(sources=("10.0.0.0/33",))]
)
def test_what_cannot_work_is_refused(match: Match) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Router([(Route("r"), match, 0)])
