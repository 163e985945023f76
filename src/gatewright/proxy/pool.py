"""The connections to one endpoint: idle ones, newest first, and the exchanges that wait for one.

An exchange that finds no idle connection queues here while a new connection is opened; it gets whichever comes first,
the new one or one that another exchange gives back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatewright.proxy import ports
from gatewright.proxy.waiting import WaitingPool

if TYPE_CHECKING:
    from gatewright.proxy.endpoints import Endpoint
    from gatewright.proxy.ports import World
    from gatewright.snapshot.model import Pool as PoolSpec
    from gatewright.worker.net.h1_client import H1Client


class Pool(WaitingPool):
    """Bounded in idle connections too."""

    __slots__ = ("idle", "most_idle")

    def __init__(self, endpoint: Endpoint, world: World) -> None:
        super().__init__(endpoint, world)
        self.idle: list[H1Client] = []
        self.most_idle = 0

    def configure(self, spec: PoolSpec, connect_timeout: float, workers: int) -> None:
        """Take over limits; each worker gets its share of the gateway's."""
        self.most_idle = max(0, -(-spec.max_idle // workers))
        super().configure(spec, connect_timeout, workers)

    def take(self) -> H1Client | None:
        """An idle connection, or None. Hot."""
        idle = self.idle
        while idle:
            connection = idle.pop()
            if connection.alive:
                self.reused += 1
                return connection
        return None

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
