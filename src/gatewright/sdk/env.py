"""What a policy may use of its surroundings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from gatewright.clock import Clock
from gatewright.sdk.exchange import Consumer, Secret
from gatewright.sdk.service import Flights, Service, ServiceSpec


class Counter(Protocol):
    """A number that only grows, shown at ``/metrics``."""

    def inc(self, *labels: str, by: float = 1.0) -> None:
        """Add ``by`` to the series with these label values."""


class Limiter(Protocol):
    """One configured limit over many keys, exact across the workers of this machine.

    Attributes:
        left: What :meth:`remaining` would say of the key of the last call; saves another look at the counters.
        resets: What :meth:`reset_after` would say of it.
    """

    left: float
    resets: float

    def take(self, key: bytes, cost: float = 1.0) -> float:
        """Take ``cost`` for ``key``. Returns 0.0 when it was granted, else the seconds until it could be."""

    def give_back(self, key: bytes, cost: float = 1.0) -> None:
        """Return what was taken (concurrency limits, corrections); a negative ``cost`` takes more, even beyond."""

    def remaining(self, key: bytes) -> float:
        """What could be taken right now."""

    def reset_after(self, key: bytes) -> float:
        """Seconds until the full allowance is there again."""


class Memory(Protocol):
    """A bounded memory of what was found out and stays true for a while. It outlives changes of the configuration."""

    def get(self, key: bytes, now: float) -> Any:
        """The value, or None. ``now`` is on the monotonic clock."""

    def put(self, key: bytes, value: Any, until: float) -> None:
        """Remember ``value`` until then; when the memory is full, the oldest entry goes."""


class Env(Protocol):
    """The surroundings of a policy: clock, shared state, metrics, credentials. Nothing of the worker itself."""

    clock: Clock

    def credentials(self, kind: str) -> Mapping[bytes, Consumer]:
        """All credentials of a kind (``api_key``): SHA-256 digest → consumer."""

    def secrets(self, kind: str) -> Mapping[str, Secret]:
        """All credentials of a kind that has names (``basic``, ``hmac``): user name or key id → secret."""

    def memory(self, name: str, size: int) -> Memory:
        """The memory ``name`` of this worker: the same for all policies, whatever is reloaded. Counted as a cache."""

    def limiter(self, algorithm: str, name: str, limit: float, window: float, burst: float) -> Limiter:
        """A limiter named ``name``: the same name gives the same counters, in every worker and after a reload.

        Names are private to the place the policy was written at (the gateway, or one route). ``algorithm`` is
        token_bucket, sliding_window, fixed_window or concurrency; a changed algorithm, limit or window starts afresh.
        ``window`` is in seconds; ``burst`` is the size of a token bucket.
        """

    def counter(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Counter:
        """A metric of the policy's own; the name is prefixed with ``gatewright_``. Series are capped."""

    def expression(self, source: str) -> Expression:
        """Compile a CEL expression over the exchange. Raises ValueError with the place of the mistake."""

    def service(self, service: ServiceSpec | str) -> Service:
        """What asks another HTTP service: one that the policy's ``services`` has named, a URL or more.

        Raises ValueError for another one.
        """

    def flights(self, name: str) -> Flights:
        """Questions under way; the same ones for all policies of this worker that give the same name."""

    def report(self, event: str, **fields: str) -> None:
        """Write a warning to the error log. For rare things: what happens with every request is to be counted."""


class Expression(Protocol):
    """A compiled CEL expression."""

    def __call__(self, ex: object) -> object:
        """Evaluate over an exchange. Raises ValueError when it cannot be evaluated."""
