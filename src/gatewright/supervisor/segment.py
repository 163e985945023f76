"""The shared memory of the workers: a memory file that outlives every one of them, and a binary upgrade too."""

from __future__ import annotations

import mmap
import os

from gatewright.proxy.shared import shared_size


class Segment:
    """The segment with the numbers it was made for.

    A column may be used by one living process only. While an old and a new process tree overlap, both have a worker
    in every slot; therefore there are two columns for each slot, used by turns (``generation``).
    """

    __slots__ = ("fd", "generation", "keys", "map", "slots")

    def __init__(self, slots: int, keys: int, fd: int = -1, generation: int = 0) -> None:
        size = shared_size(2 * slots, keys)
        if fd < 0:
            fd = os.memfd_create("gatewright-shared")
            os.ftruncate(fd, size)
        self.fd = fd
        self.map = mmap.mmap(fd, size)
        self.slots = slots
        self.keys = keys
        self.generation = generation

    @property
    def columns(self) -> int:
        """How many columns it has."""
        return 2 * self.slots

    def column(self, slot: int) -> int:
        """The column of the process that fills ``slot``."""
        return slot + self.slots * (self.generation % 2)

    def close(self) -> None:
        """Unmap and close it."""
        self.map.close()
        os.close(self.fd)


def adopt_or_create(slots: int, keys: int, note: tuple[int, int, int, int] | None) -> Segment:
    """The segment of an older supervisor when it has the same size, else a new one.

    ``note`` is (descriptor, slots, keys, generation) as handed over.
    """
    if note is not None:
        fd, its_slots, its_keys, generation = note
        if (its_slots, its_keys) == (slots, keys) and os.fstat(fd).st_size == shared_size(2 * slots, keys):
            return Segment(slots, keys, fd, generation + 1)
        os.close(fd)
    return Segment(slots, keys)
