"""The shared table itself: slots, claims, evictions, other processes."""

from __future__ import annotations

import mmap
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from gatewright.clock import ManualClock, SystemClock
from gatewright.proxy.limiters import make_limiter
from gatewright.proxy.shared import NEIGHBOURHOOD, SharedTable, shared_size

KEYS = 256


class Segment:
    """Shared memory as the supervisor makes it."""

    def __init__(self, columns: int, keys: int = KEYS) -> None:
        self.fd = os.memfd_create("gatewright-test")
        self.columns, self.keys = columns, keys
        os.ftruncate(self.fd, shared_size(columns, keys))
        self.view = memoryview(mmap.mmap(self.fd, shared_size(columns, keys)))

    def table(self, column: int) -> SharedTable:
        return SharedTable(self.view, self.fd, column, self.columns, self.keys)


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment(2)
    yield made
    os.close(made.fd)


def fork(work: Callable[[], None]) -> int:
    """Run ``work`` in a child; its failure is the exit status 1."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def test_two_workers_see_the_same_counts(segment: Segment) -> None:
    clock = ManualClock()
    one, two = (make_limiter(segment.table(i), clock, "token_bucket", "x", 10, 1.0, 10) for i in (0, 1))
    assert [limiter.take(b"k") for limiter in (one, two) * 5] == [0.0] * 10
    assert one.take(b"k") == pytest.approx(0.1)
    assert two.take(b"k") == pytest.approx(0.1)
    assert one.take(b"other") == 0.0


def test_a_segment_of_other_numbers_is_refused(segment: Segment) -> None:
    segment.table(0)
    with pytest.raises(ValueError, match="other numbers"):
        SharedTable(segment.view, segment.fd, 0, 1, KEYS)


def test_a_segment_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes"):
        SharedTable(memoryview(bytearray(100)), None, 0, 1, KEYS)
    with pytest.raises(ValueError, match="column"):
        SharedTable(memoryview(bytearray(shared_size(1, KEYS))), None, 1, 1, KEYS)


def test_marks_depend_on_the_secret_of_the_segment(segment: Segment) -> None:
    here, there = segment.table(0), segment.table(1)
    assert here.seed("x").digest() == there.seed("x").digest()
    assert here.seed("x").digest() != here.seed("y").digest()
    assert here.seed("x").digest() != Segment(2).table(0).seed("x").digest()


def test_a_full_table_gives_up_the_key_that_is_forgotten_soonest() -> None:
    clock = ManualClock()
    table = SharedTable.private(NEIGHBOURHOOD)  # every key may live in every slot
    evicted: list[int] = []
    table.evicted = lambda: evicted.append(1)
    limiter = make_limiter(table, clock, "token_bucket", "x", 1, 1.0, 100)
    for n in range(NEIGHBOURHOOD):
        limiter.take(b"%d" % n, 10.0 + n)
    assert not evicted
    limiter.take(b"new", 50.0)
    assert evicted == [1]
    assert limiter.remaining(b"1") == 89.0  # still there
    assert limiter.remaining(b"new") == 50.0
    assert limiter.remaining(b"0") == 100.0  # was given up, starts afresh


def test_an_expired_slot_is_reused_and_its_old_counts_mean_nothing() -> None:
    clock = ManualClock()
    table = SharedTable.private(NEIGHBOURHOOD)
    evicted: list[int] = []
    table.evicted = lambda: evicted.append(1)
    for algorithm in ("token_bucket", "fixed_window", "sliding_window"):
        limiter = make_limiter(table, clock, algorithm, "x", 5, 1.0, 5)
        for n in range(5 * NEIGHBOURHOOD):
            key = b"%s %d" % (algorithm.encode(), n)
            assert [limiter.take(key) for _ in range(5)] == [0.0] * 5, (algorithm, n)
            assert limiter.take(key) > 0.0
            clock.advance(3.0)
    assert not evicted


@pytest.mark.parametrize("algorithm", ["token_bucket", "fixed_window", "sliding_window"])
def test_a_worker_notices_that_its_slot_was_given_away(algorithm: str) -> None:
    segment = Segment(2, NEIGHBOURHOOD)
    clock = ManualClock()
    one, two = (make_limiter(segment.table(i), clock, algorithm, "x", 5, 1.0, 5) for i in (0, 1))
    for _ in range(5):
        assert one.take(b"mine") == 0.0
    clock.advance(10.0)
    for n in range(NEIGHBOURHOOD):
        two.take(b"%d" % n, 4.0)
    assert one.take(b"mine", 5.0) == 0.0  # takes a slot back, with a full allowance
    assert one.take(b"mine") > 0.0


def hammer(segment: Segment, column: int, algorithm: str, limit: float, seconds: float, out: memoryview) -> None:
    limiter = make_limiter(segment.table(column), SystemClock(), algorithm, "hot", limit, 1.0, limit / 10)
    end = time.monotonic() + seconds
    granted = 0
    while time.monotonic() < end:
        if limiter.take(b"key") == 0.0:
            granted += 1
    out[column] = granted


@pytest.mark.processes
@pytest.mark.parametrize("algorithm", ["token_bucket", "fixed_window", "sliding_window"])
def test_exact_across_processes_under_saturation(segment: Segment, algorithm: str) -> None:
    """Within 2 % of what one limiter would have granted."""
    limit = 5000.0
    out = memoryview(mmap.mmap(-1, 16)).cast("q")
    segment.table(0)
    start = time.monotonic()
    pids = [fork(lambda c=c: hammer(segment, c, algorithm, limit, 1.5, out)) for c in (0, 1)]  # type: ignore[misc]
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
    elapsed = time.monotonic() - start
    total = out[0] + out[1]
    if algorithm == "token_bucket":
        assert total <= (elapsed * limit + limit / 10) * 1.02
        assert total >= 1.4 * limit  # and it did grant
    else:  # every window that was touched grants its limit once
        windows = int(start + elapsed) - int(start) + 1
        assert total <= windows * limit * 1.02
        assert total >= limit


@pytest.mark.processes
def test_a_killed_worker_leaves_the_table_usable(segment: Segment) -> None:
    """Kill one in the middle of claiming and counting, many times."""
    clock = SystemClock()

    def claim_for_ever() -> None:
        limiter = make_limiter(segment.table(1), clock, "token_bucket", "x", 1000, 1.0, 1000)
        n = 0
        while True:
            n += 1
            limiter.take(b"%d" % (n % (4 * KEYS)))

    mine = make_limiter(segment.table(0), clock, "token_bucket", "x", 1000, 1.0, 1000)
    for round_number in range(10):
        pid = fork(claim_for_ever)
        deadline = time.monotonic() + 0.02
        while time.monotonic() < deadline:
            mine.take(b"%d" % round_number)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        fresh = b"fresh %d" % round_number
        assert mine.take(fresh, 1000.0) == 0.0  # the lock is free, the slot is clean
        assert 0.0 < mine.take(fresh, 100.0) <= 0.1


@pytest.mark.processes
def test_what_a_killed_worker_held_is_released_with_its_successor(segment: Segment) -> None:
    clock = ManualClock()
    mine = make_limiter(segment.table(0), clock, "concurrency", "x", 3, 1.0, 3)
    read, write = os.pipe()

    def hold() -> None:
        limiter = make_limiter(segment.table(1), clock, "concurrency", "x", 3, 1.0, 3)
        limiter.take(b"k")
        limiter.take(b"k")
        os.write(write, b"!")
        signal.pause()

    pid = fork(hold)
    assert os.read(read, 1) == b"!"
    assert [mine.take(b"k") for _ in range(2)] == [0.0, 1.0]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    segment.table(1)  # the successor attaches
    assert mine.remaining(b"k") == 2.0
    assert [mine.take(b"k") for _ in range(3)] == [0.0, 0.0, 1.0]
    os.close(read)
    os.close(write)
