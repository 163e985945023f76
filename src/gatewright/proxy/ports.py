"""What the exchange needs of the transports and of the worker around it; what they may call on the exchange.

The exchange imports none of them. ``worker/net`` implements these for real sockets, the rig for scripted ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Protocol

from gatewright.http.head import ResponseHead
from gatewright.http.headers import Fields, Pair

if TYPE_CHECKING:
    from gatewright.proxy.endpoints import Endpoint
    from gatewright.proxy.exchange import Exchange
    from gatewright.proxy.record import WorkerStats
    from gatewright.tls.server import Session

#: Why a pooled connection or a connection attempt failed; ``reset`` and ``connect`` are also retry conditions.
CONNECT, CONNECT_TIMEOUT, RESET = "connect", "connect_timeout", "reset"
TIMEOUT, IDLE, TRUNCATED, MALFORMED = "timeout", "idle", "truncated", "malformed"
OVERLOADED = "overloaded"
#: No secure connection; a peer that does not speak the upstream's protocol. Nothing of a request was sent.
TLS, PROTOCOL = "tls", "protocol"
#: A connection that had served before was closed by the endpoint before it could have seen the request.
STALE = "stale"
#: The endpoint has said that it has not looked at the request (RFC 9113 section 8.7).
REFUSED = "refused"


class Downstream(Protocol):
    """The client's side of one exchange. Calls after the client has gone do nothing."""

    @property
    def tls(self) -> Session | None:
        """What the handshake of the client's connection has agreed on; None on a plain one."""

    def send_informational(self, status: int, fields: Fields) -> None:
        """Pass a 1xx response on."""

    def send_head(self, response: ResponseHead, framing: int) -> None:
        """Begin the final response. ``framing`` is the number of bytes that follow, CHUNKED or UNTIL_CLOSE."""

    def send_body(self, data: bytes) -> None:
        """A piece of the body."""

    def send_end(self, trailers: tuple[Pair, ...]) -> None:
        """The body is complete."""

    def flush(self) -> None:
        """Write what has been gathered."""

    def abort(self) -> None:
        """The response cannot be completed: make sure that the client notices."""

    def pause_request(self) -> None:
        """Stop reading the request body."""

    def resume_request(self) -> None:
        """Go on reading the request body."""

    def limit(self, at: float) -> None:
        """Call the exchange's ``on_time_over`` at this monotonic time."""

    def tunnel(self, upstream: Any, early: bytes) -> None:
        """Carry bytes both ways from now on; ``early`` came behind the upstream's 101."""

    def done(self) -> None:
        """The exchange is over: go on with the next request, or close."""


class UpstreamConnection(Protocol):
    """A connection to an endpoint, serving one exchange at a time."""

    def start(self, exchange: Exchange, framing: int) -> None:
        """Send the exchange's request head; a body follows when ``framing`` is not 0."""

    def send_body(self, data: bytes) -> None:
        """A piece of the request body."""

    def send_end(self, trailers: tuple[Pair, ...]) -> None:
        """The request body is complete."""

    def flush(self) -> None:
        """Write what has been gathered."""

    def pause(self) -> None:
        """Stop reading the response."""

    def resume(self) -> None:
        """Go on reading the response."""

    def switch(self) -> None:
        """The 101 has been passed on: carry bytes both ways from now on."""

    def cancel(self) -> None:
        """Nobody wants the response any more: the connection is given up."""


class MultiplexConnection(Protocol):
    """A connection to an endpoint that serves many exchanges at a time, each on a stream of its own."""

    alive: bool
    #: The endpoint has said what it allows, and requests can be sent.
    ready: bool
    #: Its pool waits for that.
    awaited: bool
    #: Its pool has been handed it, and wants to hear of its end.
    pooled: bool
    #: How many more streams it takes.
    room: int

    def stream(self) -> UpstreamConnection:
        """A new stream; there must be room."""

    def busy(self) -> bool:
        """Whether it has streams."""

    def retire(self) -> None:
        """Take no more streams, and close when those it has have ended."""


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> object:
        """It is not to come."""


class Promise(Protocol):
    """An awaitable that is made before what it waits for."""

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait."""

    def done(self) -> bool:
        """Whether it has its result, or nobody waits any more."""

    def set_result(self, result: Any) -> None:
        """Let who waits go on, in a later turn. Once, and not when it is done."""


class World(Protocol):
    """The worker around the exchanges."""

    #: Monotonic seconds, renewed by the wheel: good for time limits, not for measuring.
    now: float
    #: Exact monotonic seconds.
    clock: Callable[[], float]
    rand: Callable[[], float]
    stats: WorkerStats
    #: ``date: …`` line for answers of our own, renewed once a second.
    date_line: bytes

    def log(self, exchange: Exchange) -> None:
        """Write the access record."""

    def new_id(self) -> bytes:
        """A fresh request id."""

    def wait(self, awaitable: Awaitable[Any], resume: Callable[[Any, BaseException | None], None]) -> Timer:
        """Await in a Task, then call ``resume(result, error)``. The returned object's ``cancel`` gives it up."""

    def promise(self) -> Promise:
        """For a policy that waits for something of our own."""

    def later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call back after ``delay`` seconds. For rare things only."""

    def connect(self, pool: Any, endpoint: Endpoint) -> None:
        """Open a connection; ends in ``pool.connected`` or ``pool.failed``."""

    def watch(self, timed: Any) -> None:
        """Call ``timed.on_deadline(now)`` when its ``deadline`` has come. It has ``deadline`` and ``wheel_at``."""

    def unwatch(self, timed: Any) -> None:
        """Forget it."""

    def bug(self, where: str, error: BaseException) -> None:
        """Something that must not happen has happened: report it, count it, go on."""
