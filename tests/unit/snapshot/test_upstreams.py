"""Upstreams: addresses of names, and the rules between their keys."""

from __future__ import annotations

from typing import Any

import pytest

ROUTE = "routes: [{name: a, to: a}]\n"


def test_names_become_their_addresses(build: Any) -> None:
    text = "upstreams: {a: {endpoints: [{url: 'http://Orders.internal:81', weight: 3}, 'http://[::1]:82']}}\n" + ROUTE
    unknown = build(text)
    assert unknown.hosts == {"orders.internal"}
    assert [(e.key, e.host, e.name) for e in unknown.snapshot.upstreams[0].endpoints] == [
        ("http://orders.internal:81", "", "orders.internal:81"),
        ("http://[::1]:82", "::1", "[::1]:82"),
    ]
    known = build(text, addresses={"orders.internal": ["10.0.0.1", "2001:db8::1"]})
    assert known.hosts == {"orders.internal"}
    assert [(e.key, e.host, e.port, e.name, e.weight) for e in known.snapshot.upstreams[0].endpoints] == [
        ("http://10.0.0.1:81", "10.0.0.1", 81, "orders.internal:81", 3),
        ("http://[2001:db8::1]:81", "2001:db8::1", 81, "orders.internal:81", 3),
        ("http://[::1]:82", "::1", 82, "[::1]:82", 1),
    ]


def test_two_names_of_one_address_are_one_endpoint(build: Any) -> None:
    text = "upstreams: {a: {endpoints: ['http://b', 'http://c']}}\n" + ROUTE
    built = build(text, addresses={"b": ["10.0.0.1"], "c": ["10.0.0.1", "10.0.0.2"]})
    assert [e.host for e in built.snapshot.upstreams[0].endpoints] == ["10.0.0.1", "10.0.0.2"]


def test_localhost_needs_nobody_to_ask(build: Any) -> None:
    built = build("upstreams: {a: {endpoints: ['http://localhost:1']}}\n" + ROUTE)
    assert built.hosts == set()
    assert built.snapshot.upstreams[0].endpoints[0].key == "http://127.0.0.1:1"


def test_unix_sockets(build: Any) -> None:
    (endpoint,) = build("upstreams: {a: {endpoints: ['unix:/run/a.sock']}}\n" + ROUTE).snapshot.upstreams[0].endpoints
    assert (endpoint.key, endpoint.host, endpoint.port, endpoint.name) == (
        "unix:/run/a.sock",
        "/run/a.sock",
        0,
        "localhost",
    )


@pytest.mark.parametrize(
    ("keys", "messages"),
    [
        ("endpoints: [http://a, http://A/]", ["the endpoint http://a stands here twice"]),
        ("endpoints: ['unix:/a', 'unix:///a']", ["the endpoint unix:/a stands here twice"]),
        ("endpoints: [{url: http://a, weight: 0}]", ["every endpoint has the weight 0, so none would ever be used"]),
        (
            "endpoints: [http://a], balance: {hash: {by: cookie}}",
            ["hash by cookie needs the name of the cookie"],
        ),
        (
            "endpoints: [http://a], balance: {hash: {by: address, name: x}}",
            ["hash by address takes no name"],
        ),
        (
            "endpoints: [http://a], health: {active: {type: tcp, path: /x, body: y}}",
            ["'path' has no meaning for a check of type tcp", "'body' has no meaning for a check of type tcp"],
        ),
        (
            "endpoints: [http://a], health: {active: {service: x}}",
            ["'service' has no meaning for a check of type http"],
        ),
        (
            "endpoints: [http://a], protocol: grpc, health: {active: {type: grpc, path: /x}}",
            ["'path' has no meaning for a check of type grpc"],
        ),
        ("endpoints: [http://a], health: {active: {type: grpc}}", ["a check by gRPC needs HTTP/2"]),
        (
            "endpoints: [http://a], health: {active: {interval: 1s, timeout: 2s}}",
            ["a check may not take longer than the time between two checks"],
        ),
        (
            "endpoints: [http://a], sticky: {cookie: c, same_site: None}",
            ["browsers take a cookie with same_site None only when it is secure"],
        ),
        ("endpoints: [http://a], failover: b", ["there is no upstream 'b'"]),
    ],
)
def test_rules(build: Any, keys: str, messages: list[str]) -> None:
    assert build.messages(f"upstreams: {{a: {{{keys}}}}}\n{ROUTE}") == messages


def test_a_circle_of_failovers_is_told_once_and_a_tail_to_it_is_fine(build: Any) -> None:
    text = "upstreams:\n" + "".join(
        f"  {name}: {{endpoints: [http://h{name}], failover: {to}}}\n"
        for name, to in (("a", "b"), ("b", "c"), ("c", "b"))
    )
    assert build.messages(text + ROUTE) == ["the failover leads back to where it began: b → c → b"]
