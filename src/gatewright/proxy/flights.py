"""Questions under way: who wants to know the same waits for the same answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatewright.proxy.ports import Promise, World

#: What a question has come to: the answer, and what it raised instead.
_Outcome = tuple[Any, Exception | None]


class Flights:
    """At most one question for each key at a time (:class:`gatewright.sdk.Flights`).

    Bounded by the requests that wait: an entry lives as long as its question.
    """

    __slots__ = ("_joined", "_world")

    def __init__(self, world: World) -> None:
        self._world = world
        #: Key → those who wait beside the one who asks.
        self._joined: dict[bytes, list[Promise]] = {}

    def __len__(self) -> int:
        return len(self._joined)

    # cold: only requests that ask somebody come here
    async def join(self, key: bytes, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask, or wait for who is asking already. When that one is given up, one of those who wait asks anew."""
        while (joined := self._joined.get(key)) is not None:
            promise = self._world.promise()
            joined.append(promise)
            outcome: _Outcome | None = await promise
            if outcome is not None:
                value, error = outcome
                if error is not None:
                    raise error
                return value
        waiting = self._joined[key] = []
        outcome = None
        try:
            outcome = await ask(), None
        except Exception as error:
            outcome = None, error
            raise
        finally:
            del self._joined[key]
            for promise in waiting:
                if not promise.done():  # who waited may have been given up
                    promise.set_result(outcome)
        return outcome[0]
