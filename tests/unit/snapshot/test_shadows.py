"""Which routes can never be reached. What is said must agree with the router."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.http.head import RequestHead
from gatewright.http.headers import Fields, Headers
from gatewright.proxy.patterns import parse_path
from gatewright.proxy.router import Router
from gatewright.snapshot.model import Match, Predicate, Route
from gatewright.snapshot.shadows import Shadows


def route(*paths: str, priority: int = 0, listeners: tuple[str, ...] = (), **match: Any) -> Route:
    return Route("r", Match(paths=paths, **match), priority=priority, listeners=listeners)


def shadows(*routes: Route) -> list[tuple[int, int, int | None]]:
    patterns = {path: parse_path(path) for route in routes for path in route.match.paths}
    return [tuple(shadow) for shadow in Shadows(routes, patterns).find()]


X = (Predicate("x"),)
Y = (Predicate("x"), Predicate("y", "1"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (route("/a"), route("/a")),
        (route("/a/{x}"), route("/a/{y}")),
        (route("/a/{x:[0-9]+}"), route("/a/{y:[0-9]+}")),
        (route("/a/*"), route("/a/{*rest}")),
        (route("~^/a"), route("~^/a")),
        (route("/a", methods=("GET", "POST")), route("/a", methods=("POST",))),
        (route("/a", headers=X), route("/a", headers=X)),
        (route("/a", hosts=("h",)), route("/a", hosts=("h",))),
        (route("/a"), route("/a", listeners=("l",))),
        (route("/*", priority=1), route("/a", "/b/{x}", "~c", hosts=("h",), methods=("GET",), headers=X)),
        (route("/a/{x}", priority=1), route("/a/b", "/a/{y:c}", "/a/{z}")),
        (route("/a/*", priority=1), route("/a", "/a/", "/a/b/c/*")),
        (route("/a", priority=1, headers=X), route("/a", headers=Y)),
        (route("/a", priority=1, hosts=("*.h",)), route("/a", hosts=("a.h", "*.b.h", "*.h"))),
        (route("/a", priority=1, methods=("GET",)), route("/a", methods=("GET", "HEAD"))),
        (route("/a", "/b/*", priority=1), route("/b/c", "/a")),
    ],
    ids=range(16),
)
def test_the_second_is_never_reached(first: Route, second: Route) -> None:
    assert shadows(first, second) == [(1, 0, None)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (route("/a"), route("/b")),
        (route("/*"), route("/a")),  # the more specific path is asked first
        (route("/a/{x}"), route("/a/b")),
        (route("/a"), route("/a", headers=X)),  # more predicates are asked first
        (route("/a"), route("/a", methods=("GET",))),
        (route("/a", methods=("GET",)), route("/a", methods=("HEAD",))),  # HEAD goes to who names it
        (route("/a", methods=("GET",)), route("/a")),
        (route("/a", hosts=("h",)), route("/a")),
        (route("/a", hosts=("*.h",)), route("/a", hosts=("a.h",))),
        (route("/a", listeners=("l",)), route("/a")),
        (route("/a", listeners=("l",)), route("/a", listeners=("m",))),
        (route("/*", priority=-1), route("/a")),
        (route("/a/{x}", priority=1), route("/a/b/c", "/a/")),
        (route("/a/{x:[a-z]}", priority=1), route("/a/b")),  # never certain
        (route("/a", priority=1, headers=Y), route("/a", headers=X)),
        (route("/a", priority=1, hosts=("*.h",)), route("/a", hosts=("h",))),
        (route("/a", priority=1, methods=("GET",)), route("/a", methods=("GET", "POST"))),
        (route("/a/b", priority=1), route("/a/*")),
        (route("~a", priority=1), route("/a")),
        (route("/a", sources=("10.0.0.0/8",), priority=1), route("/a")),
        (route("/a", when="true", priority=1), route("/a")),
    ],
    ids=range(21),
)
def test_the_second_is_reached(first: Route, second: Route) -> None:
    assert shadows(first, second) == []


def test_single_paths() -> None:
    assert shadows(route("/a"), route("/b", "/a")) == [(1, 0, 1)]
    assert shadows(route("/a", priority=1), route("/c"), route("/b", "/a", "/c")) == [(2, 0, 1), (2, 1, 2)]


def test_several_routes_together_leave_nothing() -> None:
    assert shadows(route("/a"), route("/b"), route("/a", "/b")) == [(2, 0, None)]


def test_each_host_needs_its_taker() -> None:
    assert shadows(route("/a", hosts=("h",)), route("/a", hosts=("h", "i"))) == []
    assert shadows(route("/a", hosts=("h",)), route("/a", hosts=("i",)), route("/a", hosts=("h", "i"))) == [
        (2, 1, None)
    ]


def test_unreadable_patterns_are_passed_over() -> None:
    assert list(Shadows((route("/{"), route("/a", hosts=("a:1",))), {"/a": parse_path("/a")}).find()) == []


class Exchange:
    """As much of an exchange as the router reads."""

    def __init__(self, method: bytes, path: bytes, host: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        fields = Headers(Fields(headers))
        self.request = RequestHead(method, path, path, None, host, host, b"http", 11, fields)
        self.client_addr = "127.0.0.1"
        self.params: dict[bytes, bytes] = {}


ROUTES = st.builds(
    lambda paths, hosts, methods, headers, priority: route(
        *paths, hosts=hosts, methods=methods, headers=headers, priority=priority
    ),
    st.lists(
        st.sampled_from(
            ["/a", "/a/", "/a/b", "/{x}", "/a/{x}", "/{x}/b", "/a/{x:b|c}", "/*", "/a/*", "~^/a", "/{x}/*"]
        ),
        min_size=1,
        max_size=2,
        unique=True,
    ),
    st.sampled_from([(), ("h",), ("*.h",), ("a.h",), ("h", "a.h")]),
    st.sampled_from([(), ("GET",), ("HEAD",), ("POST", "GET")]),
    st.sampled_from([(), X, (Predicate("y", "1"),)]),
    st.sampled_from([0, 0, 1]),
)
REQUESTS = [
    Exchange(method, path, host, headers)
    for method in (b"GET", b"HEAD", b"POST", b"PUT")
    for path in (b"/", b"/a", b"/a/", b"/a/b", b"/a/c", b"/b/b", b"/a/b/c", b"/z")
    for host in (b"h", b"a.h", b"b.h", b"i")
    for headers in ((), ((b"x", b"1"),), ((b"y", b"1"),), ((b"x", b"1"), (b"y", b"1")))
]


@settings(max_examples=60, deadline=None)
@given(st.lists(ROUTES, min_size=2, max_size=6))
def test_a_route_called_unreachable_is_never_chosen_by_the_router(routes: list[Route]) -> None:
    class Compiled:
        pass

    compiled: list[Any] = [Compiled() for _ in routes]
    router = Router([(one, route.match, route.priority) for one, route in zip(compiled, routes, strict=True)])
    chosen = set()
    for ex in REQUESTS:
        entry = router.match(ex)  # type: ignore[arg-type]
        if entry is not None:
            chosen.add((compiled.index(entry.route), entry.pattern.text))
    for index, _, path in shadows(*routes):
        paths = routes[index].match.paths if path is None else (routes[index].match.paths[path],)
        assert not {(index, pattern) for pattern in paths} & chosen
