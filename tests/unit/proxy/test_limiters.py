"""The four algorithms, on a clock that stands still."""

from __future__ import annotations

import random

import pytest

from gatewright.clock import ManualClock
from gatewright.proxy.limiters import ALGORITHMS, make_limiter
from gatewright.proxy.shared import SharedTable


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now=1000.0)


def limiter(clock: ManualClock, algorithm: str, limit: float = 10, window: float = 1.0, burst: float = 10):  # type: ignore[no-untyped-def]
    return make_limiter(SharedTable.private(), clock, algorithm, "x", limit, window, burst)


def test_an_unknown_algorithm_is_refused(clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="leaky"):
        limiter(clock, "leaky")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_grants_up_to_the_limit_then_refuses(clock: ManualClock, algorithm: str) -> None:
    made = limiter(clock, algorithm)
    assert [made.take(b"k") for _ in range(10)] == [0.0] * 10
    assert made.left == 0.0
    assert made.take(b"k") > 0.0
    assert made.remaining(b"k") == 0.0
    assert made.take(b"other") == 0.0
    assert made.left == 9.0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_gives_back(clock: ManualClock, algorithm: str) -> None:
    made = limiter(clock, algorithm)
    for _ in range(10):
        made.take(b"k")
    made.give_back(b"k", 2)
    assert made.remaining(b"k") == pytest.approx(2.0)
    assert [made.take(b"k") for _ in range(2)] == [0.0, 0.0]
    assert made.take(b"k") > 0.0


@pytest.mark.parametrize("algorithm", ["token_bucket", "sliding_window", "fixed_window"])
def test_the_wait_it_tells_is_enough_and_not_much_too_long(clock: ManualClock, algorithm: str) -> None:
    made = limiter(clock, algorithm)
    clock.advance(0.3)
    choose = random.Random(7)
    for _ in range(300):
        cost = choose.choice((1.0, 2.0, 3.0))
        wait = made.take(b"k", cost)
        if wait:
            clock.advance(wait * 0.9)
            if algorithm != "fixed_window":
                assert made.take(b"k", cost) > 0.0
            clock.advance(wait * 0.1 + 1e-6)
            assert made.take(b"k", cost) == 0.0
        clock.advance(choose.random() * 0.05)


@pytest.mark.parametrize("algorithm", ["token_bucket", "sliding_window", "fixed_window"])
def test_never_more_than_the_limit_allows(clock: ManualClock, algorithm: str) -> None:
    """Over any span of windows: limit per window, plus one burst or the window that was cut."""
    made = limiter(clock, algorithm)
    choose, granted = random.Random(3), 0
    for _ in range(5000):
        granted += made.take(b"k") == 0.0
        clock.advance(choose.random() * 0.004)
    spent = clock.now - 1000.0
    assert 10 * spent * 0.9 <= granted <= 10 * spent + 11


def test_token_bucket_refills_and_no_higher_than_the_burst(clock: ManualClock) -> None:
    made = limiter(clock, "token_bucket", limit=2, burst=4)
    for _ in range(4):
        made.take(b"k")
    assert made.reset_after(b"k") == 2.0
    clock.advance(0.5)
    assert made.remaining(b"k") == 1.0
    clock.advance(1000.0)
    assert made.remaining(b"k") == 4.0
    assert made.reset_after(b"k") == 0.0


def test_a_cost_may_be_corrected_beyond_the_burst(clock: ManualClock) -> None:
    made = limiter(clock, "token_bucket")
    made.take(b"k")
    made.give_back(b"k", -19.0)  # it had cost 20 after all
    assert made.remaining(b"k") == 0.0
    assert made.take(b"k") == pytest.approx(1.1)


def test_sliding_window_counts_the_share_that_overlaps(clock: ManualClock) -> None:
    made = limiter(clock, "sliding_window")
    for _ in range(10):
        made.take(b"k")
    clock.advance(1.5)  # half of the previous window is still inside
    assert made.remaining(b"k") == pytest.approx(5.0)


def test_fixed_window_starts_afresh_at_once(clock: ManualClock) -> None:
    made = limiter(clock, "fixed_window", window=60.0)
    clock.advance(10.0)  # 1010 s; windows begin at multiples of 60
    for _ in range(10):
        made.take(b"k")
    assert made.take(b"k") == pytest.approx(10.0)
    clock.advance(10.0)
    assert made.remaining(b"k") == 10.0


def test_concurrency_never_gives_back_more_than_was_taken(clock: ManualClock) -> None:
    made = limiter(clock, "concurrency", limit=1)
    made.give_back(b"k")
    assert made.take(b"k") == 0.0
    assert made.take(b"k") == 1.0
    made.give_back(b"k")
    made.give_back(b"k")
    assert made.take(b"k") == 0.0
    assert made.take(b"k") == 1.0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_same_name_shares_its_counters_and_a_changed_limit_does_not(clock: ManualClock, algorithm: str) -> None:
    table = SharedTable.private()
    old = make_limiter(table, clock, algorithm, "x", 10, 1.0, 10)
    old.take(b"k", 10.0)
    assert make_limiter(table, clock, algorithm, "x", 10, 1.0, 10).take(b"k") > 0.0
    assert make_limiter(table, clock, algorithm, "x", 11, 1.0, 11).take(b"k") == 0.0
    assert make_limiter(table, clock, algorithm, "y", 10, 1.0, 10).take(b"k") == 0.0


def test_many_keys_do_not_grow_a_worker(clock: ManualClock) -> None:
    made = limiter(clock, "token_bucket")
    for n in range(20_000):
        made.take(b"%d" % n)
    assert len(made._entries) <= 8192
