"""What all pools of connections share: their bounds, and the exchanges that wait for a connection."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

from gatewright.proxy import ports

if TYPE_CHECKING:
    from gatewright.proxy.endpoints import Endpoint
    from gatewright.proxy.exchange import Exchange
    from gatewright.proxy.ports import World
    from gatewright.snapshot.model import Pool as PoolSpec


class WaitingPool:
    """Bounded in connections and in waiters. Lives as long as its endpoint."""

    __slots__ = (
        "closed", "connect_timeout", "connecting", "created", "deadline", "endpoint", "most_open", "open", "reused",
        "spec", "tls", "waiters", "wheel_at", "world",
    )  # fmt: skip

    #: Waiters that a connection which is being opened will surely serve at once.
    serves: ClassVar[int] = 1

    def __init__(self, endpoint: Endpoint, world: World) -> None:
        self.endpoint = endpoint
        self.world = world
        self.spec: PoolSpec
        #: What makes its connections secure (``tls.client.ClientTls``), or None. Never changed: see compile.
        self.tls: Any = None
        self.connect_timeout = 0.0
        self.waiters: deque[Exchange] = deque()
        #: Connections that exist, the idle, the ending and those being opened included.
        self.open = 0
        self.connecting = 0
        self.closed = False
        self.deadline = 0.0
        self.wheel_at = 0
        self.most_open = 0
        #: Connections made, and requests that found one waiting; they only grow.
        self.created = 0
        self.reused = 0

    def configure(self, spec: PoolSpec, connect_timeout: float, workers: int) -> None:
        """Take over limits; each worker gets its share of the gateway's."""
        self.spec = spec
        self.connect_timeout = connect_timeout
        self.most_open = max(1, -(-spec.max_connections // workers))
        self._refill()  # there may be room for more now

    def wait(self, exchange: Exchange) -> None:
        """Queue ``exchange`` for a connection; it fails at once when the queue is full."""
        # Those for whom a connection is being opened are not in anybody's way.
        coming = self.connecting * self.serves
        if len(self.waiters) - coming >= self.spec.max_waiting and self.open >= self.most_open:
            exchange.upstream_failed(ports.OVERLOADED)
            return
        exchange.wait_until = self.world.now + self.spec.wait_timeout
        self.waiters.append(exchange)
        self._refill()
        if self.connecting * self.serves < len(self.waiters):
            self._watch()

    def forget(self, exchange: Exchange) -> None:
        """``exchange`` no longer waits."""
        try:
            self.waiters.remove(exchange)
        except ValueError:
            return  # it was handed a connection, or failed, in the same turn
        if not self.waiters:
            self.world.unwatch(self)

    def failed(self, condition: str) -> None:
        """A connection could not be opened: those who waited for it are told why, the next ones may try."""
        self.connecting -= 1
        self.open -= 1
        for _ in range(min(len(self.waiters), self.serves)):
            if self.waiters:
                self._first().upstream_failed(condition)
        self._refill()

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
        """Open connections for waiters for whom none is being opened."""
        while self.open < self.most_open and self.connecting * self.serves < len(self.waiters):
            self.open += 1
            self.created += 1
            self.connecting += 1
            self.world.connect(self, self.endpoint)

    def _watch(self) -> None:
        if self.waiters:
            self.deadline = self.waiters[0].wait_until
            self.world.watch(self)
