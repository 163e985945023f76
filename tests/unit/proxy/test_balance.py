from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.ipc.messages import HealthChange
from gatewright.proxy.balance import BALANCERS, DECAY, Balancer, LowestLatency, observe_latency
from gatewright.proxy.endpoints import FAILED_CONNECT, OK, Endpoint, Upstream
from gatewright.snapshot import model


def weighted(bench: Any, algorithm: str, seed: int | None = None, **weights: int) -> Any:
    specs = [bench.endpoint(name, weight=weight) for name, weight in weights.items()]
    return bench(*specs, balance=model.Balance(algorithm), seed=seed)


def shares(it: Any, count: int) -> dict[str, float]:
    return {name: times / count for name, times in Counter(it.names(count)).items()}


def test_round_robin_takes_each_in_turn(bench: Any) -> None:
    assert bench("a", "b", "c").names(7) == list("abcabca")


def test_workers_begin_at_different_places(bench: Any) -> None:
    firsts = {bench("a", "b", "c", seed=seed).names(1)[0] for seed in range(20)}
    assert firsts == {"a", "b", "c"}


@pytest.mark.parametrize("algorithm", ["round_robin", "weighted"])
def test_weights_are_exact_over_a_round_and_interleaved(bench: Any, algorithm: str) -> None:
    it = weighted(bench, algorithm, seed=3, a=5, b=1, c=1)
    for _ in range(5):
        names = it.names(7)
        assert Counter(names) == {"a": 5, "b": 1, "c": 1}
    assert max(len(run) for run in "".join(it.names(70)).replace("c", "b").split("b")) <= 5


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 1000), st.integers(1, 3))
def test_any_weights_are_exact_over_a_round(weights: list[int], seed: int, rounds: int) -> None:
    specs = tuple(model.Endpoint(str(i), "h", 1, weight=weight) for i, weight in enumerate(weights))
    upstream = Upstream(model.Upstream("u", specs), [].append, Random(seed).random)
    picks = Counter(upstream.pick(None, 0.0).key for _ in range(sum(weights) * rounds))  # type: ignore[union-attr, arg-type]
    assert picks == {str(i): weight * rounds for i, weight in enumerate(weights)}


def test_least_connections_takes_the_least_loaded_for_its_weight(bench: Any) -> None:
    it = weighted(bench, "least_connections", a=1, b=2)
    it["a"].in_flight, it["b"].in_flight = 2, 3
    assert it.pick() is it["b"]
    it["b"].in_flight = 5
    assert it.pick() is it["a"]


def test_least_connections_takes_equals_in_weighted_turn(bench: Any) -> None:
    assert bench("a", "b", "c", balance=model.Balance("least_connections")).names(6) == list("abcabc")
    assert Counter(weighted(bench, "least_connections", a=3, b=1).names(8)) == {"a": 6, "b": 2}


def test_least_connections_keeps_the_load_level(bench: Any) -> None:
    it = bench(*"abcd", balance=model.Balance("least_connections"), seed=1)
    for _ in range(101):
        it.upstream.started(it.pick())
    flights = [endpoint.in_flight for endpoint in it.upstream.endpoints]
    assert max(flights) - min(flights) <= 1


def test_random_follows_the_weights(bench: Any) -> None:
    assert shares(weighted(bench, "random", seed=1, a=3, b=1), 4000)["a"] == pytest.approx(0.75, abs=0.03)
    assert shares(weighted(bench, "random", seed=1, a=1, b=1), 4000)["a"] == pytest.approx(0.5, abs=0.03)


def test_power_of_two_choices_is_nearly_level(bench: Any) -> None:
    it = bench(*"abcdefgh", balance=model.Balance("p2c"), seed=1)
    for _ in range(800):
        it.upstream.started(it.pick())
    flights = [endpoint.in_flight for endpoint in it.upstream.endpoints]
    assert max(flights) - min(flights) <= 6, "random alone would be about 40 apart"


def test_power_of_two_choices_never_takes_the_worst(bench: Any) -> None:
    it = bench(*"abc", balance=model.Balance("p2c"), seed=1)
    it["b"].in_flight = 9
    assert set(it.names(200)) == {"a", "c"}


def test_power_of_two_choices_with_one_endpoint(bench: Any) -> None:
    assert bench("a", balance=model.Balance("p2c")).names(2) == ["a", "a"]


def latency_bench(bench: Any, **seconds: float) -> Any:
    it = bench(*seconds, balance=model.Balance("ewma"), seed=1)
    for name, value in seconds.items():
        it.end(it[name], OK, value, times=20)
    return it


def test_ewma_prefers_the_fastest(bench: Any) -> None:
    it = latency_bench(bench, slow=0.2, fast=0.01, middle=0.05)
    assert it.names(50) == ["fast"] * 50


def test_ewma_with_one_endpoint(bench: Any) -> None:
    assert latency_bench(bench, only=0.1).names(2) == ["only", "only"]


def test_ewma_counts_what_is_in_flight(bench: Any) -> None:
    it = latency_bench(bench, slow=0.2, fast=0.1)
    it["fast"].in_flight = 3
    assert it.pick() is it["slow"]


def test_ewma_tries_a_slow_endpoint_again_after_some_time(bench: Any) -> None:
    it = latency_bench(bench, slow=0.2, fast=0.1)
    assert it.pick() is it["fast"]
    it.now += 2 * DECAY
    it.end(it["fast"], OK, 0.1)
    assert it.pick() is it["slow"]


def test_ewma_sends_one_request_to_the_unknown_and_waits_for_its_answer(bench: Any) -> None:
    it = latency_bench(bench, fast=0.01)
    it.upstream.update(bench.spec("fast", "new", balance=model.Balance("ewma")))
    assert it.pick() is it["new"]
    it.upstream.started(it["new"])
    assert it.names(20) == ["fast"] * 20


def test_ewma_does_not_run_to_an_endpoint_that_refuses_at_once(bench: Any) -> None:
    it = latency_bench(bench, good=0.2)
    it.upstream.update(bench.spec("good", "broken", balance=model.Balance("ewma")))
    it.end(it["broken"], FAILED_CONNECT, 0.0001)
    assert it.names(20) == ["good"] * 20


def test_ewma_looks_at_the_time_to_the_head_when_it_is_known(bench: Any) -> None:
    it = bench("a", "b", balance=model.Balance("ewma"))
    it.end(it["a"], OK, 3600.0, answered=0.01)
    assert it["a"].ewma == pytest.approx(0.01)


def test_ewma_compares_four_of_many(bench: Any) -> None:
    it = latency_bench(bench, **{f"e{i}": 0.01 * (i + 1) for i in range(8)})
    counts = Counter(it.names(400))
    assert max(counts, key=lambda name: counts[name]) == "e0"
    assert len(counts) > 1


def test_latency_rises_at_once_and_falls_slowly() -> None:
    endpoint = Endpoint(model.Endpoint("k", "h", 1))
    observe_latency(endpoint, 0.1, False, 0.0)
    observe_latency(endpoint, 0.5, False, 1.0)
    assert endpoint.ewma == 0.5
    observe_latency(endpoint, 0.1, False, 2.0)
    assert 0.4 < endpoint.ewma < 0.5
    values = []
    for second in range(3, 60):
        observe_latency(endpoint, 0.1, False, float(second))
        values.append(endpoint.ewma)
    assert all(later <= earlier for earlier, later in pairwise(values))
    assert values[-1] == pytest.approx(0.1, rel=0.05)


def test_an_instant_answer_is_not_unknown() -> None:
    endpoint = Endpoint(model.Endpoint("k", "h", 1))
    observe_latency(endpoint, 0.0, False, 0.0)
    assert 0.0 < LowestLatency(model.Balance("ewma"), float).cost(endpoint, 0.0) < 1e-5


@pytest.mark.parametrize(
    ("balance", "make"),
    [
        (model.Balance("hash", "header", "X-User"), lambda v: {"headers": {"x-user": v}}),
        (model.Balance("hash", "cookie", "sid"), lambda v: {"headers": {"cookie": f"a=b; sid={v}"}}),
        (model.Balance("hash", "query", "q"), lambda v: {"query": f"a=1&q={v}&q=other".encode()}),
    ],
)
def test_hash_sends_the_same_key_to_the_same_endpoint(bench: Any, balance: model.Balance, make: Any) -> None:
    it = bench(*"abcd", balance=balance)
    owners = {}
    for value in map(str, range(40)):
        (owners[value],) = set(it.names(3, **make(value)))
    assert set(owners.values()) == set("abcd")
    assert it.names(4) == list("abcd"), "a request without the key goes round"


def test_hash_by_address_and_path_parameter(bench: Any) -> None:
    it = bench(*"abcd", balance=model.Balance("hash", "address"))
    ex = bench.request()
    seen = set()
    for i in range(40):
        ex.client_addr = f"192.0.2.{i}"
        first = it.upstream.pick(ex, it.now)
        assert it.upstream.pick(ex, it.now) is first
        seen.add(first)
    assert len(seen) == 4
    it = bench(*"abcd", balance=model.Balance("hash", "param", "id"))
    ex.params = {b"id": b"42"}
    assert len({it.upstream.pick(ex, it.now) for _ in range(5)}) == 1


def test_hash_retries_where_the_key_would_go_next(bench: Any) -> None:
    it = bench(*"abcd", balance=model.Balance("hash", "header", "x"))
    for i in range(30):
        headers = {"x": str(i)}
        first = it.pick(headers)
        second = it.pick(headers, exclude=(first,))
        it.upstream.apply_health(_health(first, False))
        assert it.pick(headers) is second
        it.upstream.apply_health(_health(first, True))
    assert it.pick(exclude=(it["a"],)) is not it["a"]


def _health(endpoint: Endpoint, healthy: bool) -> HealthChange:
    return HealthChange("u", endpoint.key, healthy=healthy)


@pytest.mark.parametrize("algorithm", sorted(BALANCERS))
def test_every_algorithm_retries_elsewhere(bench: Any, algorithm: str) -> None:
    it = bench(*"abc", balance=model.Balance(algorithm, "header", "x"), seed=1)
    for _ in range(20):
        assert it.pick(headers={"x": "1"}, exclude=(it["a"], it["c"])) is it["b"]


def test_a_retry_takes_the_least_loaded_of_the_others(bench: Any) -> None:
    it = bench(*"abc", seed=1)
    it["b"].in_flight = 1
    assert {it.pick(exclude=(it["a"],)) for _ in range(10)} == {it["c"]}


def test_a_users_own_algorithm(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Last(Balancer):
        __slots__ = ()

        def pick(self, usable: tuple[Endpoint, ...], ex: Any, now: float) -> Endpoint:
            return usable[-1]

    monkeypatch.setitem(BALANCERS, "last", Last)
    assert bench(*"abc", balance=model.Balance("last")).names(2) == ["c", "c"]


def test_the_base_class_has_no_opinion(bench: Any) -> None:
    with pytest.raises(NotImplementedError):
        Balancer(model.Balance(), float).pick((), bench.request(), 0.0)
