"""Warnings."""

from __future__ import annotations

from typing import Any

import pytest

LISTENERS = "listeners: [{name: l, bind: 127.0.0.1:1}, {name: m, bind: 127.0.0.1:2}]\n"
UPSTREAMS = "upstreams: {a: {endpoints: [http://127.0.0.1:1]}, b: {endpoints: [http://127.0.0.1:2]}}\n"


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("routes: []", ["there are no routes: every request is answered with 404"]),
        ("{}", ["there are no routes: every request is answered with 404"]),
        (UPSTREAMS + "routes: [{name: r, to: a}]", ["no route leads to the upstream 'b'"]),
        (
            "consumers: [{name: c}, {name: d, credentials: [{api_key: k}]}]\nroutes: [{name: r, respond: {}}]",
            ["the consumer 'c' has no credentials, so nobody can be it"],
        ),
        (
            "routes: [{name: r, respond: {}, policies: [{api_key: {}}]}]",
            ["no consumer has an API key, so the route 'r' refuses every request"],
        ),
        ("routes: [{name: r, respond: {}, policies: [{api_key: {optional: true}}]}]", []),
        (
            LISTENERS + "routes: [{name: r, respond: {}, listeners: [l]}]",
            ["no route is for the listener 'm': every request is answered with 404"],
        ),
        (
            UPSTREAMS + "routes: [{name: r, match: {paths: [/x/*, '/{v}/y', '~^/z', /xy]}, to: [{upstream: a}, "
            "{upstream: b}], rewrite: {strip_prefix: /x}}]",
            ["the path /xy does not begin with /x"],
        ),
        (
            "routes: [{name: r, respond: {}}, {name: s, respond: {}}]",
            ["the route 's' is never reached: 'r' takes all of its requests and stands before it"],
        ),
        (
            "routes: [{name: r, respond: {}, priority: 1}, {name: s, match: {paths: [/a]}, respond: {}}]",
            ["the route 's' is never reached: 'r' takes all of its requests and has a higher priority"],
        ),
        (
            "routes: [{name: r, match: {paths: [/a]}, respond: {}}, {name: s, match: {paths: [/b, /a]}, respond: {}}]",
            ["the path /a is never reached here: 'r' stands before it"],
        ),
    ],
    ids=range(11),
)
def test_warnings(build: Any, text: str, warnings: list[str]) -> None:
    assert build.warnings(text if text != "{}" else "version: 1") == warnings


def test_an_upstream_that_is_only_a_failover_is_used(build: Any) -> None:
    text = UPSTREAMS.replace("1]}", "1], failover: b}")
    assert build.warnings(text + "routes: [{name: r, to: a}]") == []


def test_failovers_of_unused_upstreams_are_unused(build: Any) -> None:
    text = UPSTREAMS.replace("1]}", "1], failover: b}")
    assert build.warnings(text + "routes: [{name: r, respond: {}}]") == [
        "no route leads to the upstream 'a'",
        "no route leads to the upstream 'b'",
    ]


def test_with_errors_there_are_no_warnings(build: Any) -> None:
    # What is faulty is missing from the snapshot, so half of them would be wrong.
    assert build.messages(UPSTREAMS + "routes: [{name: r, to: a, typo: 1}]") == ["unknown key 'typo'"]


def test_warnings_have_their_place_and_severity(build: Any) -> None:
    (problem,) = build(UPSTREAMS + "routes: [{name: r, to: a}]").problems
    assert (problem.severity, problem.code, problem.path) == ("warning", "lint.unused_upstream", "upstreams.b")
    assert problem.source[problem.column - 1 :].startswith("b: {")
