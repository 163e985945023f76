"""HTTP/1.x from clients: one connection, one exchange at a time, pipelined requests in their order."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, cast

from gatewright.errors import ProtocolError
from gatewright.http.forwarding import Origin, same_way, trace_back
from gatewright.http.head import HTTP11, RequestHead
from gatewright.http.headers import Headers, Pair
from gatewright.http.target import parse_authority
from gatewright.proxy.exchange import Exchange
from gatewright.proxy.grpc_web_exchange import GrpcWebExchange
from gatewright.proxy.respond import core_reply
from gatewright.wire.chunked import ChunkedReader
from gatewright.wire.h1 import CHUNKED, CRLF2, RequestFields, read_request_line
from gatewright.wire.h2.frames import PREFACE_LINE
from gatewright.wire.sections import Sections
from gatewright.worker.net.h1_client import WRITE_HIGH, WRITE_LOW
from gatewright.worker.net.h1_rules import NOBODY, kept_by_http10, same_authority, too_long
from gatewright.worker.net.h1_writer import BODY, BUSY, CLOSED, HEAD, LINGER, TUNNEL, ResponseWriter
from gatewright.worker.net.timers import TICK
from gatewright.worker.net.tunnel import Tunnel

if TYPE_CHECKING:
    from gatewright.proxy.runtime import ListenerRuntime
    from gatewright.tls.server import Session
    from gatewright.worker.net.h1_client import H1Client
    from gatewright.worker.net.listener import Listener
    from gatewright.worker.world import World

_NEVER = 86_400.0
_RESET = struct.pack("ii", 1, 0)  # struct linger: what is unsent is thrown away, and the peer gets a reset
_PIPELINED_AT_MOST = 64 * 1024  # bytes of further requests that are read ahead
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 1024 * 1024
_HALF_CLOSED_SECONDS = 5.0  # a client that has closed its side gets this long for its answer


class H1Server(ResponseWriter):
    """A client's connection."""

    __slots__ = (
        "blank", "blocked", "buffer", "deadline", "eof", "fields", "host", "left", "origin", "paused",
        "peer", "reader", "reading", "requests", "runtime", "scheme", "sections", "tls", "tunnelled",
        "wheel_at",
    )  # fmt: skip

    def __init__(self, world: World, listener: Listener) -> None:
        super().__init__(world, listener)
        # connection
        self.peer = ""
        self.scheme = listener.scheme
        #: What the handshake has agreed on; None on a plain connection.
        self.tls: Session | None = None
        self.buffer = b""
        self.requests = 0
        self.deadline = 0.0
        self.wheel_at = 0
        self.reading = False
        self.blank = False
        #: We have stopped reading; the client has stopped reading.
        self.paused = False
        self.blocked = False
        self.eof = False
        self.tunnelled: Tunnel | None = None
        # the header section last seen, and what follows from it
        self.sections = Sections(RequestFields)
        self.fields: RequestFields = None  # type: ignore[assignment]
        self.host = b""
        self.origin: Origin = None  # type: ignore[assignment]
        self.runtime: ListenerRuntime | None = None
        # request
        self.reader: ChunkedReader | None = None
        self.left = 0

    # --- connection ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(WRITE_HIGH, WRITE_LOW)
        peername = transport.get_extra_info("peername")
        self.peer = peername[0] if isinstance(peername, tuple) else ""
        if not self.listener.opened(self):
            self._refuse_connection()
            return
        self.deadline = self.world.now + self.listener.limits.header_timeout
        self.world.watch(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whoever's doing."""
        state, self.state = self.state, CLOSED
        self.world.unwatch(self)
        self.listener.closed(self)
        if state == TUNNEL and self.tunnelled is not None:
            self.tunnelled.lost(from_client=True)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.on_client_gone()

    def eof_received(self) -> bool:
        """The client will send no more. It may still wait for its answer (RFC 9112 section 9.6), for a while."""
        if self.state == TUNNEL:
            return self.tunnelled.half_closed(from_client=True)  # type: ignore[union-attr]
        if self.state != BUSY:
            return False
        self.eof = True
        self.keep = False
        exchange = self.exchange
        if exchange is not None and not exchange.response_started:
            self._within(_HALF_CLOSED_SECONDS)
        return True

    def drain(self, *, new_too: bool) -> None:
        """Serve no further request. One in flight is answered; a connection that had none is ``new``."""
        if self.state == HEAD and not self.buffer and (new_too or self.requests):
            self.close()

    def give_up(self) -> None:
        """The time for ending in order is over."""
        exchange = self.exchange
        self.abort()
        if exchange is not None:
            exchange.on_client_gone("listener.draining")

    def in_flight(self) -> int:
        """How many exchanges there are."""
        return int(self.exchange is not None)

    def close(self) -> None:
        """Close after what has been written; a client that does not read it in time loses it."""
        self.transport.close()
        self.limit(self.world.now + self.listener.limits.idle_timeout)

    # --- request ------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes from the client. Hot."""
        state = self.state
        if state == HEAD and not self.blocked:
            try:
                self._read(self.buffer + data if self.buffer else data)
            except Exception as error:  # noqa: BLE001 - a bug of ours must not cost more than this connection
                self._bug(error)
        elif state == BODY:
            try:
                self._feed(data)
            except Exception as error:  # noqa: BLE001 - as above
                self._bug(error)
        elif state == TUNNEL:
            self.tunnelled.from_client(data)  # type: ignore[union-attr]
        elif state <= BUSY:
            self.buffer += data
            if len(self.buffer) > _PIPELINED_AT_MOST and not self.paused:
                self.paused = True
                self.transport.pause_reading()
        else:
            self._discard(data)

    def _read(self, data: bytes) -> None:
        """Take one request after another, as long as they are answered at once."""
        self.reading = True
        self.buffer = b""
        try:
            while data and self.state == HEAD and not self.blocked:
                end = data.find(CRLF2)
                if end < 0 or data[0] in b"\r\n":  # an int: for bytes C first makes an exception, 400 ns
                    data = self._incomplete(data, end)
                    continue
                self._request(data, end)
                data, self.buffer = self.buffer, b""
        except ProtocolError as error:
            if data.startswith(PREFACE_LINE) and self.listener.h2 and not self.requests:
                self.listener.hand_over(self, data)
            else:
                self._refuse(error)
            return
        finally:
            self.reading = False
        if data:
            self.buffer = data

    def _request(self, data: bytes, end: int) -> None:
        """A head is complete: understand it and begin its exchange."""
        listener = self.listener
        limits = listener.limits
        eol = data.find(b"\r\n")
        if end > limits.header_bytes:
            raise ProtocolError("request.headers_too_large", 431)
        if eol > limits.target_bytes:
            raise too_long(data[:eol], limits.target_bytes)
        method, target, path, query, authority, version = read_request_line(data[:eol])
        runtime = listener.runtime
        fields = self.sections.read(data[eol + 2 : end], limits.headers)
        if fields is not self.fields or runtime is not self.runtime:
            self._understand(fields, runtime)
        if version == HTTP11 and fields.host is not None:
            self.keep = b"close" not in fields.connection and not self.eof
        else:
            self.keep = kept_by_http10(version, fields)
        host = self.host
        if authority:
            host = same_authority(authority, fields.host)
        else:
            authority = fields.host or b""
        origin = self.origin
        request = RequestHead(method, target, path, query, authority, host, origin.scheme, version, Headers(fields))
        # What every exchange needs of its connection.
        world = self.world
        framing = fields.framing
        self.requests += 1
        if self.requests >= limits.requests or listener.closing:
            self.keep = False
        self.deadline = world.now + _NEVER
        if framing:
            # gRPC itself needs HTTP/2: over HTTP/1.1 it is a request like any other.
            kind = GrpcWebExchange if fields.call == "grpc-web" and method == b"POST" else Exchange
            self.exchange = exchange = kind(world, self, runtime, request, origin, framing)
            return self._request_with_body(exchange, data[end + 4 :], framing)
        self.exchange = exchange = Exchange(world, self, runtime, request, origin, framing)
        if fields.upgrade and fields.upgrade == b"websocket" and version == HTTP11:
            exchange.protocol = "websocket"
        self.buffer = data[end + 4 :]
        self.blank = False
        self.state = BUSY
        return exchange.begin()

    def _understand(self, fields: RequestFields, runtime: ListenerRuntime) -> None:
        """Find out what a new header section means: for which host, and on whose behalf it comes."""
        old, self.fields = self.fields, fields
        if fields.expects and fields.index[b"expect"].lower() != b"100-continue":
            self.fields = old
            raise ProtocolError("request.expectation", 417)
        if runtime is self.runtime and old.host == fields.host and same_way(old, fields):
            return
        self.runtime = None  # until all of this is understood
        self.host = b"" if fields.host is None else parse_authority(fields.host)
        tls = self.tls
        if tls is not None and not tls.serves(self.host):
            raise ProtocolError("request.misdirected", 421)
        self.origin = trace_back(self.peer, self.scheme, fields.host or b"", fields, runtime.trust)
        if tls is not None:
            self.origin.lines += tls.lines
        self.runtime = runtime

    def _request_with_body(self, exchange: Exchange, rest: bytes, framing: int) -> None:
        """Begin an exchange, and feed it what has come of the body."""
        self.state = BODY
        self.blank = False
        self.left = framing
        if framing == CHUNKED:
            self.reader = ChunkedReader()
            self.in_hand = False
        else:
            self.in_hand = len(rest) >= framing
        exchange.begin()
        if self.state == BODY:
            if rest:
                self._feed(rest)
            else:
                self._body_timeout()
        elif self.state == LINGER:
            self._discard(rest)
        conn = exchange.conn
        if conn is not None:
            conn.flush()

    def _feed(self, data: bytes) -> None:
        """A piece of a request body."""
        exchange = self.exchange
        if exchange is None:  # answered already: read on to the end of the body, to serve the next request
            exchange = NOBODY
        left = self.left
        if len(data) != left:  # more of it is to come
            self._body_timeout()
        if left >= 0:
            rest = b""
            if len(data) > left:
                data, rest = data[:left], data[left:]
            self.left = left - len(data)
            exchange.on_request_body(data)
            if not self.left:
                self._body_complete(exchange, (), rest)
        else:
            try:
                self._feed_chunks(exchange, data)
            except ProtocolError as error:
                self._broken_body(error)
                return
        conn = exchange.conn
        if conn is not None:
            conn.flush()

    def _feed_chunks(self, exchange: Exchange, data: bytes) -> None:
        reader = self.reader
        for piece in reader.feed(data):  # type: ignore[union-attr]
            exchange.on_request_body(piece)
            if self.state != BODY:
                return
        if reader.done:  # type: ignore[union-attr]
            self.reader = None
            self._body_complete(exchange, reader.trailers, reader.rest)  # type: ignore[union-attr]

    def _body_complete(self, exchange: Exchange, trailers: tuple[Pair, ...], rest: bytes) -> None:
        if self.state != BODY:
            return
        self.buffer = rest
        if exchange is NOBODY:
            self._next()
            return
        self.state = BUSY
        self.deadline = self.world.now + _NEVER
        if exchange.total is not None:
            self.limit(exchange.started + exchange.total)
        exchange.on_request_end(trailers)

    def _body_timeout(self) -> None:
        if self.state == BODY:
            self._within(self.listener.limits.body_timeout)

    def _within(self, seconds: float) -> None:
        """Set the deadline, no later than the end of the exchange's own time."""
        at = self.world.now + seconds
        exchange = self.exchange
        if exchange is not None and exchange.total is not None:
            at = min(at, exchange.started + exchange.total)
        self.limit(at)

    def _incomplete(self, data: bytes, end: int) -> bytes:
        """Not a whole head yet, or one behind an empty line. Returns what is to be read now; keeps the rest."""
        limits = self.listener.limits
        if data[:2] == b"\r\n" and data[2:3] not in {b"\r", b"\n"} and not self.blank:
            self.blank = True  # RFC 9112 section 2.2: one empty line before a request
            return data[2:]
        if data[:1] in b"\r\n" and data != b"\r":
            raise ProtocolError("request.malformed", 400, "the request begins with a line end")
        eol = data.find(b"\r\n")
        if (len(data) if eol < 0 else eol) > limits.target_bytes:
            raise too_long(data, limits.target_bytes)
        if len(data) > limits.header_bytes:
            raise ProtocolError("request.headers_too_large", 431)
        if data.count(b"\n") != data.count(b"\r\n"):
            raise ProtocolError("request.malformed", 400, "a bare line feed stands in the request")
        if b"\0" in data:
            raise ProtocolError("request.malformed", 400, "a NUL stands in the request")
        if self.deadline > self.world.now + limits.header_timeout:  # its first bytes; more of it buys no time
            self.limit(self.world.now + limits.header_timeout)
        self.buffer = data
        return b""

    # --- end of an exchange -------------------------------------------------------------------------------------------

    def abort(self) -> None:
        """The response ends early, and the client must notice.

        Half a body shows by its length or chunks; where its end is the end of the connection, only a reset tells.
        """
        self.keep = False
        self.out = []
        if self.state == CLOSED:
            return
        exchange = self.exchange
        if exchange is not None and exchange.request.version != HTTP11:
            self._reset_on_close()
        self.transport.abort()

    def _reset_on_close(self) -> None:
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            except OSError:  # it is closed already
                return

    def done(self) -> None:
        """The exchange is over: read the next request, or close."""
        self.exchange = None
        if self.out:
            self.flush()
        state = self.state
        if state == BUSY:
            if self.keep:
                self._next()
            else:
                self._linger()
        elif state == BODY and not (self.keep and self.in_hand):
            self._linger()
        # BODY with the rest in hand: _feed reads it to its end and goes on from there

    def _next(self) -> None:
        """Ready for another request."""
        self.state = HEAD
        world = self.world
        self.deadline = world.now + self.listener.limits.idle_timeout
        if not self.wheel_at or self.deadline < (self.wheel_at - 1) * TICK:
            world.watch(self)
        if self.blocked:
            return
        if self.paused:
            self.paused = False
            self.transport.resume_reading()
        if self.buffer and not self.reading:
            self._read(self.buffer)
        elif self.listener.closing and not self.buffer:
            self.close()

    def _linger(self) -> None:
        """Close so that the client reads the whole answer: our side now, the rest when it has closed or time is up."""
        if self.state in {CLOSED, LINGER, TUNNEL}:
            return
        complete = self.state == BUSY and not self.buffer
        self.state = LINGER
        self.left = _LINGER_BYTES
        if self.eof or complete or self.transport.is_closing():
            self.close()
            return
        if self.paused:
            self.paused = False
            self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.limit(self.world.now + _LINGER_SECONDS)

    def _discard(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left <= 0:
            self.transport.abort()

    # --- back-pressure ------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The client reads more slowly than the endpoint sends."""
        if self.tunnelled is not None:
            self.tunnelled.pause(client=False)
            return
        self.blocked = True  # no further request is begun for a client that does not read its answers
        exchange = self.exchange
        if exchange is not None and exchange.conn is not None:
            exchange.conn.pause()
        self._within(self.listener.limits.idle_timeout)

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self.tunnelled is not None:
            self.tunnelled.resume(client=False)
            return
        self.blocked = False
        exchange = self.exchange
        if exchange is not None:
            self._within(self.listener.limits.body_timeout if self.state == BODY and not self.paused else _NEVER)
            if exchange.conn is not None:
                exchange.conn.resume()
        elif self.state == HEAD:
            self._next()

    def pause_request(self) -> None:
        """Stop reading the request body: the endpoint is slow."""
        if self.state == BODY and not self.paused:
            self.paused = True
            self.transport.pause_reading()
            self._within(_NEVER)  # it is not the client that is slow

    def resume_request(self) -> None:
        """Go on reading the request body."""
        if self.paused and self.state in {BODY, HEAD}:
            self.paused = False
            self.transport.resume_reading()
            self._body_timeout()

    # --- tunnel -------------------------------------------------------------------------------------------------------

    def tunnel(self, upstream: H1Client, early: bytes) -> None:
        """Carry bytes both ways from now on."""
        self.flush()
        self.state = TUNNEL
        self.world.unwatch(self)  # the tunnel keeps the time for both
        exchange, self.exchange = self.exchange, None
        self.tunnelled = upstream.tunnel = tunnel = Tunnel(self.world, exchange, self, upstream)  # type: ignore[arg-type]
        upstream.exchange = None
        if self.paused:
            self.paused = False
            self.transport.resume_reading()
        if early:
            tunnel.from_upstream(early)
        if self.buffer:
            data, self.buffer = self.buffer, b""
            tunnel.from_client(data)

    # --- time and refusals --------------------------------------------------------------------------------------------

    def limit(self, at: float) -> None:
        """Set the deadline, wherever it was."""
        self.deadline = at
        if not self.wheel_at or at < (self.wheel_at - 1) * TICK:
            self.world.watch(self)

    def on_deadline(self, now: float) -> None:
        """Time is up for what the connection waits for."""
        state = self.state
        exchange = self.exchange
        if self.transport.is_closing() or (state == HEAD and self.blocked):
            self.transport.abort()
        elif state == HEAD:
            if self.buffer:
                self._refuse(ProtocolError("request.timeout", 408))
            else:
                self.close()
        elif exchange is not None:
            self._exchange_too_slow(exchange, now)
        elif state != CLOSED:
            self.transport.abort()

    def _exchange_too_slow(self, exchange: Exchange, now: float) -> None:
        timeout = exchange.total
        if timeout is not None and now >= exchange.started + timeout:
            exchange.on_time_over()
        elif self.eof and not exchange.response_started:
            self.transport.abort()
        elif self.state == BODY:
            exchange.answer(core_reply("request.body_timeout"), 0)
        else:
            self.abort()
            self.exchange = None
            exchange.on_client_gone("client.stalled")

    def _broken_body(self, error: ProtocolError) -> None:
        """A chunked body that is not one: the request is incomplete, and the connection cannot be used again."""
        exchange = self.exchange
        self.keep = self.in_hand = False
        if exchange is not None:
            exchange.answer(core_reply(error.reason), 0)
        else:
            self._linger()

    def _refuse(self, error: ProtocolError) -> None:
        """Answer a request that has no exchange, because it could not be understood, and close."""
        self.listener.refused(self, error)
        self.keep = False
        self.write_problem(error.status, error.reason, error.detail)
        self.buffer = b""
        self.state = BODY  # there may be more of it: read and throw away
        self._linger()

    def _bug(self, error: Exception) -> None:
        self.world.bug("a request", error)
        self.keep = self.in_hand = False
        exchange = self.exchange
        if exchange is not None:
            exchange.answer(core_reply("internal.error"), len(exchange.route.response_chain))
        else:
            self.transport.abort()

    def _refuse_connection(self) -> None:
        self.state = LINGER
        self.write_problem(503, "listener.connections", "")
        self.close()
