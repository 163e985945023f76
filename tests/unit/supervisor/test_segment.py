from __future__ import annotations

import os

from gatewright.proxy.shared import SharedTable
from gatewright.supervisor.segment import Segment, adopt_or_create


def note(segment: Segment) -> tuple[int, int, int, int]:
    return os.dup(segment.fd), segment.slots, segment.keys, segment.generation


def test_a_table_fits_into_every_column_and_old_and_new_processes_use_different_ones() -> None:
    first = Segment(2, 64)
    second = adopt_or_create(2, 64, note(first))
    third = adopt_or_create(2, 64, note(second))
    columns = [[segment.column(slot) for slot in range(2)] for segment in (first, second, third)]
    assert columns == [[0, 1], [2, 3], [0, 1]]
    for segment in (first, second):
        view = memoryview(segment.map)
        table = SharedTable(view, segment.fd, segment.column(1), segment.columns, segment.keys)
        del table
        view.release()
    second.map[5:6] = b"x"
    assert first.map[5:6] == b"x", "the same memory"
    for segment in (first, second, third):
        segment.close()


def test_a_segment_of_other_numbers_is_not_adopted() -> None:
    old = Segment(2, 64)
    old.map[5:6] = b"x"
    new = adopt_or_create(3, 64, note(old))
    assert (new.slots, new.generation) == (3, 0)
    assert new.map[5:6] == b"\0"
    old.close()
    new.close()
