"""A bounded memory of things that were found out and stay true for a while: verified credentials and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatewright.proxy.record import CacheStats


class Memory:
    """Key → value, each until its time has come. When it is full, the oldest go.

    Args:
        size: Most entries.
        stats: Where hits and misses are counted.
    """

    __slots__ = ("_entries", "_size", "_stats")

    def __init__(self, size: int, stats: CacheStats) -> None:
        self._entries: dict[bytes, tuple[float, Any]] = {}
        self._size = size
        self._stats = stats

    def get(self, key: bytes, now: float) -> Any:
        """The value, or None."""
        entry = self._entries.get(key)
        if entry is None or entry[0] <= now:
            self._stats.misses += 1
            return None
        self._stats.hits += 1
        return entry[1]

    def put(self, key: bytes, value: Any, until: float) -> None:
        """Remember ``value`` until then (on the clock of ``now``)."""
        entries = self._entries
        entries.pop(key, None)  # a new entry stands at the end
        if len(entries) >= self._size:
            del entries[next(iter(entries))]
        entries[key] = until, value
        self._stats.entries = len(entries)
