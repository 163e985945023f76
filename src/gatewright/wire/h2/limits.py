"""Budgets against peers that keep us busy for nothing (rapid resets, floods of control frames)."""

from __future__ import annotations


class Budget:
    """A token bucket: ``most`` at once, refilled in five seconds."""

    __slots__ = ("_at", "_left", "most")

    def __init__(self, most: int, now: float) -> None:
        self.most = most
        self._left = float(most)
        self._at = now

    def take(self, now: float, earned: int = 0) -> bool:
        """Spend one, after ``earned`` further ones have been put in. False: there is none left."""
        left = self._left + (now - self._at) * self.most * 0.2 + earned
        self._at = now
        self._left = min(left, self.most) - 1
        return self._left >= 0
