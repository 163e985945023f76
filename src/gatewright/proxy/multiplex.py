"""The HTTP/2 connections to one endpoint, each of which carries many exchanges.

Exchanges share a connection up to the number of streams that the endpoint allows; only when all connections are full is
another one opened. An exchange that finds no room queues until a stream ends or a connection is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatewright.proxy import ports
from gatewright.proxy.waiting import WaitingPool

if TYPE_CHECKING:
    from gatewright.proxy.endpoints import Endpoint
    from gatewright.proxy.ports import MultiplexConnection, UpstreamConnection, World


class MultiplexPool(WaitingPool):
    """Fills one connection before it opens another."""

    __slots__ = ("connections",)

    serves = 100  # streams that an endpoint should not refuse (RFC 9113 section 6.5.2)

    def __init__(self, endpoint: Endpoint, world: World) -> None:
        super().__init__(endpoint, world)
        #: Connections that take streams, in the order in which they are filled.
        self.connections: list[MultiplexConnection] = []

    def take(self) -> UpstreamConnection | None:
        """A stream on a connection that has room, or None. Hot."""
        for connection in self.connections:
            if connection.room > 0:
                self.reused += 1
                return connection.stream()
        return None

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
