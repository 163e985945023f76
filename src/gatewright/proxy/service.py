"""Asking other HTTP services: what is behind :meth:`gatewright.sdk.Env.service`.

A service is an upstream that stands in no route. A question to it is an exchange of its own
(:class:`~gatewright.proxy.inner_exchange.InnerExchange`) whose client, :class:`Call`, keeps the answer in memory.
Nothing here runs for requests that ask nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from gatewright.http.answer import Answer, ServiceError
from gatewright.http.forwarding import HOP_BY_HOP, Origin
from gatewright.http.head import HTTP11, RequestHead, ResponseHead
from gatewright.http.headers import TOKEN_OCTETS, Fields, Headers, Pair, check_field
from gatewright.proxy.inner_exchange import InnerExchange
from gatewright.proxy.record import RouteStats
from gatewright.proxy.runtime import Route

if TYPE_CHECKING:
    from gatewright.proxy.endpoints import Upstream
    from gatewright.proxy.ports import Promise, World
    from gatewright.proxy.retry import RetryPolicy
    from gatewright.snapshot.model import Timeouts
    from gatewright.tls.server import Session

_NOT_SENT = HOP_BY_HOP | {b"host"}
_TARGET_OCTETS = bytes(range(0x21, 0x7F))
_BODILESS = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"DELETE"})
_AGENT = (b"user-agent", b"gatewright")
_ORIGIN = Origin("", b"http", b"")


class _Nowhere:
    """Stands where other exchanges have their listener."""

    __slots__ = ("name", "unmatched", "upstreams")

    def __init__(self) -> None:
        self.name = ""
        self.unmatched = Route("", RouteStats(("",), []))
        self.upstreams: dict[str, Upstream] = {}


_NOWHERE = _Nowhere()


class Call:
    """The client's side of a question (``ports.Downstream``): gathers the answer, within its limits."""

    __slots__ = (
        "_body", "_exchange", "_fields", "_left", "_status", "_world", "deadline", "error", "promise", "wheel_at",
    )  # fmt: skip

    #: There is no handshake with ourselves.
    tls: Session | None = None

    def __init__(self, world: World, most: int) -> None:
        self._world = world
        self._exchange: InnerExchange | None = None
        self._left = most
        self._status = 0
        self._fields: tuple[Pair, ...] = ()
        self._body: list[bytes] = []
        #: Done when the answer is complete, or it is known that there will be none.
        self.promise: Promise = world.promise()
        #: Why there is no answer; empty when there is one.
        self.error = ""
        self.deadline = 0.0
        self.wheel_at = 0

    def start(self, exchange: InnerExchange) -> None:
        """The question has been made; it is about to be asked."""
        self._exchange = exchange

    def answer(self) -> Answer:
        """What has come. Raises ServiceError when nothing has."""
        if self.error:
            raise ServiceError(self.error)
        return Answer(self._status, self._fields, b"".join(self._body))

    def give_up(self) -> None:
        """Nobody waits for the answer any more."""
        if self._exchange is not None:
            self._exchange.on_client_gone()

    # --- ports.Downstream ---------------------------------------------------------------------------------------------

    def send_informational(self, status: int, fields: Fields) -> None:
        """Of no use here."""

    def send_head(self, response: ResponseHead, framing: int) -> None:
        """The answer begins."""
        self._status = response.status
        self._fields = tuple(response.headers)
        if framing > self._left:
            self._too_large()

    def send_body(self, data: bytes) -> None:
        """A piece of its body."""
        self._left -= len(data)
        if self._left < 0:
            return self._too_large()
        self._body.append(data)
        return None

    def _too_large(self) -> None:
        self._body.clear()
        if self._exchange is not None:
            self._exchange.give_up("upstream.too_large")

    def send_end(self, trailers: tuple[Pair, ...]) -> None:
        """The answer is complete."""

    def flush(self) -> None:
        """There is nothing to write."""

    def abort(self) -> None:
        """Nobody is to be told but who has asked."""

    def pause_request(self) -> None:
        """The question has been given whole."""

    def resume_request(self) -> None:
        """As above."""

    def limit(self, at: float) -> None:
        """Time is over then."""
        self.deadline = at
        self._world.watch(self)

    def on_deadline(self, now: float) -> None:
        """Time is over."""
        if self._exchange is not None:
            self._exchange.on_time_over()

    def tunnel(self, upstream: Any, early: bytes) -> None:
        """Never asked for."""
        raise NotImplementedError("a question does not ask for a tunnel")

    def done(self) -> None:
        """Let who has asked go on."""
        exchange, self._exchange = self._exchange, None
        self._world.unwatch(self)
        if exchange is not None:
            self.error = exchange.reason
        if not self.promise.done():  # the asker may have been cancelled, and its promise with it
            self.promise.set_result(None)


class ServiceClient:
    """Asks one service (:class:`gatewright.sdk.Service`).

    Args:
        world: The worker.
        upstream: Stands for the service; shared by all who ask it.
        target: Path and query of the service's URL.
        timeouts: Of connections; silence is measured by ``seconds`` alone, so these are longer.
        retries: Which questions are asked again.
        seconds: For each answer, retries and waiting for a connection included.
        most: Bytes of the largest answer.
    """

    __slots__ = ("_most", "_retries", "_seconds", "_target", "_timeouts", "_upstream", "_world")

    def __init__(
        self,
        world: World,
        upstream: Upstream,
        target: bytes,
        timeouts: Timeouts,
        retries: RetryPolicy,
        seconds: float,
        most: int,
    ) -> None:
        self._world = world
        self._upstream = upstream
        self._target = target
        self._timeouts = timeouts
        self._retries = retries
        self._seconds = seconds
        self._most = most

    # cold: only requests that ask a service come here
    async def ask(self, method: bytes, path: bytes, headers: Sequence[Pair] = (), body: bytes = b"") -> Answer:
        """Ask, and wait for the answer."""
        call = self._begin(method, path or self._target, headers, body)
        try:
            await call.promise
        finally:
            call.give_up()
        return call.answer()

    def _begin(self, method: bytes, path: bytes, headers: Sequence[Pair], body: bytes) -> Call:
        if not method or method.translate(None, TOKEN_OCTETS):
            raise ValueError(f"not a method: {method!r}")
        if path[:1] != b"/" or path.translate(None, _TARGET_OCTETS) or b"#" in path:
            raise ValueError("not a path: it begins with a slash, and other octets than visible ASCII are encoded")
        fields = Fields((*_checked(headers), *_framing(method, body)))
        head = RequestHead(method, path, path, None, b"", b"", b"http", HTTP11, Headers(fields))
        call = Call(self._world, self._most)
        exchange = InnerExchange(self._world, call, cast("Any", _NOWHERE), head, _ORIGIN, len(body))
        call.start(exchange)
        exchange.ask(self._upstream, self._timeouts, self._retries, self._seconds, body)
        return call


def _framing(method: bytes, body: bytes) -> tuple[Pair, ...]:
    """Content-Length; also for no body where one could be (RFC 9110 section 8.6)."""
    return ((b"content-length", b"%d" % len(body)),) if body or method not in _BODILESS else ()


def _checked(headers: Sequence[Pair]) -> list[Pair]:
    """Fields that can be sent, with the gateway's name. Raises ValueError for others."""
    found = list(headers)
    for name, value in found:
        check_field(name, value)
        if name in _NOT_SENT:
            raise ValueError(f"the gateway itself sends {name.decode()}")
    if not any(name == b"user-agent" for name, _ in found):
        found.append(_AGENT)
    return found
