"""The four limiting algorithms over :class:`gatewright.proxy.shared.SharedTable`.

All give the same answer in every worker, up to one unit in flight per worker: a worker reads all columns, decides,
and writes its own. What slipped in between is in the columns and is made up for by the next decisions, so the error
does not grow with time.

Every limiter leaves in ``left`` and ``resets`` what :meth:`remaining` and :meth:`reset_after` would say of the key
of the last call, for those who need them at once.
"""

from __future__ import annotations

from collections.abc import Callable

from gatewright.clock import Clock
from gatewright.proxy.shared import BASE, EXPIRES, HELD, USED, WINDOW, SharedTable

_MOST_ENTRIES = 8192  # slots a limiter remembers, per worker; finding one again costs about 2 µs
_SLACK = 1e-6  # units; what rounding may add to a level whose base is weeks ago
_MARK_BITS = (1 << 62) - 1


class SharedLimiter:
    """What the algorithms have in common: from a key to its slot."""

    __slots__ = ("_doubles", "_entries", "_now", "_per", "_seed", "_table", "_words", "left", "resets")

    def __init__(self, table: SharedTable, clock: Clock, name: str, per: float) -> None:
        self._table = table
        self._doubles = table.doubles
        self._words = table.words
        self._now: Callable[[], float] = clock.monotonic
        self._seed = table.seed(name)
        self._per = per
        self._entries: dict[bytes, tuple[int, int]] = {}
        self.left = 0.0
        self.resets = 0.0

    def _enter(self, key: bytes) -> tuple[int, int]:
        """Find or claim the slot of ``key`` and remember it. Cold."""
        state = self._seed.copy()
        state.update(key)
        mark = int.from_bytes(state.digest(), "little") & _MARK_BITS | 1
        if len(self._entries) >= _MOST_ENTRIES:
            self._entries.clear()
        entry = self._table.find(mark, self._per, self._now()), mark
        self._entries[key] = entry
        return entry

    def remaining(self, key: bytes) -> float:
        """What could be taken right now."""
        self._look(key)
        return self.left

    def reset_after(self, key: bytes) -> float:
        """Seconds until the full allowance is there again."""
        self._look(key)
        return self.resets

    def _look(self, key: bytes) -> None:
        raise NotImplementedError


class TokenBucket(SharedLimiter):
    """A bucket of ``burst`` that refills at ``limit / window`` a second.

    ``used - (now - base) * rate`` is the level of what is owed: 0 is a full bucket. It is the same sum in every
    worker, and needs no timer.
    """

    __slots__ = ("_burst", "_others", "_own", "_rate")

    def __init__(self, table: SharedTable, clock: Clock, name: str, limit: float, window: float, burst: float) -> None:
        super().__init__(table, clock, name, window / limit)
        self._rate = limit / window
        self._burst = burst
        self._own = USED + table.column
        self._others = tuple(USED + column for column in range(table.columns) if column != table.column)

    def take(self, key: bytes, cost: float = 1.0) -> float:
        """Take ``cost``. Returns 0.0 when granted, else the seconds until it could be. Hot."""
        i, mark = self._entries.get(key) or self._enter(key)
        if self._words[i] != mark:
            i, mark = self._enter(key)
        doubles, rate, at = self._doubles, self._rate, i + self._own
        own = used = doubles[at]
        for other in self._others:
            used += doubles[i + other]
        now = self._now()
        level = used - (now - doubles[i + BASE]) * rate
        if level < 0.0:
            level = 0.0
            doubles[i + BASE] = now - used / rate
            if self._words[i] != mark:  # given to another key since we looked
                self._table.rebase(i, now)
        over = level + cost - self._burst
        if over > _SLACK:
            self.left = self._burst - level if level < self._burst else 0.0
            self.resets = level / rate
            return over / rate
        doubles[at] = own + cost
        self.left = -over if over < 0.0 else 0.0
        self.resets = (level + cost) / rate
        return 0.0

    def give_back(self, key: bytes, cost: float = 1.0) -> None:
        """Return ``cost``; a negative one takes more, even beyond the burst (it is owed then)."""
        i, mark = self._entries.get(key) or self._enter(key)
        if self._words[i] != mark:
            i, mark = self._enter(key)
        self._doubles[i + self._own] -= cost

    def _look(self, key: bytes) -> None:
        i, mark = self._entries.get(key) or self._enter(key)
        if self._words[i] != mark:
            i, mark = self._enter(key)
        used = self._doubles[i + self._own] + sum(self._doubles[i + other] for other in self._others)
        level = max(0.0, used - (self._now() - self._doubles[i + BASE]) * self._rate)
        self.left = max(0.0, self._burst - level)
        self.resets = level / self._rate


class _Windows(SharedLimiter):
    """Counts per window of time, of the current and the previous window.

    A worker's column holds two pairs, one for even and one for odd windows. The tag of a pair is mark plus window
    number, so that a count of another window or another key is simply not there.
    """

    __slots__ = ("_columns", "_limit", "_own", "_window")

    def __init__(self, table: SharedTable, clock: Clock, name: str, limit: float, window: float) -> None:
        super().__init__(table, clock, name, WINDOW)
        self._limit = limit
        self._window = window
        self._own = table.pairs(table.column)
        self._columns = tuple(table.pairs(column) for column in range(table.columns))

    def _slot(self, key: bytes) -> tuple[int, int]:
        entry = self._entries.get(key)
        if entry is None:
            return self._enter(key)
        return entry if self._words[entry[0]] == entry[1] else self._enter(key)

    def _count(self, i: int, mark: int, number: int) -> float:
        """All workers' count of one window."""
        tag, pair, total = mark + number, i + 2 * (number & 1), 0.0
        words = self._words
        for column in self._columns:
            if words[pair + column] == tag:
                total += self._doubles[pair + column + 1]
        return total

    def _add(self, i: int, mark: int, number: int, cost: float) -> None:
        at = i + 2 * (number & 1) + self._own
        if self._words[at] == mark + number:
            self._doubles[at + 1] += cost
            return
        # The count is written before its tag, so that no reader pairs the new tag with an old count.
        self._doubles[at + 1] = cost
        self._words[at] = mark + number
        self._doubles[i + EXPIRES] = (number + 2) * self._window

    def give_back(self, key: bytes, cost: float = 1.0) -> None:
        """Return ``cost`` to the current window; a negative one takes more."""
        i, mark = self._slot(key)
        self._add(i, mark, int(self._now() / self._window), -cost)


class FixedWindow(_Windows):
    """At most ``limit`` in each window; all keys' windows begin together."""

    __slots__ = ()

    def take(self, key: bytes, cost: float = 1.0) -> float:
        """Take ``cost``. Returns 0.0 when granted, else the seconds until it could be. Hot."""
        i, mark = self._slot(key)
        now = self._now()
        number = int(now / self._window)
        count = self._count(i, mark, number)
        self.resets = (number + 1) * self._window - now
        left = self._limit - count - cost
        if left < 0.0:
            self.left = max(0.0, left + cost)
            return self.resets
        self._add(i, mark, number, cost)
        self.left = left
        return 0.0

    def _look(self, key: bytes) -> None:
        i, mark = self._slot(key)
        now = self._now()
        number = int(now / self._window)
        self.left = max(0.0, self._limit - self._count(i, mark, number))
        self.resets = (number + 1) * self._window - now


class SlidingWindow(_Windows):
    """At most ``limit`` in any window, the previous fixed window counted by the share that still overlaps."""

    __slots__ = ()

    def take(self, key: bytes, cost: float = 1.0) -> float:
        """Take ``cost``. Returns 0.0 when granted, else the seconds until it could be. Hot."""
        i, mark = self._slot(key)
        now = self._now()
        number = int(now / self._window)
        elapsed = now - number * self._window
        count = self._count(i, mark, number)
        before = self._count(i, mark, number - 1)
        left = self._limit - count - before * (1.0 - elapsed / self._window) - cost
        self.resets = (2.0 if count or left >= 0.0 else 1.0) * self._window - elapsed
        if left < -_SLACK:
            self.left = max(0.0, left + cost)
            return self._wait(before, count, cost, elapsed)
        self._add(i, mark, number, cost)
        self.left = left
        return 0.0

    def _wait(self, before: float, count: float, cost: float, elapsed: float) -> float:
        """Seconds until enough of the past has slid out of the window. Cold."""
        window, room = self._window, self._limit - cost
        if before > 0.0 and count <= room:
            return max(0.0, (1.0 - (room - count) / before) * window - elapsed) or 1e-3
        return window - elapsed + max(0.0, 1.0 - room / count if count > 0.0 else 0.0) * window

    def _look(self, key: bytes) -> None:
        i, mark = self._slot(key)
        now = self._now()
        number = int(now / self._window)
        elapsed = now - number * self._window
        count = self._count(i, mark, number)
        before = self._count(i, mark, number - 1)
        self.left = max(0.0, self._limit - count - before * (1.0 - elapsed / self._window))
        self.resets = (2.0 if count else 1.0 if before else 0.0) * self._window - (elapsed if count or before else 0.0)


class Concurrency(SharedLimiter):
    """At most ``limit`` at the same time. What a process held is released when another process takes its place."""

    __slots__ = ("_limit", "_own")

    def __init__(self, table: SharedTable, clock: Clock, name: str, limit: float) -> None:
        super().__init__(table, clock, name, HELD)
        self._limit = limit
        self._own = table.pairs(table.column)

    def take(self, key: bytes, cost: float = 1.0) -> float:
        """Take ``cost``. Returns 0.0 when granted, else 1.0: nobody knows when something will be given back. Hot."""
        i, mark = self._entries.get(key) or self._enter(key)
        if self._words[i] != mark:
            i, mark = self._enter(key)
        table, at = self._table, i + self._own
        tag = table.tag(mark, table.column)
        mine = self._doubles[at + 1] if self._words[at] == tag else 0.0
        # Taken first and looked at after: two workers at the same moment may both refuse, never both exceed.
        self._doubles[at + 1] = mine + cost
        self._words[at] = tag
        left = self._limit - table.held(i, mark)
        self.resets = 1.0
        if left < 0.0:
            self._doubles[at + 1] = mine
            self.left = max(0.0, left + cost)
            return 1.0
        self.left = left
        return 0.0

    def give_back(self, key: bytes, cost: float = 1.0) -> None:
        """Return what was taken. Must be called once for every take that was granted."""
        i, mark = self._entries.get(key) or self._enter(key)
        at = i + self._own
        # A slot that was given to another key meanwhile has nothing of ours any more.
        if self._words[i] == mark and self._words[at] == self._table.tag(mark, self._table.column):
            self._doubles[at + 1] = max(0.0, self._doubles[at + 1] - cost)

    def _look(self, key: bytes) -> None:
        i, mark = self._entries.get(key) or self._enter(key)
        if self._words[i] != mark:
            i, mark = self._enter(key)
        held = self._table.held(i, mark)
        self.left = max(0.0, self._limit - held)
        self.resets = 1.0 if held > 0.0 else 0.0


#: The words of the configuration.
ALGORITHMS = ("token_bucket", "sliding_window", "fixed_window", "concurrency")


def make_limiter(
    table: SharedTable, clock: Clock, algorithm: str, name: str, limit: float, window: float, burst: float
) -> TokenBucket | FixedWindow | SlidingWindow | Concurrency:
    """A limiter of one of the :data:`ALGORITHMS`.

    Equal names share their counters as long as algorithm, limit and window are the same; a changed limit starts
    afresh, for counts made at one rate mean nothing at another.

    Args:
        table: Where it counts.
        clock: Its time; must be the same in all workers.
        algorithm: One of :data:`ALGORITHMS`; ValueError for another.
        name: Shared by those who share the counters.
        limit: Units per ``window``, or at the same time.
        window: Seconds.
        burst: Size of a token bucket.
    """
    full = f"{algorithm} {limit!r} {window!r} {name}"
    if algorithm == "token_bucket":
        return TokenBucket(table, clock, full, limit, window, burst)
    if algorithm == "fixed_window":
        return FixedWindow(table, clock, full, limit, window)
    if algorithm == "sliding_window":
        return SlidingWindow(table, clock, full, limit, window)
    if algorithm == "concurrency":
        return Concurrency(table, clock, full, limit)
    raise ValueError(f"no such algorithm: {algorithm!r}")
