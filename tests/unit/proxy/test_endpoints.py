from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gatewright.ipc.messages import BreakerChange, HealthChange
from gatewright.proxy.endpoints import (
    CANCELLED,
    FAILED_CONNECT,
    FAILED_RESET,
    FAILED_STATUS,
    FAILED_TIMEOUT,
    OK,
    RETIRED,
    Endpoint,
    Upstream,
)
from gatewright.snapshot import model

FAILURES = (FAILED_CONNECT, FAILED_RESET, FAILED_TIMEOUT, FAILED_STATUS)
PASSIVE = model.PassiveHealth(consecutive_failures=3, eject_for=30.0)


# --- picking ----------------------------------------------------------------------------------------------------------


def test_an_only_endpoint_is_retried_when_there_is_no_other(bench: Any) -> None:
    it = bench("a")
    assert it.pick(exclude=(it["a"],)) is it["a"]


def test_the_usual_pick_looks_at_no_state(bench: Any) -> None:
    it = bench("a", "b")
    it.names(2)
    it["a"].healthy = False  # behind its back: what changes a state says so
    assert it.names(2) == ["a", "b"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("preserve", b"client:1"), ("upstream", b"name.internal:8080"), ("fixed.example", b"fixed.example")],
)
def test_host_for(bench: Any, host: str, expected: bytes) -> None:
    it = bench(bench.endpoint("a", name="name.internal:8080"), host=host)
    assert it.upstream.host_for(it["a"], b"client:1") == expected


def test_an_endpoint_without_a_name_is_its_address(bench: Any) -> None:
    it = bench("127.0.0.1", host="upstream")
    assert it.upstream.host_for(it["127.0.0.1"], b"client") == b"127.0.0.1:80"


# --- active health and panic ------------------------------------------------------------------------------------------


def test_what_the_checks_say_is_obeyed_and_not_echoed(bench: Any) -> None:
    it = bench("a", "b")
    it.upstream.apply_health(HealthChange("u", it["a"].key, healthy=False))
    assert it.names(3) == ["b", "b", "b"]
    it.upstream.apply_health(HealthChange("u", it["a"].key, healthy=True))
    assert set(it.names(4)) == {"a", "b"}
    assert it.told == []


def test_changes_of_unknown_endpoints_are_ignored(bench: Any) -> None:
    it = bench("a")
    it.upstream.apply_health(HealthChange("u", "http://gone:80", healthy=False, ejected_until=1e9))
    it.upstream.apply_breaker(BreakerChange("u", "http://gone:80", "open", 1e9))
    it.upstream.apply_breaker(BreakerChange("u", "", "open", 1e9))
    assert it.pick() is it["a"]


def test_too_few_healthy_endpoints_are_a_panic(bench: Any) -> None:
    it = bench(*"abcd", panic_threshold=0.5)
    for name in "ab":
        it.upstream.apply_health(HealthChange("u", it[name].key, healthy=False))
    assert set(it.names(8)) == {"c", "d"}
    assert not it.upstream.panic
    it.upstream.apply_health(HealthChange("u", it["c"].key, healthy=False))
    assert set(it.names(8)) == set("abcd")
    assert it.upstream.panic
    it.upstream.apply_health(HealthChange("u", it["a"].key, healthy=True))
    assert set(it.names(8)) == {"a", "d"}


def test_a_single_sick_endpoint_is_still_tried(bench: Any) -> None:
    it = bench("a")
    it.upstream.apply_health(HealthChange("u", it["a"].key, healthy=False))
    assert it.pick() is it["a"]


# --- passive health ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", FAILURES)
def test_failures_in_a_row_eject_and_the_others_are_told(bench: Any, outcome: int) -> None:
    it = bench("a", "b", passive=PASSIVE)
    it.end(it["a"], outcome, times=2)
    assert set(it.names(4)) == {"a", "b"}
    it.end(it["a"], outcome)
    assert it.names(4) == ["b"] * 4
    assert it.told == [HealthChange("u", "http://a:80", ejected_until=it.now + 30.0)]


def test_success_and_cancellation(bench: Any) -> None:
    it = bench("a", "b", passive=PASSIVE)
    for _ in range(3):
        it.end(it["a"], FAILED_RESET, times=2)
        it.end(it["a"], OK)
    it.end(it["a"], CANCELLED, times=10)
    it.end(it["a"], FAILED_RESET, times=2)
    assert it.told == []
    it.end(it["a"], CANCELLED)
    it.end(it["a"], FAILED_RESET)
    assert len(it.told) == 1, "a cancellation does not end the row"


def test_an_ejected_endpoint_returns_and_the_next_time_is_longer(bench: Any) -> None:
    it = bench("a", "b", passive=PASSIVE)
    it.end(it["a"], FAILED_RESET, times=3)
    it.now += 29.9
    assert it.names(2) == ["b", "b"]
    it.now += 0.1
    assert set(it.names(2)) == {"a", "b"}
    assert it.told[-1] == HealthChange("u", "http://a:80", ejected_until=0.0)
    it.end(it["a"], FAILED_RESET, times=3)
    assert it.told[-1] == HealthChange("u", "http://a:80", ejected_until=it.now + 60.0)


def test_failures_of_an_ejected_endpoint_do_not_prolong_it(bench: Any) -> None:
    it = bench("a", "b", passive=PASSIVE)
    it.end(it["a"], FAILED_RESET, times=20)
    assert len(it.told) == 1


def test_an_only_endpoint_is_never_ejected(bench: Any) -> None:
    it = bench("a", passive=PASSIVE)
    it.end(it["a"], FAILED_RESET, times=50)
    assert it.told == []
    assert it.pick() is it["a"]


def test_the_cap(bench: Any) -> None:
    it = bench(*"abcd", passive=PASSIVE)
    for name in "abc":
        it.end(it[name], FAILED_RESET, times=10)
    assert [change.endpoint for change in it.told] == ["http://a:80", "http://b:80"]
    it.now += 31.0
    it.pick()
    it.end(it["c"], FAILED_RESET)
    assert it.told[-1].endpoint == "http://c:80", "there is room again, and its failures were not forgotten"


def test_another_workers_ejection_is_honoured_and_its_end_is_not_told(bench: Any) -> None:
    it = bench("a", "b", passive=PASSIVE)
    it.upstream.apply_health(HealthChange("u", it["a"].key, ejected_until=it.now + 5))
    assert it.names(2) == ["b", "b"]
    it.now += 5
    assert set(it.names(2)) == {"a", "b"}
    assert it.told == []


def test_an_ejection_can_be_ended_from_outside(bench: Any) -> None:
    it = bench("a", "b", passive=PASSIVE)
    it.end(it["a"], FAILED_RESET, times=3)
    it.upstream.apply_health(HealthChange("u", it["a"].key, ejected_until=0.0))
    assert set(it.names(2)) == {"a", "b"}
    assert len(it.told) == 1


def test_passive_health_can_be_off(bench: Any) -> None:
    it = bench("a", "b", passive=None)
    it.end(it["a"], FAILED_RESET, times=100)
    assert set(it.names(2)) == {"a", "b"}


def test_the_failure_rate_ejects(bench: Any) -> None:
    rules = model.PassiveHealth(consecutive_failures=1000, failure_rate=0.4, min_requests=10)
    it = bench("a", "b", passive=rules)
    for _ in range(3):
        it.end(it["a"], OK, times=2)
        it.end(it["a"], FAILED_STATUS)
    assert it.told == []
    it.end(it["a"], FAILED_STATUS)
    assert [change.endpoint for change in it.told] == ["http://a:80"]


# --- breakers ---------------------------------------------------------------------------------------------------------

BREAKER = model.Breaker(consecutive_failures=3, failure_rate=None, open_for=10.0, half_open_requests=1)


def states(it: Any) -> list[tuple[str, str]]:
    return [(change.endpoint, change.state) for change in it.told]


def test_the_breaker_of_the_upstream(bench: Any) -> None:
    it = bench("a", "b", passive=None, breaker=BREAKER)
    for name in "aba":
        it.end(it[name], FAILED_RESET)
    assert it.told == [BreakerChange("u", "", "open", it.now + 10.0)]
    assert it.pick() is None
    it.now += 10.0
    trial = it.pick()
    it.upstream.started(trial)
    assert it.pick() is None, "one trial at a time"
    it.upstream.finished(trial, OK, 0.0, it.now)
    assert it.pick() is not None
    assert states(it) == [("", "open"), ("", "half_open"), ("", "closed")]


def test_successes_count_for_the_rate_of_the_breaker(bench: Any) -> None:
    rules = model.Breaker(consecutive_failures=None, failure_rate=0.5, min_requests=10)
    it = bench("a", passive=None, breaker=rules)
    it.end(it["a"], OK, times=9)
    it.end(it["a"], FAILED_STATUS, times=8)
    assert it.told == []
    it.end(it["a"], FAILED_STATUS)
    assert states(it) == [("", "open")]


def test_a_cancelled_trial_makes_room(bench: Any) -> None:
    it = bench("a", passive=None, breaker=BREAKER)
    it.end(it["a"], FAILED_RESET, times=3)
    it.now += 10.0
    trial = it.pick()
    it.upstream.started(trial)
    it.upstream.finished(trial, CANCELLED, 0.0, it.now)
    assert it.pick() is trial


def test_breakers_of_endpoints(bench: Any) -> None:
    it = bench("a", "b", passive=None, breaker=model.Breaker(**{**_fields(BREAKER), "scope": "endpoint"}))
    it.end(it["a"], FAILED_RESET, times=3)
    assert it.names(3) == ["b", "b", "b"]
    it.now += 10.0
    assert set(it.names(2)) == {"a", "b"}
    it.upstream.started(it["a"])
    assert it.names(3) == ["b", "b", "b"]
    it.upstream.finished(it["a"], FAILED_RESET, 0.0, it.now)
    assert it.names(3) == ["b", "b", "b"]
    it.now += 10.0
    it.pick()
    it.end(it["a"], seconds=0.0)
    assert set(it.names(2)) == {"a", "b"}
    assert [state for _, state in states(it)] == ["open", "half_open", "open", "half_open", "closed"]
    assert {key for key, _ in states(it)} == {"http://a:80"}


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def test_a_panic_does_not_override_a_breaker(bench: Any) -> None:
    it = bench("a", "b", passive=None, breaker=model.Breaker(**{**_fields(BREAKER), "scope": "endpoint"}))
    it.end(it["a"], FAILED_RESET, times=3)
    for name in "ab":
        it.upstream.apply_health(HealthChange("u", it[name].key, healthy=False))
    assert it.names(3) == ["b", "b", "b"]


def test_another_workers_breaker_is_taken_over(bench: Any) -> None:
    it = bench("a", passive=None, breaker=BREAKER)
    it.upstream.apply_breaker(BreakerChange("u", "", "open", it.now + 5.0))
    assert it.pick() is None
    it.upstream.apply_breaker(BreakerChange("u", "", "half_open"))
    assert it.pick() is None
    it.upstream.apply_breaker(BreakerChange("u", "", "closed"))
    assert it.pick() is it["a"]
    assert it.told == []


# --- retries ----------------------------------------------------------------------------------------------------------


def test_a_retry_needs_the_policy_and_the_budget(bench: Any) -> None:
    upstream = bench("a", retries=model.Retries(budget=0.0)).upstream
    case = (upstream.retries, b"GET", "connect", 1, True, True)
    assert not upstream.may_retry(upstream.retries, b"POST", "connect", 1, True, True, 0.0)
    assert upstream.budget.window.marked == 0, "a refusal takes nothing"
    assert sum(upstream.may_retry(*case, 0.0) for _ in range(100)) == 30
    assert upstream.may_retry(*case, 20.0)


# --- changes of the configuration -------------------------------------------------------------------------------------


def test_endpoints_that_stay_keep_their_state(bench: Any) -> None:
    it = bench("a", "b", passive=PASSIVE)
    a, b = it["a"], it["b"]
    it.end(a, FAILED_RESET, times=3)
    it.upstream.started(b)
    gone = it.upstream.update(bench.spec("a", "c", passive=PASSIVE))
    assert gone == (b,)
    assert b.generation == RETIRED
    assert it["a"] is a
    assert it["c"].generation == a.generation == it.upstream.generation == 2
    assert it.names(2) == ["c", "c"], "a is still ejected"
    it.upstream.finished(b, FAILED_RESET, 1.0, it.now)
    assert b.in_flight == 0
    assert len(it.told) == 1, "what becomes of retired endpoints is nobody's concern"


def test_new_settings_take_effect(bench: Any) -> None:
    it = bench("a", "b")
    it.names(1)
    specs = [bench.endpoint("a", weight=0, zone="z", name="n"), "b"]
    it.upstream.update(bench.spec(*specs, host="upstream", balance=model.Balance("random"), sticky=model.Sticky("s")))
    assert it.names(2) == ["b", "b"]
    assert it.upstream.host_for(it["a"], b"") == b"n"
    assert it["a"].zone == "z"
    assert it["a"].id


def test_parts_that_do_not_change_keep_their_counts(bench: Any) -> None:
    it = bench("a", "b", breaker=BREAKER, passive=PASSIVE)
    it.end(it["a"], FAILED_RESET, times=2)
    upstream = it.upstream
    parts = (upstream.balancer, upstream.breaker, upstream.retries, upstream.budget)
    upstream.update(bench.spec("a", "b", "c", breaker=BREAKER, passive=PASSIVE))
    assert (upstream.balancer, upstream.breaker, upstream.retries, upstream.budget) == parts
    it.end(it["a"], FAILED_RESET)
    assert states_of(it.told) == {"BreakerChange", "HealthChange"}


def states_of(told: list[Any]) -> set[str]:
    return {type(change).__name__ for change in told}


def test_switching_health_and_breakers_off_forgets_their_verdicts(bench: Any) -> None:
    it = bench("a", "b", breaker=BREAKER, passive=PASSIVE)
    it.end(it["a"], FAILED_RESET, times=3)
    assert it.pick() is None
    it.upstream.update(bench.spec("a", "b", passive=None))
    assert set(it.names(2)) == {"a", "b"}
    it.upstream.update(bench.spec("a", "b", breaker=model.Breaker(scope="endpoint"), retries=model.Retries(attempts=7)))
    assert it["a"].breaker is not it["b"].breaker
    assert it.upstream.retries.attempts == 7


def test_an_endpoint_in_a_repr_is_its_key(bench: Any) -> None:
    assert repr(bench("a")["a"]) == "<Endpoint http://a:80>"


# --- everything in any order ------------------------------------------------------------------------------------------


class UpstreamMachine(RuleBasedStateMachine):
    """Requests, failures, checks, changes and time in any order; the rules hold all along."""

    NAMES = tuple("abcdef")

    @initialize(
        algorithm=st.sampled_from(["round_robin", "least_connections", "p2c", "random", "ewma", "hash"]),
        weights=st.lists(st.integers(0, 5), min_size=6, max_size=6),
        scope=st.sampled_from([None, "upstream", "endpoint"]),
        panic=st.sampled_from([0.0, 0.3, 0.5]),
        zone=st.sampled_from(["", "z0"]),
        slow_start=st.sampled_from([None, 20.0]),
        seed=st.integers(0, 100),
    )
    def start(
        self,
        algorithm: str,
        weights: list[int],
        scope: str | None,
        panic: float,
        zone: str,
        slow_start: float | None,
        seed: int,
    ) -> None:
        self.now = 100.0
        self.weights = dict(zip(self.NAMES, weights, strict=True))
        self.settings: dict[str, Any] = {
            "balance": model.Balance(algorithm, "address"),
            "passive": model.PassiveHealth(consecutive_failures=2, eject_for=5.0, max_eject_for=20.0, max_ejected=0.5),
            "breaker": scope and model.Breaker(scope=scope, consecutive_failures=4, failure_rate=None, open_for=3.0),
            "panic_threshold": panic,
            "zone": zone,
            "slow_start": slow_start,
        }
        self.told: list[HealthChange | BreakerChange] = []
        self.upstream = Upstream(self.spec(self.NAMES), self.tell, Random(seed).random)
        self.flying: list[tuple[Endpoint, float]] = []
        self.count = len(self.NAMES)

    def spec(self, names: tuple[str, ...] | list[str]) -> model.Upstream:
        endpoints = tuple(
            model.Endpoint(n, n, 80, weight=self.weights[n], zone=f"z{ord(n) % 2}") for n in dict.fromkeys(names)
        )
        return model.Upstream("u", endpoints, **self.settings)

    def tell(self, change: HealthChange | BreakerChange) -> None:
        if isinstance(change, HealthChange) and change.ejected_until:
            out = sum(endpoint.ejected_until > self.now for endpoint in self.upstream.endpoints)
            assert len(self.upstream.endpoints) > 1
            assert out <= max(1, len(self.upstream.endpoints) // 2)
            assert self.now < change.ejected_until <= self.now + 20.0

    def sound(self) -> list[Endpoint]:
        return [e for e in self.upstream.endpoints if e.healthy and e.ejected_until <= self.now]

    @rule(retry=st.booleans(), start=st.booleans(), address=st.integers(0, 50))
    def pick(self, retry: bool, start: bool, address: int) -> None:
        exclude = tuple(endpoint for endpoint, _ in self.flying[-2:]) if retry else ()
        ex = type("Ex", (), {"client_addr": str(address)})()
        endpoint = self.upstream.pick(ex, self.now, exclude)
        sound = self.sound()
        everybody = self.upstream.endpoints
        if endpoint is None:
            reason, after = self.upstream.refusal(self.now)
            assert reason in {"upstream.none", "upstream.unhealthy", "upstream.circuit_open"}
            assert 0.0 <= after <= 20.0
            if self.settings["breaker"] is None and self.settings["panic_threshold"]:
                assert not [e for e in everybody if e.weight] or not [e for e in sound if e.weight]
            return
        assert endpoint in everybody
        assert endpoint.weight > 0
        if len(sound) >= self.settings["panic_threshold"] * len(everybody):
            assert endpoint in sound
        breaker = self.upstream.breaker or endpoint.breaker
        if breaker is not None:
            assert breaker.admits(self.now)
        if endpoint in exclude:
            assert all(other in exclude for other in self.upstream.usable)
        if start:
            self.upstream.started(endpoint)
            self.flying.append((endpoint, self.now))

    @precondition(lambda self: self.flying)
    @rule(outcome=st.sampled_from([OK, OK, *FAILURES, CANCELLED]), which=st.integers(0, 1000), known=st.booleans())
    def finish(self, outcome: int, which: int, known: bool) -> None:
        endpoint, began = self.flying.pop(which % len(self.flying))
        self.upstream.finished(endpoint, outcome, self.now - began if known else -1.0, self.now)

    @rule(seconds=st.floats(0.0, 7.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        name=st.sampled_from(NAMES),
        healthy=st.sampled_from([None, True, False]),
        until=st.sampled_from([None, 0.0, 4.0]),
    )
    def check(self, name: str, healthy: bool | None, until: float | None) -> None:
        if until:
            until += self.now
        self.upstream.apply_health(HealthChange("u", name, healthy, until))

    @rule(state=st.sampled_from(["open", "closed", "half_open"]), name=st.sampled_from(["", *NAMES]))
    def others_breaker(self, state: str, name: str) -> None:
        self.upstream.apply_breaker(BreakerChange("u", name, state, self.now + 2.0))

    @rule(names=st.lists(st.sampled_from(NAMES), max_size=6))
    def change(self, names: list[str]) -> None:
        before = {endpoint.key: endpoint for endpoint in self.upstream.endpoints}
        gone = self.upstream.update(self.spec(names))
        assert {endpoint.key for endpoint in gone} == before.keys() - set(names)
        for key in before.keys() & set(names):
            assert self.upstream.by_key[key] is before[key]

    @invariant()
    def what_is_in_flight_is_counted(self) -> None:
        if hasattr(self, "upstream"):
            for endpoint in {*self.upstream.endpoints, *(endpoint for endpoint, _ in self.flying)}:
                assert endpoint.in_flight == sum(other is endpoint for other, _ in self.flying)

    @invariant()
    def the_description_can_be_made(self) -> None:
        if hasattr(self, "upstream"):
            assert len(self.upstream.describe(self.now)["endpoints"]) == len(self.upstream.endpoints)


UpstreamMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestUpstreamMachine = UpstreamMachine.TestCase
