"""What is worked out for every connection of this process and kept, when it was asked for twice.

Peers repeat themselves, and each other: a string, once decoded, is worth keeping. What comes once only (ids, times) is
not, and must not push out what is: so a first time leaves nothing but a hash, and only the second is kept. A peer that
sends everything twice can fill it; then it is emptied, and what others use is worked out again, twice.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

#: What an entry takes beyond its octets: two or three objects and a place in the dict.
_OVERHEAD = 256
#: How many first times are remembered.
_MOST_SEEN = 2048


class Memo(Generic[K, V]):
    """Keys to values, of at most ``most`` octets in all and ``most_each`` octets each."""

    __slots__ = ("_entries", "_most", "_most_each", "_octets", "_seen", "get")

    def __init__(self, most: int, most_each: int) -> None:
        self._entries: dict[K, V] = {}
        #: What was kept for a key, or None.
        self.get = self._entries.get
        self._seen: set[int] = set()
        self._octets = 0
        self._most = most
        self._most_each = most_each

    def __len__(self) -> int:
        return len(self._entries)

    def again(self, key: K) -> bool:
        """Whether the key was asked for before; it has been, from now on."""
        code = hash(key)
        if code in self._seen:
            return True
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen.add(code)
        return False

    def keep(self, key: K, value: V, octets: int) -> None:
        """Keep ``value``; key and value have so many octets together."""
        if octets > self._most_each:
            return
        octets += _OVERHEAD
        if self._octets + octets > self._most:
            self.clear()
        self._entries[key] = value
        self._octets += octets

    def clear(self) -> None:
        """Forget all that was kept."""
        self._entries.clear()
        self._octets = 0
