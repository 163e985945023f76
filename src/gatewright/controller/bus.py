"""What happens in a gateway, told to whoever listens in the controller's process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from gatewright.clock import Clock
from gatewright.errorlog import ErrorLog
from gatewright.ipc.messages import BreakerChange, HealthChange

#: Events that are kept for somebody who asks later.
KEPT = 256


@dataclass(frozen=True, slots=True)
class ConfigApplied:
    """All workers serve this version."""

    version: int
    digest: str
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class ConfigRejected:
    """A configuration was refused; the one before serves on."""

    reason: str
    error: str


@dataclass(frozen=True, slots=True)
class WorkerUp:
    """A process fills a slot."""

    slot: int
    pid: int


@dataclass(frozen=True, slots=True)
class WorkerDown:
    """The process of a slot has ended."""

    slot: int
    pid: int
    explanation: str


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """An active check, or the traffic of a worker, changed what is thought of an endpoint. ``slot`` -1: a check."""

    slot: int
    change: HealthChange


@dataclass(frozen=True, slots=True)
class BreakerState:
    """A circuit breaker changed its state in the worker of ``slot``."""

    slot: int
    change: BreakerChange


Event: TypeAlias = ConfigApplied | ConfigRejected | WorkerUp | WorkerDown | EndpointHealth | BreakerState
E = TypeVar("E", bound=Event)


class Bus:
    """Calls subscribers in the order in which they came; remembers the last :data:`KEPT` events with their time."""

    __slots__ = ("_clock", "_log", "_subscribers", "recent")

    def __init__(self, clock: Clock, log: ErrorLog) -> None:
        self._clock = clock
        self._log = log
        self._subscribers: dict[type, list[Callable[..., None]]] = {}
        self.recent: deque[tuple[float, Event]] = deque(maxlen=KEPT)

    def subscribe(self, kind: type[E], callback: Callable[[E], None]) -> Callable[[], None]:
        """Call back for every event of a kind. Returns what ends the subscription."""
        callbacks = self._subscribers.setdefault(kind, [])
        callbacks.append(callback)
        return lambda: callbacks.remove(callback)

    def publish(self, event: Event) -> None:
        """Tell everybody. A subscriber that fails is reported and does not keep the others from hearing."""
        self.recent.append((self._clock.wall(), event))
        for callback in list(self._subscribers.get(type(event), ())):
            try:
                callback(event)
            except Exception as error:  # noqa: BLE001 - subscribers are independent of each other
                self._log.error("bus.subscriber", f"a subscriber of {type(event).__name__} failed: {error!r}")
