"""The worker around its exchanges: time, connections, waiting, logging (implements ``proxy.ports.World``)."""

from __future__ import annotations

import asyncio
import os
import random
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from gatewright.clock import Clock
from gatewright.http.fields import http_date
from gatewright.ipc.messages import Log, Message
from gatewright.proxy import ports
from gatewright.proxy.families import TLS_FAILURES
from gatewright.proxy.multiplex import MultiplexPool
from gatewright.proxy.pool import Pool
from gatewright.tls.client import TlsFailure
from gatewright.worker.net.dial import dial
from gatewright.worker.net.h1_client import H1Client
from gatewright.worker.net.h2_client import H2Client
from gatewright.worker.net.timers import TICK, Timed, Wheel
from gatewright.worker.spawn import Spawner

if TYPE_CHECKING:
    from gatewright.proxy.endpoints import Endpoint
    from gatewright.proxy.exchange import Exchange
    from gatewright.proxy.record import WorkerStats
    from gatewright.tls.client import ClientTls
    from gatewright.worker.net.tunnel import Tunnel

#: The connections to an endpoint, one exchange at a time or many.
AnyPool: TypeAlias = Pool | MultiplexPool

_FLUSH_EVERY = 2  # ticks between flushes of the access log
_NOTES_PER_SECOND = 10  # reports of one worker that reach the error log; the rest is counted


class Writing(Protocol):
    """Has gathered bytes to be written."""

    def write(self) -> None:
        """Write them."""


class World:
    """One per worker."""

    __slots__ = (
        "_dirty", "_flush", "_flush_in", "_id_count", "_id_prefix", "_loop", "_notes_left", "_publish", "_second",
        "_spawner", "_suppressed", "_wheel", "clock", "date_line", "log", "now", "rand", "stats", "tunnels",
        "unwatch", "wall", "watch",
    )  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, stats: WorkerStats, publish: Callable[[Message], Any]
    ) -> None:
        self._loop = loop
        self._publish = publish
        self._spawner = Spawner(self._report)
        #: Exact monotonic seconds, and the same as of the last tick.
        self.clock = clock.monotonic
        self.wall = clock.wall
        self.now = clock.monotonic()
        self.rand = random.random
        self.stats = stats
        self.tunnels: set[Tunnel] = set()
        self._wheel = Wheel(self.now, self.bug)
        self.watch: Callable[[Timed], None] = self._wheel.at
        self.unwatch: Callable[[Timed], None] = self._wheel.drop
        #: Writes the access record of a finished exchange; replaced with the configured log.
        self.log: Callable[[Exchange], None] = _no_log
        self._flush: Callable[[], None] | None = None
        self._flush_in = _FLUSH_EVERY
        self._second = -1
        self.date_line = b""
        self._notes_left = _NOTES_PER_SECOND
        self._suppressed = 0
        self._dirty: list[Writing] = []
        self._id_prefix = os.urandom(6).hex().encode()
        self._id_count = int.from_bytes(os.urandom(3), "big")
        self.set_date()

    # --- time ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to tick."""
        self._loop.call_later(TICK, self._beat)

    def _beat(self) -> None:
        self._loop.call_later(TICK, self._beat)
        self.tick()

    def tick(self) -> None:
        """Let the time that has passed take effect."""
        self.now = now = self.clock()
        self._wheel.tick(now)
        self._flush_in -= 1
        if self._flush_in <= 0:
            self._flush_in = _FLUSH_EVERY
            if self._flush is not None:
                self._flush()
            self.set_date()

    def set_date(self) -> None:
        """Renew the Date line when a second has begun."""
        wall = self.wall()
        if int(wall) != self._second:
            self._second = int(wall)
            self.date_line = b"date: %b\r\n" % http_date(wall)
            self._notes_left = _NOTES_PER_SECOND
            if self._suppressed:
                suppressed, self._suppressed = self._suppressed, 0
                self.note("worker.suppressed", count=str(suppressed))

    def later(self, delay: float, callback: Callable[[], None]) -> ports.Timer:
        """Call back after ``delay`` seconds. For retries, not for every request."""
        return self._loop.call_later(delay, callback)

    def soon(self, callback: Callable[[], None]) -> None:
        """Call back when what the loop is at now is done."""
        self._loop.call_soon(callback)

    def write_soon(self, connection: Writing) -> None:
        """Let ``connection`` write at the end of this turn of the loop: what several exchanges send goes in one."""
        if not self._dirty:
            self.soon(self._write)
        self._dirty.append(connection)

    def _write(self) -> None:
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            try:
                connection.write()
            except Exception as bug:  # noqa: BLE001 - a bug of ours must not keep the others waiting
                self.bug("writing", bug)

    def log_to(self, append: Callable[[Exchange], None] | None, flush: Callable[[], None] | None) -> None:
        """Where access records go from now on."""
        self.log = append or _no_log
        self._flush = flush

    @property
    def watched(self) -> int:
        """Things that have a deadline."""
        return len(self._wheel)

    # --- waiting ------------------------------------------------------------------------------------------------------

    def wait(self, awaitable: Awaitable[Any], resume: Callable[[Any, BaseException | None], None]) -> ports.Timer:
        """Await in a Task, then resume."""
        return self._spawner.spawn(_await(awaitable, resume), "policy")

    def promise(self) -> ports.Promise:
        """A future."""
        return self._loop.create_future()

    def client(self, pool: AnyPool) -> H1Client | H2Client:
        """A connection for ``pool``, not yet connected."""
        return H2Client(self, pool) if isinstance(pool, MultiplexPool) else H1Client(self, pool)

    def connect(self, pool: AnyPool, endpoint: Endpoint) -> None:
        """Open a connection for ``pool``."""
        self._spawner.spawn(self._connect(pool, endpoint), "connect")

    async def _connect(self, pool: AnyPool, endpoint: Endpoint) -> None:
        connection = self.client(pool)
        try:
            await dial(self._loop, endpoint, connection, pool.tls, pool.connect_timeout)
        except TlsFailure as failure:
            self.insecure(pool, failure)
            pool.failed(ports.PROTOCOL if failure.cause == "alpn" else ports.TLS)
        except TimeoutError:
            pool.failed(ports.CONNECT_TIMEOUT)
        except (OSError, ValueError):  # ValueError: a host that cannot be one
            pool.failed(ports.CONNECT)
        else:
            pool.connected(connection)

    def insecure(self, pool: AnyPool, failure: TlsFailure) -> None:
        """A connection to an endpoint is not secure: count it, tell the operator (once a second for each endpoint)."""
        tls: ClientTls = pool.tls
        self.stats.count(TLS_FAILURES, tls.upstream, failure.cause)
        now = self.clock()
        if now - tls.noted_at < 1.0:
            return
        tls.noted_at = now
        key = pool.endpoint.key
        message = f"no secure connection to {key}: {failure.detail}"
        self.note("upstream.tls", message=message, upstream=tls.upstream, endpoint=key, cause=failure.cause)

    # --- reports ------------------------------------------------------------------------------------------------------

    def new_id(self) -> bytes:
        """A fresh request id: unique over workers and restarts."""
        self._id_count += 1
        return b"%b%08x" % (self._id_prefix, self._id_count & 0xFFFFFFFF)

    def note(self, event: str, level: str = "warning", **fields: str) -> None:
        """Tell the operator, at most ten times a second."""
        if self._notes_left <= 0:
            self._suppressed += 1
            return
        self._notes_left -= 1
        self._publish(Log(level, event, fields))

    def bug(self, where: str, error: BaseException) -> None:
        """Report what must not happen, with its traceback."""
        trace = "".join(traceback.format_exception(error))
        self.note("worker.bug", "error", message=f"{where}: {error!r}", traceback=trace)

    def _report(self, name: str, error: BaseException) -> None:
        self.bug(f"task {name}", error)


async def _await(awaitable: Awaitable[Any], resume: Callable[[Any, BaseException | None], None]) -> None:
    try:
        result = await awaitable
    except Exception as error:  # noqa: BLE001 - a plugin's own: it becomes an answer, not a crash
        resume(None, error)
    else:
        resume(result, None)


def _no_log(_exchange: Exchange) -> None:
    """Access records are not wanted."""
