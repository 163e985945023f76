"""Surroundings in which policies are built only to see whether they accept their configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gatewright.clock import Clock, ManualClock
from gatewright.config.document import Document
from gatewright.config.tree import Path
from gatewright.http.answer import Answer, ServiceError
from gatewright.http.headers import Pair
from gatewright.proxy.expression import compile_expression
from gatewright.proxy.memory import Memory
from gatewright.proxy.record import CacheStats
from gatewright.sdk.env import Counter, Expression, Limiter
from gatewright.sdk.exchange import Consumer, Secret
from gatewright.sdk.service import Flights, Service, ServiceSpec
from gatewright.snapshot.services import spec_of, upstream_name


class CheckLimiter:
    """A limiter that grants everything."""

    __slots__ = ("left", "resets")

    def __init__(self) -> None:
        self.left = float("inf")
        self.resets = 0.0

    def take(self, key: bytes, cost: float = 1.0) -> float:
        """Granted."""
        return 0.0

    def give_back(self, key: bytes, cost: float = 1.0) -> None:
        """Nothing was taken."""

    def remaining(self, key: bytes) -> float:
        """Everything."""
        return float("inf")

    def reset_after(self, key: bytes) -> float:
        """At once."""
        return 0.0


class CheckCounter:
    """A counter that forgets."""

    __slots__ = ()

    def inc(self, *labels: str, by: float = 1.0) -> None:
        """Nothing is counted."""


class CheckService:
    """A service that cannot be reached."""

    __slots__ = ()

    async def ask(self, method: bytes, path: bytes, headers: Sequence[Pair] = (), body: bytes = b"") -> Answer:
        """Nobody answers."""
        raise ServiceError("upstream.none")


class CheckFlights:
    """Nobody asks at the same time."""

    __slots__ = ()

    async def join(self, key: bytes, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask."""
        return await ask()


class CheckEnv:
    """An :class:`gatewright.sdk.env.Env` without anything behind it."""

    def __init__(self) -> None:
        self.clock: Clock = ManualClock()

    def credentials(self, kind: str) -> Mapping[bytes, Consumer]:
        """Nobody is known."""
        return {}

    def secrets(self, kind: str) -> Mapping[str, Secret]:
        """Nobody is known."""
        return {}

    def memory(self, name: str, size: int) -> Memory:
        """A memory of its own."""
        return Memory(size, CacheStats(name))

    def limiter(self, algorithm: str, name: str, limit: float, window: float, burst: float) -> Limiter:
        """A limiter that grants everything."""
        return CheckLimiter()

    def counter(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Counter:
        """A counter that forgets."""
        return CheckCounter()

    def service(self, service: ServiceSpec | str) -> Service:
        """One that does not answer."""
        upstream_name(spec_of(service))
        return CheckService()

    def flights(self, name: str) -> Flights:
        """Nobody asks at the same time."""
        return CheckFlights()

    def report(self, event: str, **fields: str) -> None:
        """Nothing is written."""

    def expression(self, source: str) -> Expression:
        """The expression itself: compiling it is the check."""
        return compile_expression(source)


def check_expression(document: Document, source: str, path: Path) -> bool:
    """Whether a CEL expression compiles; reported at ``path`` when it does not."""
    try:
        compile_expression(source)
    except ValueError as error:
        # The place goes to the caret; without one (an error of the library) the message is all there is.
        message = str(error).rpartition(" (column")[0] or str(error)
        column = getattr(error, "column", 0)
        document.problem("config.expression", f"not an expression: {message}", path, column=column)
        return False
    return True
