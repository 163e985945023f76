from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.proxy.window import BUCKETS, Window


def test_counts_events_and_marks() -> None:
    window = Window(10.0)
    window.add(100.0)
    window.add(100.5, True)
    assert (window.total, window.marked) == (2, 1)


@pytest.mark.parametrize(("later", "total"), [(8.9, 1), (11.0, 0), (1e6, 0)])
def test_forgets_what_is_older_than_the_window(later: float, total: int) -> None:
    window = Window(10.0)
    window.add(100.0, True)
    window.advance(100.0 + later)
    assert (window.total, window.marked) == (total, total)


def test_clear_forgets_everything_at_once() -> None:
    window = Window(1.0)
    window.add(5.0, True)
    window.clear()
    window.add(5.0)
    assert (window.total, window.marked) == (1, 0)


@given(st.lists(st.tuples(st.floats(0, 4), st.booleans()), max_size=60))
def test_holds_at_least_nine_tenths_and_at_most_the_whole_window(steps: list[tuple[float, bool]]) -> None:
    seconds = 10.0
    window = Window(seconds)
    seen: deque[tuple[float, bool]] = deque()
    now = 50.0
    for wait, marked in steps:
        now += wait
        window.add(now, marked)
        seen.append((now, marked))
        # One rounding error may put an event that is exactly on a bucket's border into its neighbour.
        certain = [mark for at, mark in seen if at > now - seconds * (1 - 1 / BUCKETS) + 1e-6]
        possible = [mark for at, mark in seen if at >= now - seconds - 1e-6]
        assert len(certain) <= window.total <= len(possible)
        assert sum(certain) <= window.marked <= sum(possible)
