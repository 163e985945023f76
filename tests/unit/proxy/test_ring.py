from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from gatewright.proxy.endpoints import Endpoint
from gatewright.proxy.ring import POINTS, Ring, stable_hash
from gatewright.snapshot import model

KEYS = [b"user-%d" % i for i in range(5000)]


def endpoints(count: int, weights: dict[int, int] | None = None) -> list[Endpoint]:
    return [
        Endpoint(
            model.Endpoint(key=f"http://10.0.0.{i}:80", host=f"10.0.0.{i}", port=80, weight=(weights or {}).get(i, 1))
        )
        for i in range(count)
    ]


def owners(usable: list[Endpoint], everybody: list[Endpoint] | None = None) -> dict[bytes, Endpoint]:
    ring = Ring()
    ring.build(usable, everybody or usable)
    return {key: ring.owner(key) for key in KEYS}


def test_keys_spread_evenly() -> None:
    counts = Counter(owner.key for owner in owners(endpoints(10)).values())
    assert len(counts) == 10
    assert 0.7 * 500 < min(counts.values()) <= max(counts.values()) < 1.35 * 500


def test_weights_are_honoured() -> None:
    counts = Counter(owner.key for owner in owners(endpoints(2, {0: 3})).values())
    assert 0.68 < counts["http://10.0.0.0:80"] / len(KEYS) < 0.82


@pytest.mark.parametrize("gone", [0, 3, 7])
def test_when_an_endpoint_goes_only_its_keys_move(gone: int) -> None:
    everybody = endpoints(8)
    before = owners(everybody)
    left = [endpoint for endpoint in everybody if endpoint is not everybody[gone]]
    after = owners(left, everybody)
    moved = {key for key in KEYS if before[key] is not after[key]}
    assert moved == {key for key in KEYS if before[key] is everybody[gone]}
    assert len({after[key] for key in moved}) == 7, "all others share them"


def test_when_an_endpoint_comes_it_takes_its_share_and_nothing_else_moves() -> None:
    everybody = endpoints(9)
    before = owners(everybody[:8])
    after = owners(everybody)
    moved = [key for key in KEYS if before[key] is not after[key]]
    assert all(after[key] is everybody[8] for key in moved)
    assert len(moved) / len(KEYS) < 1.4 / 9


def test_a_light_endpoint_keeps_at_least_one_point() -> None:
    ring = Ring()
    everybody = endpoints(2, {0: 100_000})
    ring.build(everybody, everybody)
    assert len(ring._points) == POINTS + 1


def test_the_order_of_the_endpoints_does_not_matter() -> None:
    everybody = endpoints(5)
    assert owners(everybody) == owners(everybody[::-1])


def test_the_successor_is_the_owner_without_the_ones_before() -> None:
    everybody = endpoints(4)
    ring = Ring()
    ring.build(everybody, everybody)
    for key in KEYS[:200]:
        others = [endpoint for endpoint in everybody if endpoint is not ring.owner(key)]
        smaller = Ring()
        smaller.build(others, everybody)
        assert ring.successor(key, others) is smaller.owner(key)
    assert ring.successor(b"x", ()) is None


def test_places_do_not_depend_on_the_process() -> None:
    script = "from gatewright.proxy.ring import stable_hash; print(stable_hash(b'user-1'), hash('user-1'))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 2, "the interpreter's own hash does differ"
    assert {output.split()[0] for output in outputs} == {str(stable_hash(b"user-1"))}
    assert stable_hash(b"user-1") == 4_186_229_313, "changing it moves everybody's keys"


def test_similar_keys_lie_far_apart() -> None:
    places = sorted(stable_hash(key) for key in KEYS)
    halves = Counter(place >> 28 for place in places)
    assert len(halves) == 16
    assert max(halves.values()) < 1.3 * len(KEYS) / 16
