"""What is remembered, how long, and what it costs at most."""

from __future__ import annotations

from gatewright.proxy.record import WorkerStats


def test_entries_have_their_time_and_are_counted() -> None:
    stats = WorkerStats()
    memory = stats.memory("odd", 10)
    assert stats.memory("odd", 10) is memory
    memory.put(b"a", 1, 5.0)
    assert (memory.get(b"a", 4.9), memory.get(b"a", 5.0), memory.get(b"b", 0.0)) == (1, None, None)
    counts = stats.caches["odd"]
    assert (counts.hits, counts.misses, counts.entries) == (1, 2, 1)


def test_the_oldest_goes_when_it_is_full() -> None:
    memory = WorkerStats().memory("odd", 2)
    memory.put(b"a", 1, 9.0)
    memory.put(b"b", 2, 9.0)
    memory.put(b"a", 3, 9.0)  # is the newest again
    memory.put(b"c", 4, 9.0)
    assert [memory.get(key, 0.0) for key in (b"a", b"b", b"c")] == [3, None, 4]
