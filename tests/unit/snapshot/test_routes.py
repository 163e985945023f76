"""Routes: references, actions, patterns, placeholders."""

from __future__ import annotations

from typing import Any

import pytest

UPSTREAMS = (
    "upstreams: {orders: {endpoints: [http://127.0.0.1:1], timeouts: {idle: 9s}}, other: {endpoints: [http://b]}}\n"
)


def route(keys: str) -> str:
    return f"{UPSTREAMS}routes: [{{name: a, {keys}}}]\n"


@pytest.mark.parametrize(
    ("keys", "messages"),
    [
        ("match: {}", ["the route 'a' does not say what is done"]),
        (
            "to: orders, respond: {}",
            ["a route has one of to, redirect and respond, and this one already has 'to'"],
        ),
        ("to: none", ["there is no upstream 'none'"]),
        ("to: [{upstream: orders}, {upstream: ordesr}]", ["there is no upstream 'ordesr'"]),
        ("to: orders, listeners: [publik]", ["there is no listener 'publik'"]),
        (
            "to: [{upstream: orders, weight: 0}, {upstream: other, weight: 0}]",
            ["every upstream has the weight 0, so none would ever be used"],
        ),
        ("respond: {}, rewrite: {path: /a}", ["'rewrite' has no meaning with 'respond'"]),
        ("redirect: {to: /a}, timeout: 5s", ["'timeout' has no meaning with 'redirect'"]),
        ("respond: {}, retries: {}", ["'retries' has no meaning with 'respond'"]),
        ("respond: {status: 304, body: x}", ["an answer with status 304 has no body"]),
        ("respond: {headers: {Content-Length: '1'}}", ["the header field 'content-length' is the gateway's own"]),
        ("redirect: {to: new}", ["a redirect leads to a path or to an http address"]),
        ("to: orders, rewrite: {path: /a, regex: b}", ["'regex' and 'path' cannot stand together"]),
        ("to: orders, rewrite: {regex: b, add_prefix: /c}", ["'add_prefix' and 'regex' cannot stand together"]),
        ("to: orders, rewrite: {replacement: b}", ["'replacement' needs 'regex'"]),
        (
            "to: orders, rewrite: {regex: '(a)', replacement: '\\2'}",
            ["not a replacement for this regular expression: invalid group reference 2 at position 1"],
        ),
        (
            "to: orders, rewrite: {regex: '\\N{BULLET}'}",
            ["not a regular expression over bytes: bad escape \\N at position 0"],
        ),
        (
            "match: {headers: {x: '~\\u0041'}}, to: orders",
            ["not a regular expression over bytes: bad escape \\u at position 0"],
        ),
        (
            "to: [{upstream: orders, cookies: {x: '~\\u0041'}}]",
            ["not a regular expression over bytes: bad escape \\u at position 0"],
        ),
        (
            "match: {paths: ['~x{99999999999}']}, to: orders",
            ["not a regular expression: the repetition number is too large"],
        ),
        ("match: {hosts: ['a:80']}, to: orders", ["a host is written without its port"]),
        ("match: {when: '1 +'}, to: orders", ["not an expression: the expression ends too early"]),
    ],
)
def test_rules(build: Any, keys: str, messages: list[str]) -> None:
    assert build.messages(route(keys)) == messages


@pytest.mark.parametrize(
    ("keys", "hint"),
    [
        ("match: {paths: ['/a/{id}']}, to: orders, rewrite: {path: '/{idd}'}", "did you mean 'id'?"),
        ("match: {paths: ['/a/{id}', /b]}, to: orders, rewrite: {path: '/{id}'}", "it has no parameters"),
        ("match: {paths: ['/a/*']}, redirect: {to: '/{rest}'}", "it has {*}, {query}"),
        ("match: {paths: ['/a']}, to: orders, rewrite: {regex: a, replacement: '{x}'}", "it has no parameters"),
    ],
)
def test_placeholders_must_be_of_the_path(build: Any, keys: str, hint: str) -> None:
    (problem,) = build.errors(route(keys))
    assert (problem.code, problem.hint) == ("config.placeholder", hint)
    assert problem.source[problem.column - 1] == "{"


@pytest.mark.parametrize(
    "keys",
    [
        "match: {paths: ['/a/{id}/{*rest}']}, redirect: {to: 'https://h/{id}/{rest}?{query}'}",
        "match: {paths: ['~^/(?P<x>a)(b)']}, to: orders, rewrite: {path: '/{x}/{2}'}",
        "to: orders, rewrite: {regex: '^/(a)', replacement: '/\\1/{*}'}, match: {paths: ['/a/*']}",
        "to: orders, rewrite: {host: other.example.com}",
    ],
)
def test_good_ones(build: Any, keys: str) -> None:
    assert all(message.startswith("no route leads to") for message in build.warnings(route(keys)))


def test_timeouts_that_are_not_written_are_the_upstreams(build: Any) -> None:
    timeouts = build(route("to: orders, timeouts: {first_byte: 3s}")).snapshot.routes[0].timeouts
    assert (timeouts.connect, timeouts.first_byte, timeouts.idle, timeouts.total) == (2.0, 3.0, 9.0, None)
    assert build(route("to: orders")).snapshot.routes[0].timeouts is None


def test_upgrades_can_be_switched_off(build: Any) -> None:
    assert build(route("to: orders")).snapshot.routes[0].websocket
    assert not build(route("to: orders, websocket: off")).snapshot.routes[0].websocket


def test_names_are_unique(build: Any) -> None:
    text = "routes:\n- {name: a, respond: {}}\n- {name: a, match: {paths: [/b]}, respond: {}}\n"
    (problem,) = build.errors(text)
    assert problem.message == "there is another route with the name 'a'"
    assert problem.related == [f"the first is at {build.folder}/gateway.yaml:3:10"]
