"""Explanations: they choose what the router chooses, and say what the others failed."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.http.head import RequestHead
from gatewright.http.headers import Fields, Headers
from gatewright.proxy.explain import MOST_CANDIDATES, MOST_NEAR, Explanation, explain
from gatewright.proxy.router import Router
from gatewright.snapshot.model import Match, Predicate


def exchange(path: str, host: str = "x", method: str = "GET", query: str = "", **headers: str) -> Any:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    raw = path.encode()
    head = RequestHead(
        method.encode(),
        raw,
        raw,
        query.encode() or None,
        host.encode(),
        host.encode(),
        b"http",
        11,
        Headers(Fields(pairs)),
    )
    return SimpleNamespace(
        request=head, client_addr="10.1.2.3", params={}, consumer=None, response=None, vars={}, route_name=""
    )


def row(name: str, *paths: str, priority: int = 0, preflight: bool = False, **match: Any) -> Any:
    return SimpleNamespace(name=name, allows_preflight=preflight), Match(paths=paths or ("/*",), **match), priority


def told(found: Explanation) -> list[tuple[str, str, str, str]]:
    return [(item.route, item.state, item.failed, item.saw) for item in found.candidates]


def test_every_candidate_with_the_first_thing_it_failed() -> None:
    router = Router(
        [
            row("rest"),
            row("put", "/a/{id}", methods=("PUT", "GET")),
            row("headers", "/a/{id}", headers=(Predicate("x", "1"), Predicate("y")), priority=3),
            row("query", "/a/{id}", query=(Predicate("v", regex="^2"),), priority=2),
            row("cookie", "/a/{id}", cookies=(Predicate("c", absent=True),), priority=2),
            row("source", "/a/{id}", sources=("192.168.0.0/16", "::1/128"), priority=1),
            row("when", "/a/{id}", when="request.params.id == '8'", priority=1),
            row("broken", "/a/{id}", when="request.headers.nope == '8'", priority=1),
        ]
    )
    found = explain(router, exchange("/a/7", method="POST", query="v=1&v=3", x="1", cookie="c=d"))
    assert told(found) == [
        ("headers", "failed", "header y is present", "absent"),
        ("query", "failed", "query parameter v matches '^2'", "1, 3"),
        ("cookie", "failed", "cookie c is absent", "d"),
        ("source", "failed", "client address is in 192.168.0.0/16, ::1/128", "10.1.2.3"),
        ("when", "failed", "when: request.params.id == '8'", "false"),
        ("broken", "failed", "when: request.headers.nope == '8'", "error: there is no 'nope'"),
        ("put", "failed", "method is GET or HEAD or PUT", "POST"),
        ("rest", "chosen", "", ""),
    ]
    assert found.route == "rest"
    assert found.params == {"*": "a/7"}
    assert found.status == 0


def test_what_comes_after_the_chosen_one_is_beaten() -> None:
    router = Router([row("one", "/a"), row("two", "/a"), row("rest")])
    found = explain(router, exchange("/a"))
    assert [(item.route, item.state) for item in found.candidates] == [
        ("one", "chosen"),
        ("two", "beaten"),
        ("rest", "beaten"),
    ]


def test_without_a_route() -> None:
    router = Router([row("a", "/a", methods=("PUT",))])
    found = explain(router, exchange("/a"))
    assert (found.route, found.status, found.allow) == ("", 405, "PUT")
    found = explain(router, exchange("/zzz"))
    assert (found.route, found.status, found.allow, found.candidates, found.near) == ("", 404, "", [], [])
    assert explain(router, exchange("*", method="OPTIONS")).status == 404


@pytest.mark.parametrize(
    ("path", "host", "route", "why"),
    [
        ("/orders/7", "y", "orders", "the path matches, but the host is y"),
        ("/list", "x", "list", "it would match with a slash at the end"),
        ("/end/", "x", "end", "it would match without a slash at the end"),
        ("/END", "x", "end", "it would match in lower case"),
        ("/oders/{id}", "x", "orders", "the path is similar"),
    ],
)
def test_near_misses(path: str, host: str, route: str, why: str) -> None:
    router = Router(
        [row("orders", "/orders/{id}", hosts=("x",)), row("list", "/list/"), row("end", "/end"), row("rest")]
    )
    ex = exchange(path, host)
    found = explain(router, ex)
    assert (route, why) in [(item.route, item.why) for item in found.near]
    assert found.route == "rest"
    assert ex.request.path == path.encode()


def test_no_near_misses_when_a_route_of_its_own_was_found() -> None:
    router = Router([row("a", "/a"), row("slash", "/a/"), row("other", "/a", hosts=("y",))])
    assert explain(router, exchange("/a")).near == []


def test_a_preflight_is_explained_with_the_method_it_announces() -> None:
    router = Router([row("put", "/a", methods=("PUT",), preflight=True), row("rest")])
    ex = exchange("/a", method="OPTIONS", origin="o", access_control_request_method="PUT")
    found = explain(router, ex)
    assert found.preflight
    assert told(found)[0] == ("put", "chosen", "", "")
    plain = explain(router, exchange("/a", method="OPTIONS", origin="o"))
    assert not plain.preflight
    assert told(plain) == [("put", "failed", "method is PUT", "OPTIONS"), ("rest", "chosen", "", "")]


def test_long_tables_give_short_explanations() -> None:
    rows = [row(f"r{n}", "/a", headers=(Predicate("x", str(n)),)) for n in range(300)]
    rows += [row(f"h{n}", "/a", hosts=(f"h{n}",)) for n in range(300)]
    router = Router(rows)
    found = explain(router, exchange("/a", x="299"))
    assert found.route == "r299"
    assert len(found.candidates) == MOST_CANDIDATES + 1
    assert found.candidates[-1].state == "chosen"
    assert found.omitted == 300 - MOST_CANDIDATES - 1
    assert len(explain(router, exchange("/a")).near) == MOST_NEAR


def test_it_is_plain_data() -> None:
    router = Router([row("a", "/a/{id}")])
    found = explain(router, exchange("/a/7"))
    assert json.loads(json.dumps(found.as_dict())) == found.as_dict()
    assert found.as_dict()["candidates"][0]["route"] == "a"


PREDICATES = st.lists(st.sampled_from(["x", "y"]), max_size=2, unique=True).map(
    lambda names: tuple(Predicate(name) for name in names)
)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["/a", "/{p}", "/a/*", "/*", "~a"]),
        PREDICATES,
        st.sampled_from([(), ("GET",), ("HEAD",), ("PUT",)]),
        st.sampled_from([(), ("h",)]),
        st.integers(0, 1),
        st.booleans(),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(
    ROWS,
    st.sampled_from(["/a", "/b", "/a/b"]),
    st.sampled_from(["GET", "HEAD", "PUT", "OPTIONS"]),
    st.dictionaries(
        st.sampled_from(["x", "y", "origin", "access_control_request_method"]), st.sampled_from(["PUT", "GET"])
    ),
    st.sampled_from(["h", "i"]),
)
def test_it_chooses_what_the_router_chooses(specs: Any, path: str, method: str, headers: Any, host: str) -> None:
    router = Router(
        [
            row(
                str(n),
                pattern,
                headers=predicates,
                methods=methods,
                hosts=hosts,
                priority=priority,
                preflight=preflight,
            )
            for n, (pattern, predicates, methods, hosts, priority, preflight) in enumerate(specs)
        ]
    )
    ex = exchange(path, host, method, **headers)
    entry = router.match(ex)
    params = ex.params
    found = explain(router, ex)
    assert found.route == ("" if entry is None else entry.route.name)
    assert ex.params == params
    states = [candidate.state for candidate in found.candidates]
    assert states.count("chosen") == (entry is not None)
    if entry is not None:  # nobody before the chosen one could have taken it
        assert set(states[: states.index("chosen")]) <= {"failed"}
        assert found.candidates[states.index("chosen")].failed == ""
    else:
        assert set(states) <= {"failed"}
