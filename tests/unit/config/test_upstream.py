"""Upstreams as they are written."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gatewright.config.upstream import ALGORITHMS, Upstream


def upstream(**keys: Any) -> Upstream:
    return Upstream.model_validate({"endpoints": ["http://127.0.0.1:9001"], **keys})


def test_endpoints_short_and_long() -> None:
    found = upstream(endpoints=["http://a:1", {"url": "http://b:2", "weight": 3, "zone": "z", "metadata": {"k": "v"}}])
    assert [(e.url.host, e.weight, e.zone, e.metadata) for e in found.endpoints] == [
        ("a", 1, "", {}),
        ("b", 3, "z", {"k": "v"}),
    ]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithms(name: str) -> None:
    assert upstream(balance=name).balance.algorithm == name


def test_consistent_hashing() -> None:
    balance = upstream(balance={"hash": {"by": "cookie", "name": "session"}}).balance
    assert balance.hash is not None
    assert (balance.algorithm, balance.hash.by, balance.hash.name) == ("hash", "cookie", "session")


def test_passive_checks_are_on_unless_they_are_off() -> None:
    assert upstream().health.passive is not None
    assert upstream(health={"active": {}}).health.passive is not None
    assert upstream(health={"passive": "off"}).health.passive is None
    assert upstream().health.active is None
    assert upstream().circuit_breaker is None
    assert upstream(circuit_breaker={"failure_rate": "off"}).circuit_breaker is not None


def test_statuses_are_numbers_and_ranges() -> None:
    active = upstream(health={"active": {"statuses": [200, "204", "300-399"]}}).health.active
    assert active is not None
    assert active.statuses == ((200, 200), (204, 204), (300, 399))


def test_conditions_of_retries_become_text() -> None:
    assert upstream(retries={"on": ["connect", 503, "504"]}).retries.on == ("connect", "503", "504")


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"endpoints": []}, ("endpoints",)),
        ({"endpoints": [{"weight": 1}]}, ("endpoints", 0, "url")),
        ({"balance": "hash"}, ("balance",)),
        ({"balance": {"random": {}}}, ("balance",)),
        ({"balance": "fastest"}, ("balance", "algorithm")),
        ({"health": {"active": {"statuses": [True]}}}, ("health", "active", "statuses", 0)),
        ({"health": {"active": {"interval": "0s"}}}, ("health", "active", "interval")),
        ({"retries": {"on": ["200"]}}, ("retries", "on", 0)),
        ({"retries": {"attempts": 11}}, ("retries", "attempts")),
        ({"sticky": {"cookie": "a b"}}, ("sticky", "cookie")),
        ({"protocol": "http3"}, ("protocol",)),
    ],
)
def test_what_is_refused(keys: dict[str, Any], place: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        upstream(**keys)
    assert caught.value.errors()[0]["loc"] == place
