from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from gatewright.ipc.messages import BreakerChange, HealthChange
from gatewright.proxy.endpoints import FAILED_RESET
from gatewright.proxy.selection import NEVER, SLOW_START_LEAST, set_shares
from gatewright.snapshot import model


def sicken(it: Any, *names: str) -> None:
    for name in names:
        it.upstream.apply_health(HealthChange("u", it[name].key, healthy=False))


# --- zones ------------------------------------------------------------------------------------------------------------


def zoned(bench: Any, **settings: Any) -> Any:
    specs = [bench.endpoint(name, zone=zone) for name, zone in (("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"))]
    return bench(*specs, zone="a", **settings)


def test_the_zone_is_preferred(bench: Any) -> None:
    assert zoned(bench).names(6) == ["a1", "a2", "a3"] * 2


def test_one_sick_endpoint_does_not_make_it_leave_the_zone(bench: Any) -> None:
    it = zoned(bench)
    sicken(it, "a1")
    assert set(it.names(6)) == {"a2", "a3"}


def test_a_zone_that_has_lost_most_of_itself_gets_help(bench: Any) -> None:
    it = zoned(bench)
    sicken(it, "a1", "a2")
    assert set(it.names(6)) == {"a3", "b1"}


def test_a_zone_that_does_not_exist_is_ignored(bench: Any) -> None:
    assert set(bench("a", "b", zone="nowhere").names(4)) == {"a", "b"}


def test_without_a_panic_threshold_the_zone_is_left_when_it_is_empty(bench: Any) -> None:
    it = zoned(bench, panic_threshold=0.0)
    sicken(it, "a1", "a2")
    assert set(it.names(4)) == {"a3"}
    sicken(it, "a3")
    assert set(it.names(4)) == {"b1"}


# --- slow start -------------------------------------------------------------------------------------------------------


def share_of(it: Any, name: str, picks: int = 1000) -> float:
    return Counter(it.names(picks))[name] / picks


def test_a_new_endpoint_starts_slowly(bench: Any) -> None:
    it = bench("old", slow_start=60.0, seed=1)
    assert it.names(2) == ["old", "old"]
    it.upstream.update(bench.spec("old", "new", slow_start=60.0))
    assert share_of(it, "new") == pytest.approx(SLOW_START_LEAST / (1 + SLOW_START_LEAST), abs=0.01)
    it.now += 30.0
    assert share_of(it, "new") == pytest.approx(0.5 / 1.5, abs=0.02)
    it.now += 31.0
    assert share_of(it, "new") == 0.5
    assert it["new"].share == it["old"].share == 1


def test_at_the_start_of_the_gateway_nobody_does(bench: Any) -> None:
    it = bench("a", "b", slow_start=60.0)
    assert it.names(4) == ["a", "b", "a", "b"]


@pytest.mark.parametrize("how", ["active", "ejection over", "ejection ended"])
def test_an_endpoint_that_comes_back_starts_slowly(bench: Any, how: str) -> None:
    it = bench("a", "b", slow_start=60.0, seed=1)
    if how == "active":
        it.upstream.apply_health(HealthChange("u", it["b"].key, healthy=False))
    else:
        it.upstream.apply_health(HealthChange("u", it["b"].key, ejected_until=it.now + 5))
    assert share_of(it, "b", 10) == 0.0
    it.now += 10.0
    if how == "active":
        it.upstream.apply_health(HealthChange("u", it["b"].key, healthy=True))
    elif how == "ejection ended":
        it.upstream.apply_health(HealthChange("u", it["b"].key, ejected_until=0.0))
    assert 0.0 < share_of(it, "b") < 0.12


def test_shares_never_fall_to_nothing(bench: Any) -> None:
    it = bench("a")
    it["a"].added_at = it.now
    assert set_shares([it["a"]], 1e9, it.now) < NEVER
    assert it["a"].share >= 1


# --- why there is nobody ----------------------------------------------------------------------------------------------


def test_no_endpoints_at_all(bench: Any) -> None:
    it = bench()
    assert it.pick() is None
    assert it.upstream.refusal(it.now) == ("upstream.none", 0.0)


def test_names_that_are_not_resolved_and_weights_of_zero_are_no_endpoints(bench: Any) -> None:
    it = bench(model.Endpoint("http://later:80", "", 80), bench.endpoint("drained", weight=0))
    assert it.pick() is None
    assert it.upstream.refusal(it.now) == ("upstream.none", 0.0)


def test_nobody_is_healthy(bench: Any) -> None:
    it = bench("a", "b", panic_threshold=0.0)
    sicken(it, "a", "b")
    assert it.pick() is None
    assert it.upstream.refusal(it.now) == ("upstream.unhealthy", 0.0)


def test_the_first_ejection_to_end_is_when_to_come_back(bench: Any) -> None:
    it = bench("a", "b", "c", panic_threshold=0.0)
    for name, seconds in (("a", 20.0), ("b", 7.0), ("c", 1.0)):
        it.upstream.apply_health(HealthChange("u", it[name].key, ejected_until=it.now + seconds))
    sicken(it, "c")
    assert it.pick() is None
    assert it.upstream.refusal(it.now) == ("upstream.unhealthy", 7.0)


def test_the_circuit_is_open(bench: Any) -> None:
    it = bench("a", passive=None, breaker=model.Breaker(consecutive_failures=1, open_for=10.0))
    it.end(it["a"], FAILED_RESET)
    assert it.pick() is None
    it.now += 4.0
    assert it.upstream.refusal(it.now) == ("upstream.circuit_open", 6.0)


def test_the_circuits_of_all_endpoints_are_open(bench: Any) -> None:
    spec = model.Breaker(scope="endpoint", consecutive_failures=1, open_for=10.0)
    it = bench("a", "b", passive=None, breaker=spec)
    it.end(it["a"], FAILED_RESET)
    assert it.names(2) == ["b", "b"]
    it.now += 3.0
    it.end(it["b"], FAILED_RESET)
    assert it.pick() is None
    assert it.upstream.refusal(it.now) == ("upstream.circuit_open", 7.0)


# --- description ------------------------------------------------------------------------------------------------------


def test_the_description_says_it_all_and_is_json(bench: Any) -> None:
    it = bench(bench.endpoint("a", zone="z", metadata={"v": "1"}), "b", breaker=model.Breaker(), panic_threshold=0.9)
    it.upstream.started(it["a"])
    it.upstream.apply_health(HealthChange("u", it["b"].key, healthy=False, ejected_until=it.now + 2))
    it.upstream.apply_breaker(BreakerChange("u", "", "open", it.now + 3))
    said = json.loads(json.dumps(it.upstream.describe(it.now)))
    a, b = said.pop("endpoints")
    assert said == {
        "name": "u",
        "balance": "round_robin",
        "panic": True,
        "breaker": {"state": "open", "retry_after": 3.0},
    }
    assert a == {
        "key": "http://a:80", "zone": "z", "weight": 1, "metadata": {"v": "1"}, "healthy": True, "ejected_for": 0.0,
        "usable": True, "in_flight": 1, "failures": 0, "latency": None, "breaker": None,
    }  # fmt: skip
    assert (b["healthy"], b["ejected_for"], b["usable"]) == (False, 2.0, True)
