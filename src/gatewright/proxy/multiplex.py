"""The HTTP/2 connections to one endpoint, each of which carries many exchanges.

Exchanges share a connection up to the number of streams that the endpoint allows; only when all connections are full is
another one opened. An exchange that finds no room queues until a stream ends or a connection is there.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from gatewright.proxy import ports

if TYPE_CHECKING:
    from gatewright.proxy.endpoints import Endpoint
    from gatewright.proxy.exchange import Exchange
    from gatewright.proxy.ports import MultiplexConnection, UpstreamConnection, World
    from gatewright.snapshot.model import Pool as PoolSpec

#: Streams that a connection which is being opened will surely take (RFC 9113 section 6.5.2).
_EXPECTED = 100


class MultiplexPool:
    """Bounded in connections and in waiters. Lives as long as its endpoint."""

    __slots__ = (
        "closed", "connect_timeout", "connecting", "connections", "created", "deadline", "endpoint", "most_open",
        "open", "reused", "spec", "tls", "waiters", "wheel_at", "world",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, world: World) -> None:
        self.endpoint = endpoint
        self.world = world
        self.spec: PoolSpec
        #: How connections are secured, or None.
        self.tls: Any = None
        self.connect_timeout = 0.0
        #: Connections that take streams, in the order in which they are filled.
        self.connections: list[MultiplexConnection] = []
        self.waiters: deque[Exchange] = deque()
        #: Connections that exist, those being opened and those that only finish their streams included.
        self.open = 0
        self.connecting = 0
        self.closed = False
        self.deadline = 0.0
        self.wheel_at = 0
        self.most_open = 0
        #: Connections made, and requests that found one; they only grow.
        self.created = 0
        self.reused = 0

    def configure(self, spec: PoolSpec, connect_timeout: float, workers: int) -> None:
        """Take over limits; each worker gets its share of the gateway's."""
        self.spec = spec
        self.connect_timeout = connect_timeout
        self.most_open = max(1, -(-spec.max_connections // workers))
        self._refill()

    def take(self) -> UpstreamConnection | None:
        """A stream on a connection that has room, or None. Hot."""
        for connection in self.connections:
            if connection.room > 0:
                self.reused += 1
                return connection.stream()
        return None

    def wait(self, exchange: Exchange) -> None:
        """Queue ``exchange`` for a stream; it fails at once when the queue is full."""
        coming = self.connecting * _EXPECTED
        if len(self.waiters) - coming >= self.spec.max_waiting and self.open >= self.most_open:
            exchange.upstream_failed(ports.OVERLOADED)
            return
        exchange.wait_until = self.world.now + self.spec.wait_timeout
        self.waiters.append(exchange)
        self._refill()
        if self.open >= self.most_open:
            self._watch()

    def forget(self, exchange: Exchange) -> None:
        """``exchange`` no longer waits."""
        try:
            self.waiters.remove(exchange)
        except ValueError:
            return  # it was handed a stream, or failed, in the same turn
        if not self.waiters:
            self.world.unwatch(self)

    def connected(self, connection: Any) -> None:
        """A connection that :meth:`World.connect` opened, or that is ready only now."""
        if not connection.alive:  # closed again before anybody could use it
            self.failed(ports.CONNECT)
            return
        if not connection.ready:
            connection.awaited = True  # it comes back when the endpoint has said what it allows
            return
        self.connecting -= 1
        connection.pooled = True
        if not self.closed:
            self.connections.append(connection)
        self.has_room(connection)
        if self.closed:
            connection.retire()
        if self.waiters:  # it takes fewer streams than was thought
            self._refill()
            self._watch()

    def failed(self, condition: str) -> None:
        """A connection could not be opened. Those who waited for it have failed, each by itself may try again."""
        self.connecting -= 1
        self.open -= 1
        for _ in range(min(len(self.waiters), _EXPECTED)):
            if self.waiters:
                self._first().upstream_failed(condition)
        self._refill()

    def has_room(self, connection: MultiplexConnection) -> None:
        """``connection`` takes another stream: of those that wait, first come, first served."""
        while self.waiters and connection.room > 0 and connection.alive:
            self._first().connected(connection.stream())

    def retired(self, connection: MultiplexConnection) -> None:
        """``connection`` takes no more streams; what it has it may finish."""
        if connection in self.connections:
            self.connections.remove(connection)

    def lost(self, connection: MultiplexConnection) -> None:
        """``connection`` is gone. A waiter may have its place."""
        self.retired(connection)
        self.open -= 1
        self._refill()

    def close(self) -> None:
        """The endpoint is no longer used: idle connections go now, the others when their streams have ended."""
        self.closed = True
        for connection in tuple(self.connections):
            connection.retire()

    def counts(self) -> tuple[int, int]:
        """How many connections are idle, and how many are busy."""
        idle = sum(not connection.busy() for connection in self.connections)
        return idle, self.open - self.connecting - idle

    def on_deadline(self, now: float) -> None:
        """Waiters whose time is over are refused; they queue in the order of their time."""
        while self.waiters and self.waiters[0].wait_until <= now:
            self.waiters.popleft().upstream_failed(ports.OVERLOADED)
        self._watch()

    def _first(self) -> Exchange:
        exchange = self.waiters.popleft()
        if not self.waiters:
            self.world.unwatch(self)
        return exchange

    def _refill(self) -> None:
        """Open connections for waiters for whom none is being opened."""
        while self.open < self.most_open and self.connecting * _EXPECTED < len(self.waiters):
            self.open += 1
            self.created += 1
            self.connecting += 1
            self.world.connect(self, self.endpoint)

    def _watch(self) -> None:
        if self.waiters:
            self.deadline = self.waiters[0].wait_until
            self.world.watch(self)
