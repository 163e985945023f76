"""The connections to one endpoint: idle ones, newest first, and the exchanges that wait for one.

An exchange that finds no idle connection queues here while a new connection is opened; it gets whichever comes first,
the new one or one that another exchange gives back.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from gatewright.proxy import ports

if TYPE_CHECKING:
    from gatewright.proxy.endpoints import Endpoint
    from gatewright.proxy.exchange import Exchange
    from gatewright.proxy.ports import World
    from gatewright.snapshot.model import Pool as PoolSpec
    from gatewright.worker.net.h1_client import H1Client


class Pool:
    """Bounded in connections, in idle connections and in waiters. Lives as long as its endpoint."""

    __slots__ = (
        "closed",
        "connect_timeout",
        "connecting",
        "created",
        "deadline",
        "endpoint",
        "idle",
        "most_idle",
        "most_open",
        "open",
        "reused",
        "spec",
        "tls",
        "waiters",
        "wheel_at",
        "world",
    )

    def __init__(self, endpoint: Endpoint, world: World) -> None:
        self.endpoint = endpoint
        self.world = world
        self.spec: PoolSpec
        #: What makes its connections secure (``tls.client.ClientTls``), or None. Never changed: see compile.
        self.tls: Any = None
        self.connect_timeout = 0.0
        self.idle: list[H1Client] = []
        self.waiters: deque[Exchange] = deque()
        #: Connections that exist, the idle and those being opened included.
        self.open = 0
        self.connecting = 0
        self.closed = False
        self.deadline = 0.0
        self.wheel_at = 0
        self.most_open = self.most_idle = 0
        #: Connections made, and requests that found one waiting; they only grow.
        self.created = 0
        self.reused = 0

    def configure(self, spec: PoolSpec, connect_timeout: float, workers: int) -> None:
        """Take over limits; each worker gets its share of the gateway's."""
        self.spec = spec
        self.connect_timeout = connect_timeout
        self.most_open = max(1, -(-spec.max_connections // workers))
        self.most_idle = max(0, -(-spec.max_idle // workers))
        for _ in range(len(self.waiters)):  # there may be room for more now
            self._refill()

    def take(self) -> H1Client | None:
        """An idle connection, or None. Hot."""
        idle = self.idle
        while idle:
            connection = idle.pop()
            if connection.alive:
                self.reused += 1
                return connection
        return None

    def wait(self, exchange: Exchange) -> None:
        """Queue ``exchange`` for a connection; it fails at once when the queue is full."""
        # Those for whom a connection is being opened are not in anybody's way.
        if len(self.waiters) - self.connecting >= self.spec.max_waiting and self.open >= self.most_open:
            exchange.upstream_failed(ports.OVERLOADED)
            return
        exchange.wait_until = self.world.now + self.spec.wait_timeout
        self.waiters.append(exchange)
        if self.open < self.most_open and self.connecting < len(self.waiters):
            self._connect()
        elif self.connecting < len(self.waiters):
            self._watch()

    def forget(self, exchange: Exchange) -> None:
        """``exchange`` no longer waits."""
        try:
            self.waiters.remove(exchange)
        except ValueError:
            return  # it was handed a connection, or failed, in the same turn
        if not self.waiters:
            self.world.unwatch(self)

    def give_back(self, connection: H1Client) -> None:
        """``connection`` is free and can be used again. Hot."""
        if self.waiters:
            self._first().connected(connection)
        elif self.closed or len(self.idle) >= self.most_idle:
            connection.close()
        else:
            self.idle.append(connection)

    def connected(self, connection: Any) -> None:
        """A connection that :meth:`World.connect` opened."""
        if not connection.alive:  # closed again before anybody could use it
            self.failed(ports.CONNECT)
            return
        self.connecting -= 1
        connection.pooled = True
        if not self.waiters:  # who had asked for it has been served or has gone
            connection.deadline = self.world.now + self.spec.idle_timeout
            self.world.watch(connection)
        self.give_back(connection)

    def failed(self, condition: str) -> None:
        """A connection could not be opened: the exchange that waits longest is told why, the next one may try."""
        self.connecting -= 1
        self.open -= 1
        if self.waiters:
            self._first().upstream_failed(condition)
            self._refill()

    def lost(self, connection: H1Client) -> None:
        """``connection`` is gone. A waiter may have its place."""
        self.open -= 1
        if connection in self.idle:
            self.idle.remove(connection)
        self._refill()

    def close(self) -> None:
        """The endpoint is no longer used: idle connections go now, the others when they come back."""
        self.closed = True
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()

    def counts(self) -> tuple[int, int]:
        """How many connections are idle, and how many are busy."""
        idle = len(self.idle)
        return idle, self.open - idle - self.connecting

    def on_deadline(self, now: float) -> None:
        """Waiters whose time is over are refused; they queue in the order of their time."""
        while self.waiters and self.waiters[0].wait_until <= now:
            self.waiters.popleft().upstream_failed(ports.OVERLOADED)
        self._watch()

    def _first(self) -> Exchange:
        """The exchange that waits longest, which no longer does."""
        exchange = self.waiters.popleft()
        if not self.waiters:
            self.world.unwatch(self)
        return exchange

    def _refill(self) -> None:
        """There is room again: open a connection for a waiter for whom none is being opened."""
        if self.connecting < len(self.waiters) and self.open < self.most_open:
            self._connect()

    def _connect(self) -> None:
        self.open += 1
        self.created += 1
        self.connecting += 1
        self.world.connect(self, self.endpoint)

    def _watch(self) -> None:
        if self.waiters:
            self.deadline = self.waiters[0].wait_until
            self.world.watch(self)
