"""Counters that every worker of this machine sees, without a lock on the hot path.

One segment of shared memory holds a fixed number of key slots. A slot belongs to one key of one limiter; inside it
every worker has a column that only this worker writes and all workers read::

    header   secret (16 bytes) · layout · epoch of each column
    slot     mark · base · per · expires · used of each column · (tag, count, tag, count) of each column

All words are eight bytes and aligned, so that a load or store through a memoryview is one move and no reader sees
half a number. Nobody ever writes another worker's column: a worker that is killed leaves what it had counted, and
nothing to repair. A slot's ``mark`` is a keyed hash of limiter and key; every use compares it, so a slot that was
given to another key is noticed. Slots are claimed and reclaimed under a lock on the file, which the kernel
releases when its holder dies.

A full table: each key may live in :data:`NEIGHBOURHOOD` slots. When all are taken by keys that still hold
something, the one that would be forgotten soonest is given up: its key starts afresh, and ``evicted`` is called.
"""

from __future__ import annotations

import fcntl
import os
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Slots in which a key may live.
NEIGHBOURHOOD = 16

# Words of a slot.
MARK, BASE, PER, EXPIRES, USED = 0, 1, 2, 3, 4
#: Words of a worker's pair column.
PAIRS = 4
#: Values of the word PER that are not seconds per unit: a window limiter's slot, a concurrency limiter's slot.
WINDOW, HELD = 0.0, -1.0

_FREE = 0
_SECRET_BYTES = 16
_LAYOUT, _EPOCHS = 2, 3  # words of the header; the secret is words 0 and 1
_LAYOUT_VERSION = 1
_INFINITE = float("inf")


def _header_words(columns: int) -> int:
    return (_EPOCHS + columns + 7) // 8 * 8


def shared_size(columns: int, keys: int) -> int:
    """Bytes of a segment for ``columns`` worker slots and ``keys`` keys. Pages that are not used cost nothing."""
    return 8 * (_header_words(columns) + keys * (USED + columns + PAIRS * columns))


class SharedTable:
    """One worker's view of the segment.

    Args:
        view: The segment, writable, of at least :func:`shared_size` bytes, zero-filled when it is new.
        fd: Of the file behind it, for the lock; None when no other process maps it (tests, ``check``).
        column: This worker's slot number. At most one living process may use a column.
        columns: Worker slots.
        keys: Key slots.

    Raises ValueError when the segment is too small or was made for other numbers.
    """

    __slots__ = ("_fd", "_first", "_secret", "_stride", "column", "columns", "doubles", "evicted", "keys", "words")

    def __init__(self, view: memoryview, fd: int | None, column: int, columns: int, keys: int) -> None:
        if not 0 <= column < columns or keys < NEIGHBOURHOOD:
            raise ValueError(f"column {column} of {columns}, {keys} keys")
        size = shared_size(columns, keys)
        if view.nbytes < size:
            raise ValueError(f"the shared segment has {view.nbytes} bytes, {size} are needed")
        octets = view.cast("B")[:size]
        self.doubles = octets.cast("d")
        self.words = octets.cast("q")
        self.column = column
        self.columns = columns
        self.keys = keys
        #: Called when a key loses its slot although it still holds something.
        self.evicted: Callable[[], None] | None = None
        self._fd = fd
        self._first = _header_words(columns)
        self._stride = USED + columns + PAIRS * columns
        self._lock()
        try:
            self._secret = self._attach(octets)
        finally:
            self._unlock()

    @classmethod
    def private(cls, keys: int = 1024) -> SharedTable:
        """A table that no other process sees, for tests and for checking a configuration."""
        return cls(memoryview(bytearray(shared_size(1, keys))), None, 0, 1, keys)

    def _attach(self, octets: memoryview) -> bytes:
        layout = _LAYOUT_VERSION << 48 | self.columns << 32 | self.keys
        if self.words[_LAYOUT] == 0:
            octets[:_SECRET_BYTES] = os.urandom(_SECRET_BYTES)
            self.words[_LAYOUT] = layout
        elif self.words[_LAYOUT] != layout:
            raise ValueError("the shared segment was made for other numbers of workers or keys")
        # What the last process of this column held in flight is void from here on.
        self.words[_EPOCHS + self.column] += 1
        return bytes(octets[:_SECRET_BYTES])

    def seed(self, name: str) -> blake2b:
        """The start of the marks of limiter ``name``: the same in every worker, unknown to clients."""
        return blake2b(name.encode() + b"\0", digest_size=8, key=self._secret)

    def tag(self, mark: int, column: int) -> int:
        """Says that a count was made for ``mark`` by the process that now fills ``column``."""
        return mark + self.words[_EPOCHS + column]

    def find(self, mark: int, per: float, now: float) -> int:
        """The first word of the slot of ``mark``; a free or expired one is claimed when it has none. Cold."""
        slots = self._neighbourhood(mark)
        for i in slots:
            if self.words[i] == mark:
                return i
        self._lock()
        try:
            return self._claim(slots, mark, per, now)
        finally:
            self._unlock()

    def rebase(self, i: int, now: float) -> None:
        """Start the slot's owner afresh. For a worker that finds it has written to a slot of another key."""
        self._lock()
        try:
            per = self.doubles[i + PER]
            if per > 0:
                self.doubles[i + BASE] = now - self._used(i) * per
        finally:
            self._unlock()

    def _neighbourhood(self, mark: int) -> list[int]:
        start, keys = mark % self.keys, self.keys
        return [self._first + (start + n) % keys * self._stride for n in range(NEIGHBOURHOOD)]

    def _claim(self, slots: list[int], mark: int, per: float, now: float) -> int:
        best, soonest = slots[0], _INFINITE
        for i in slots:
            owner = self.words[i]
            if owner == mark:  # another worker was faster
                return i
            expires = self._expires(i, owner)
            if expires < soonest:
                best, soonest = i, expires
        if soonest > now and self.evicted is not None:
            self.evicted()
        doubles = self.doubles
        # The mark comes last: a process that dies here leaves a free slot.
        self.words[best] = _FREE
        doubles[best + PER] = per
        doubles[best + EXPIRES] = 0.0
        # The columns keep what earlier owners left in them, so the base makes their sum mean "nothing used".
        doubles[best + BASE] = now - self._used(best) * per if per > 0 else now
        self.words[best] = mark
        return best

    def _expires(self, i: int, owner: int) -> float:
        """When the slot will hold nothing worth keeping."""
        if owner == _FREE:
            return -_INFINITE
        per = self.doubles[i + PER]
        if per > 0:
            return self.doubles[i + BASE] + self._used(i) * per
        if per == WINDOW:
            return self.doubles[i + EXPIRES]
        return _INFINITE if self.held(i, owner) > 0 else 0.0

    def _used(self, i: int) -> float:
        return sum(self.doubles[i + USED : i + USED + self.columns])

    def pairs(self, column: int) -> int:
        """Distance of a column's pair words from the slot's first word."""
        return USED + self.columns + PAIRS * column

    def held(self, i: int, mark: int) -> float:
        """What all living processes hold of a concurrency limiter's key."""
        total = 0.0
        for column in range(self.columns):
            at = i + self.pairs(column)
            if self.words[at] == self.tag(mark, column):
                total += self.doubles[at + 1]
        return total

    def _lock(self) -> None:
        if self._fd is not None:
            fcntl.lockf(self._fd, fcntl.LOCK_EX)

    def _unlock(self) -> None:
        if self._fd is not None:
            fcntl.lockf(self._fd, fcntl.LOCK_UN)
