"""HTTP/1.1 towards an endpoint: one connection, one exchange at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from gatewright.errors import ProtocolError
from gatewright.http.head import HTTP2, HTTP11
from gatewright.http.headers import Pair
from gatewright.http.status import NO_BODY
from gatewright.proxy import ports
from gatewright.proxy.forward import request_head
from gatewright.proxy.respond import core_reply
from gatewright.tls.client import failure_of
from gatewright.wire.chunked import ChunkedReader, write_chunk, write_end
from gatewright.wire.h1 import CHUNKED, CRLF2, UNTIL_CLOSE, ResponseFields, parse_status_line
from gatewright.wire.sections import Sections
from gatewright.wire.websocket import accept_of
from gatewright.worker.net.heartbeat import Heartbeat, heartbeat_of
from gatewright.worker.net.timers import TICK

if TYPE_CHECKING:
    from gatewright.proxy.exchange import Exchange
    from gatewright.proxy.pool import Pool
    from gatewright.worker.net.tunnel import Tunnel
    from gatewright.worker.world import World

IDLE, HEAD, BODY, TUNNEL, CLOSED = range(5)

_NEVER = 86_400.0
_CLOSING_SECONDS = 10.0
_FAREWELL_SECONDS = 1.0
_MOST_HEAD = 64 * 1024
_MOST_FIELDS = 256
_MOST_INFORMATIONAL = 16  # 1xx responses before a final one
#: Write buffer above which the client is paused, and below which it goes on.
WRITE_HIGH, WRITE_LOW = 64 * 1024, 16 * 1024
#: Pieces up to this size are joined with what goes before them; larger ones are written by themselves.
JOIN_AT_MOST = 16 * 1024


class H1Client(asyncio.Protocol):
    """A connection to an endpoint. Its pool made it and takes it back."""

    __slots__ = (
        "alive", "born", "buffer", "chunked", "deadline", "exchange", "gap", "heartbeat", "informational",
        "keep", "left", "out", "pool", "pooled", "reader", "sections", "state", "transport", "tunnel", "used",
        "wheel_at", "world",
    )  # fmt: skip

    def __init__(self, world: World, pool: Pool) -> None:
        # worker
        self.world = world
        self.pool = pool
        # connection
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.state = IDLE
        self.alive = False
        #: Its pool has been handed it, and wants to hear of its end.
        self.pooled = False
        self.born = 0.0
        self.used = 0
        self.deadline = 0.0
        self.wheel_at = 0
        self.buffer = b""
        self.sections = Sections(ResponseFields)
        self.out: list[bytes] = []
        self.tunnel: Tunnel | None = None
        # exchange
        self.exchange: Exchange | None = None
        self.chunked = False
        self.keep = False
        self.left = 0
        self.informational = 0
        self.reader: ChunkedReader | None = None
        #: Silence allowed while the body comes. With heartbeats: silence before the next one.
        self.gap = 0.0
        self.heartbeat: Heartbeat | None = None

    # --- connection ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected; the connector hands the connection to its pool."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(WRITE_HIGH, WRITE_LOW)
        self.alive = True
        self.born = self.world.now

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whoever's doing."""
        self.alive = False
        state, self.state = self.state, CLOSED
        self.world.unwatch(self)
        if state == TUNNEL and self.tunnel is not None:
            self.tunnel.lost(from_client=False)
        exchange, self.exchange = self.exchange, None
        if self.pooled:
            self.pool.lost(self)
        if exchange is not None:
            self._lost_during(exchange, state, exc)

    def _lost_during(self, exchange: Exchange, state: int, exc: Exception | None) -> None:
        refusal = failure_of(exc) if exc is not None and self.pool.tls is not None else None
        if refusal is not None:
            self.world.insecure(self.pool, refusal)
        if state == HEAD and refusal is not None and self.used == 1 and not self.buffer:
            # In TLS 1.3 an endpoint that does not accept our certificate says so after the handshake.
            exchange.upstream_failed(ports.TLS)
        elif state == HEAD:
            # A connection that had served before and ends without a word had been closed before our request came.
            stale = self.used > 1 and not self.buffer
            exchange.upstream_failed(ports.STALE if stale else ports.RESET)
        elif state == BODY:
            exchange.upstream_failed(ports.TRUNCATED)

    def eof_received(self) -> bool:
        """The endpoint will send no more."""
        if self.state == TUNNEL:
            return self.tunnel.half_closed(from_client=False)  # type: ignore[union-attr]
        if self.state == BODY and self.left == UNTIL_CLOSE:
            client = self.exchange.client  # type: ignore[union-attr]
            self.keep = False
            self._end(())
            client.flush()
        return False

    def close(self) -> None:
        """Close after what has been written; an endpoint that does not read it in time loses it."""
        self.alive = False
        self.transport.close()
        self._expect(closing_time(self.transport))

    def cancel(self) -> None:
        """The exchange is given up: what is still to come on this connection is nobody's."""
        self.exchange = None
        self.alive = False
        self.transport.abort()

    # --- request ------------------------------------------------------------------------------------------------------

    def start(self, exchange: Exchange, framing: int) -> None:
        """Send the request's head. Hot."""
        head = request_head(exchange)
        self.exchange = exchange
        self.state = HEAD
        self.used += 1
        self.informational = 0
        if not framing:
            world = self.world
            self.deadline = world.now + exchange.timeouts.first_byte
            if not self.wheel_at or self.deadline < (self.wheel_at - 1) * TICK:
                world.watch(self)
            self.chunked = False
            head.append(b"\r\n")
            self.transport.write(b"".join(head))
            return
        self.deadline = self.world.now + _NEVER  # until the body is complete the client's time counts
        self.chunked = framing == CHUNKED
        head.append(b"transfer-encoding: chunked\r\n\r\n" if self.chunked else b"\r\n")
        self.out = head

    def send_body(self, data: bytes) -> None:
        """A piece of the request body."""
        out = self.out
        if self.chunked:
            write_chunk(out, data)
        elif len(data) > JOIN_AT_MOST:
            self.flush()
            self.transport.write(data)
        else:
            out.append(data)

    def send_end(self, trailers: tuple[Pair, ...]) -> None:
        """The request body is complete."""
        if self.chunked:
            self.out.append(write_end(trailers))
        if self.exchange is not None and self.state == HEAD:
            self._expect(self.exchange.timeouts.first_byte)

    def flush(self) -> None:
        """Write what has been gathered."""
        out = self.out
        if out and self.alive:
            self.out = []
            self.transport.write(b"".join(out))

    def pause_writing(self) -> None:
        """The endpoint reads more slowly than the client sends."""
        if self.tunnel is not None:
            self.tunnel.pause(client=True)
        elif self.exchange is not None:
            self.exchange.client.pause_request()
            self._expect(self.exchange.timeouts.idle)

    def resume_writing(self) -> None:
        """The endpoint has caught up."""
        if self.tunnel is not None:
            self.tunnel.resume(client=True)
        elif self.exchange is not None:
            self.exchange.client.resume_request()
            body = self.exchange.body
            if self.state == HEAD and body is not None and not body.done:
                self.deadline = self.world.now + _NEVER

    # --- response -----------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Stop reading: the client reads more slowly than the endpoint sends."""
        if self.alive:
            self.transport.pause_reading()
            self.deadline = self.world.now + _NEVER  # the client's own limit counts now, not the endpoint's

    def resume(self) -> None:
        """Go on reading."""
        if self.alive:
            self.transport.resume_reading()
            exchange = self.exchange
            if exchange is None:
                return
            if self.state == BODY:
                self._expect(exchange.timeouts.idle)
            elif exchange.body is None or exchange.body.done:
                self._expect(exchange.timeouts.first_byte)

    def data_received(self, data: bytes) -> None:
        """Bytes from the endpoint. Hot."""
        state = self.state
        if state == TUNNEL:
            self.tunnel.from_upstream(data)  # type: ignore[union-attr]
            return
        exchange = self.exchange
        if exchange is None:
            self.close()  # nobody asked: a connection that speaks first cannot be trusted with the next request
            return
        client = exchange.client
        try:
            if state == HEAD:
                self._head(exchange, self.buffer + data if self.buffer else data)
            else:
                self._body(exchange, data)
        except ProtocolError as error:
            self._malformed(error)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not cost more than this exchange
            self._bug(exchange, error)
        client.flush()

    def _head(self, exchange: Exchange, data: bytes) -> None:
        end = data.find(CRLF2)
        if end < 0:
            return self._incomplete(data)
        eol = data.find(b"\r\n")
        version, status = parse_status_line(data[:eol])
        fields = self.sections.read(data[eol + 2 : end], _MOST_FIELDS)
        rest = data[end + 4 :]
        self.buffer = b""
        if status < 200:
            return self._informational(exchange, status, fields, rest)
        self.keep = b"close" not in fields.connection if version == HTTP11 else _kept_by_http10(fields)
        framing = fields.framing
        if exchange.request.method == b"HEAD" or status in NO_BODY:
            framing = 0
        self.left = framing
        self.state = BODY
        timeouts = exchange.timeouts
        self.deadline = self.world.now + timeouts.idle
        if timeouts.idle < timeouts.first_byte:
            self.world.watch(self)
        self.gap = timeouts.idle
        self.heartbeat = None
        if fields.events:
            self._stream(exchange)
        exchange.on_response_head(status, fields, framing)
        if self.exchange is not exchange:
            return None  # a retry or a policy has let go of this connection
        if len(rest) == framing:  # the usual case: all of it in one segment
            if framing:
                exchange.on_response_body(rest)
            return self._end(()) if self.exchange is exchange else None
        return self._first_piece(exchange, framing, rest)

    def _first_piece(self, exchange: Exchange, framing: int, rest: bytes) -> None:
        """What came with the head is not the whole body."""
        if framing == 0:
            return self._complete(rest)
        if framing == CHUNKED:
            self.reader = ChunkedReader()
        return self._body(exchange, rest) if rest else None

    def _stream(self, exchange: Exchange) -> None:
        """Server-sent events: each piece leaves at once anyway; silence may be filled with comments."""
        exchange.protocol = "sse"
        self.heartbeat = heartbeat = heartbeat_of(exchange, self.world.now)
        if heartbeat is not None:
            self.gap = heartbeat.every
            self._expect(heartbeat.every)

    def _body(self, exchange: Exchange, data: bytes) -> None:
        left = self.left
        self.deadline = self.world.now + self.gap
        if self.heartbeat is not None:
            self.heartbeat.heard(data, self.world.now)
        if left > 0:
            size = len(data)
            if size < left:
                self.left = left - size
                return exchange.on_response_body(data)
            rest = b""
            if size > left:
                data, rest = data[:left], data[left:]
            self.left = 0
            exchange.on_response_body(data)
            if self.exchange is exchange:
                self._complete(rest)
            return None
        if left == UNTIL_CLOSE:
            return exchange.on_response_body(data)
        return self._chunks(exchange, data)

    def _chunks(self, exchange: Exchange, data: bytes) -> None:
        reader = self.reader
        if reader is None:
            return
        for piece in reader.feed(data):
            exchange.on_response_body(piece)
            if self.exchange is not exchange:
                return
        if reader.done:
            self.reader = None
            self._complete(reader.rest, reader.trailers)

    def _complete(self, rest: bytes, trailers: tuple[Pair, ...] = ()) -> None:
        if rest:
            self.keep = False  # bytes that nobody asked for: the connection is not used again
        self._end(trailers)

    def _end(self, trailers: tuple[Pair, ...]) -> None:
        """The response is complete: free the connection, then tell the exchange."""
        exchange = self.exchange
        if exchange is None:
            return
        self.exchange = None
        self.left = 0
        body = exchange.body
        pool = self.pool
        spec = pool.spec
        if (
            self.keep
            and not self.out
            and (body is None or body.done)
            and (spec.max_age is None or self.world.now - self.born < spec.max_age)
        ):
            self.state = IDLE
            self.deadline = self.world.now + spec.idle_timeout
            pool.give_back(self)
        else:
            self.state = CLOSED
            self.close()
        exchange.on_response_end(trailers)

    def _informational(self, exchange: Exchange, status: int, fields: ResponseFields, rest: bytes) -> None:
        """1xx: passed on, and the real response is still to come (RFC 9110 section 15.2)."""
        if status == 101:
            return self._switch(exchange, fields, rest)
        self.informational += 1
        if self.informational > _MOST_INFORMATIONAL:
            raise ProtocolError("upstream.malformed", 502, "too many informational responses")
        exchange.client.send_informational(status, fields)
        if rest:
            self._head(exchange, rest)
        return None

    def _switch(self, exchange: Exchange, fields: ResponseFields, rest: bytes) -> None:
        if exchange.protocol != "websocket" or fields.upgrade != b"websocket":
            raise ProtocolError("upstream.malformed", 502, "a switch of protocols that was not asked for")
        if exchange.request.version == HTTP2:  # the client cannot check this, for it has not made the key
            key = exchange.request.headers.get(b"sec-websocket-key") or b""
            if fields.index.get(b"sec-websocket-accept") != accept_of(key):
                raise ProtocolError("upstream.malformed", 502, "a Sec-WebSocket-Accept that answers another key")
        self.buffer = rest
        exchange.on_response_head(101, fields, 0)
        if self.exchange is exchange and exchange.response_started:  # else a response hook waits
            self.switch()

    def switch(self) -> None:
        """The 101 has been passed on: carry bytes both ways from now on."""
        self.state = TUNNEL
        self.world.unwatch(self)  # the tunnel keeps the time for both
        early, self.buffer = self.buffer, b""
        self.exchange.client.tunnel(self, early)  # type: ignore[union-attr]

    def _incomplete(self, data: bytes) -> None:
        if len(data) > _MOST_HEAD:
            raise ProtocolError("upstream.malformed", 502, "the response's header section is too large")
        if data.count(b"\n") != data.count(b"\r\n"):
            raise ProtocolError("upstream.malformed", 502, "a bare line feed stands in the header section")
        if not b"HTTP/1.".startswith(data[:7]):
            raise ProtocolError("upstream.malformed", 502, "this is not HTTP/1")
        self.buffer = data

    def _malformed(self, error: ProtocolError) -> None:
        exchange, self.exchange = self.exchange, None
        self.alive = False
        self.transport.abort()
        if exchange is not None:
            self.world.note("upstream.malformed", endpoint=self.pool.endpoint.key, detail=error.detail)
            exchange.upstream_failed(ports.MALFORMED)

    def _bug(self, exchange: Exchange, error: Exception) -> None:
        self.world.bug("a response", error)
        self.exchange = None
        self.alive = False
        self.transport.abort()
        exchange.conn = None
        exchange.answer(core_reply("internal.error"), len(exchange.route.response_chain))

    # --- time ---------------------------------------------------------------------------------------------------------

    def _expect(self, seconds: float) -> None:
        self.deadline = deadline = self.world.now + seconds
        if not self.wheel_at or deadline < (self.wheel_at - 1) * TICK:
            self.world.watch(self)

    def on_deadline(self, now: float) -> None:
        """Nothing came in time: an idle connection is closed, a try has failed."""
        exchange = self.exchange
        if exchange is None:
            if self.transport.is_closing():
                self.transport.abort()
            else:
                self.close()
            return
        if self.state == BODY and self.heartbeat is not None and self.heartbeat.beat(exchange, now):
            self._expect(self.gap)
            return
        condition = ports.TIMEOUT if self.state == HEAD else ports.IDLE
        self.exchange = None
        self.alive = False
        self.transport.abort()
        exchange.upstream_failed(condition)


def closing_time(transport: asyncio.Transport) -> float:
    """Seconds for the end of a connection: for what has not been sent, or only for the other end's farewell (TLS)."""
    return _CLOSING_SECONDS if transport.get_write_buffer_size() else _FAREWELL_SECONDS


def _kept_by_http10(fields: ResponseFields) -> bool:
    """Whether an HTTP/1.0 server keeps the connection. Raises ProtocolError for what HTTP/1.0 has not."""
    if fields.framing == CHUNKED:
        raise ProtocolError("upstream.malformed", 502, "a chunked response of HTTP/1.0")
    return b"keep-alive" in fields.connection
