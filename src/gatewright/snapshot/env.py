"""The surroundings that a policy gets in a worker: the implementation of :class:`gatewright.sdk.Env`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gatewright.clock import Clock
from gatewright.proxy.expression import compile_expression
from gatewright.proxy.limiters import make_limiter
from gatewright.proxy.memory import Memory
from gatewright.proxy.record import WorkerStats
from gatewright.proxy.shared import SharedTable
from gatewright.sdk.env import Counter, Expression, Limiter
from gatewright.sdk.exchange import Consumer, Secret
from gatewright.sdk.service import Flights, Service, ServiceSpec
from gatewright.snapshot.model import Snapshot
from gatewright.snapshot.services import Services

_DROPPED = "gatewright_rate_limit_keys_dropped_total"
_DROPPED_HELP = "Keys of limits that lost their counts because the shared table was full."


class Note(Protocol):
    """Writes a line to the error log."""

    def __call__(self, event: str, level: str = "warning", **fields: str) -> None:
        """Write one line."""


class Directory:
    """The consumers of one snapshot, as policies see them."""

    __slots__ = ("_by_kind", "_named", "consumers")

    def __init__(self, snapshot: Snapshot) -> None:
        self.consumers: dict[str, Consumer] = {}
        self._by_kind: dict[str, dict[bytes, Consumer]] = {}
        self._named: dict[str, dict[str, Secret]] = {}
        for spec in snapshot.consumers:
            consumer = Consumer(spec.name, frozenset(spec.groups), dict(spec.metadata))
            self.consumers[spec.name] = consumer
            for credential in spec.credentials:
                if credential.id:
                    secret = Secret(credential.id, credential.value, consumer, credential.algorithm)
                    self._named.setdefault(credential.kind, {})[credential.id] = secret
                    continue
                digest = bytes.fromhex(credential.digest)
                self._by_kind.setdefault(credential.kind, {})[digest] = consumer

    def credentials(self, kind: str) -> Mapping[bytes, Consumer]:
        """Digest → consumer; the same mapping for every policy."""
        return self._by_kind.setdefault(kind, {})

    def secrets(self, kind: str) -> Mapping[str, Secret]:
        """Name → secret; the same mapping for every policy."""
        return self._named.setdefault(kind, {})


#: The last snapshot and its directory: thousands of policies are compiled in a row from one snapshot.
_last: list[tuple[Snapshot, Directory]] = []


def directory(snapshot: Snapshot) -> Directory:
    """The directory of a snapshot, made once."""
    if not _last or _last[0][0] is not snapshot:
        _last[:] = [(snapshot, Directory(snapshot))]
    return _last[0][1]


class PolicyEnv:
    """One policy's :class:`gatewright.sdk.Env`.

    Args:
        snapshot: Whose consumers are known.
        policy: The policy's type, for its reports.
        scope: Where it was written (:attr:`PolicySpec.scope`): keeps its counters apart from those of other places.
        clock: The worker's.
        table: Shared counters; :meth:`SharedTable.private` where nothing is to be shared.
        stats: Where the worker counts.
        note: Writes to the error log.
        services: What other services are asked with; None where nobody can be asked.
    """

    __slots__ = ("_note", "_policy", "_scope", "_services", "_snapshot", "_stats", "_table", "clock")

    def __init__(
        self,
        snapshot: Snapshot,
        policy: str,
        scope: str,
        clock: Clock,
        table: SharedTable,
        stats: WorkerStats,
        note: Note,
        services: Services | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._policy = policy
        self._scope = scope
        self.clock: Clock = clock
        self._table = table
        self._stats = stats
        self._note = note
        self._services = services

    def credentials(self, kind: str) -> Mapping[bytes, Consumer]:
        """All credentials of a kind (``api_key``): SHA-256 digest → consumer."""
        return directory(self._snapshot).credentials(kind)

    def secrets(self, kind: str) -> Mapping[str, Secret]:
        """All credentials of a kind that has names (``basic``, ``hmac``)."""
        return directory(self._snapshot).secrets(kind)

    def memory(self, name: str, size: int) -> Memory:
        """The worker's memory of that name."""
        return self._stats.memory(name, size)

    def limiter(self, algorithm: str, name: str, limit: float, window: float, burst: float) -> Limiter:
        """A limiter over the machine's shared counters."""
        if self._table.evicted is None:
            self._table.evicted = self._stats.counter(_DROPPED, _DROPPED_HELP).inc
        # Scope and policy stand before the name: no two places count together because of equal names.
        full = f"{self._scope}\x1f{self._policy}\x1f{name}"
        return make_limiter(self._table, self.clock, algorithm, full, limit, window, burst)

    def counter(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Counter:
        """A metric of the policy's own, under the name ``gatewright_`` + ``name``."""
        return self._stats.counter(f"gatewright_{name}", help_text, labels)

    def expression(self, source: str) -> Expression:
        """Compile a CEL expression over the exchange. Raises ValueError with the place of the mistake."""
        return compile_expression(source)

    def service(self, service: ServiceSpec | str) -> Service:
        """What asks another service."""
        if self._services is None:
            raise ValueError("nobody can be asked here")
        return self._services.of(service)

    def flights(self, name: str) -> Flights:
        """Questions under way."""
        if self._services is None:
            raise ValueError("nobody can be asked here")
        return self._services.flights(name)

    def report(self, event: str, **fields: str) -> None:
        """Write a warning to the error log."""
        self._note(event, policy=self._policy, **fields)
