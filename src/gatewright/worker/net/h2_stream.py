"""One request of an HTTP/2 client: a stream on one side, an exchange on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatewright.errors import ProtocolError
from gatewright.http.head import HTTP2, RequestHead, ResponseHead
from gatewright.http.headers import Fields, Headers, Pair
from gatewright.proxy import grpc
from gatewright.proxy.exchange import Exchange
from gatewright.proxy.grpc_exchange import GrpcExchange
from gatewright.proxy.grpc_web_exchange import GrpcWebExchange
from gatewright.proxy.respond import core_reply, problem
from gatewright.wire.h2 import errors
from gatewright.wire.h2.frames import END_STREAM
from gatewright.wire.h2.heads import Malformed, pack, read_trailers
from gatewright.wire.h2.hpack import STATUS, encode_pair, encode_pairs
from gatewright.wire.h2.stream import Stream
from gatewright.wire.websocket import new_key
from gatewright.worker.net.h2_tunnel import StreamTransport
from gatewright.worker.net.tunnel import Tunnel

if TYPE_CHECKING:
    from gatewright.tls.server import Session
    from gatewright.worker.net.h2_requests import RequestSeen
    from gatewright.worker.net.h2_server import H2Server

_FOREVER = float("inf")
_PROGRESS = 16 * 1024  # octets that a client has to take within body_timeout, when there are so many
_READING_TIME = 1.0  # seconds between an answer to half a request and the reset of its stream
_NOT_IN_WEBSOCKET = (b"sec-websocket-accept", b"content-length")


class H2Stream(Stream):
    """A client's request and the gateway's response (implements ``proxy.ports.Downstream``)."""

    __slots__ = ("early", "exchange", "patience", "seen", "stuck", "total", "transport", "tunnelled")
    conn: H2Server
    #: As an end of a tunnel; and what the client sends before there is one.
    transport: StreamTransport
    early: list[bytes]

    def __init__(self, conn: H2Server, stream_id: int, seen: RequestSeen | None) -> None:
        super().__init__(conn, stream_id)
        #: The request, until it is begun. None: it was refused.
        self.seen = seen
        self.exchange: Exchange | None = None
        #: Seconds between two pieces of the request body.
        self.patience = 0.0
        #: When the exchange's own time is over.
        self.total = _FOREVER
        #: The endpoint has been told to pause, because the client's windows are closed.
        self.stuck = False
        self.tunnelled: Tunnel | None = None

    # --- request ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin the exchange. Hot."""
        seen, self.seen = self.seen, None
        if seen is None:
            return
        line = seen.line
        fields = seen.fields
        origin = seen.origin
        conn = self.conn
        request = RequestHead(
            line.method, line.target, line.path, line.query, line.authority, line.host, origin.scheme, HTTP2,
            Headers(fields),
        )  # fmt: skip
        framing = 0 if self.remote_done or line.websocket else fields.framing
        runtime = conn.listener.runtime
        if fields.call and line.method == b"POST":
            kind = GrpcExchange if fields.call == "grpc" else GrpcWebExchange
            exchange: Exchange = kind(conn.world, self, runtime, request, origin, framing)
            # A stream of messages may be silent for as long as its deadline allows; whether the client is there is
            # found out by PING.
            self.patience = _FOREVER if fields.call == "grpc" else conn.listener.limits.body_timeout
        else:
            exchange = Exchange(conn.world, self, runtime, request, origin, framing)
            exchange.protocol = "http2"
            if line.websocket:
                exchange.protocol = "websocket"
                self.early = []
                request.headers.set(b"sec-websocket-key", new_key())  # HTTP/1.1 endpoints ask for one
            self.patience = conn.listener.limits.body_timeout
        self.exchange = exchange
        if framing:
            if self.patience < _FOREVER:
                self._within(self.patience)
            conn.gathered.append(exchange)
        exchange.begin()

    def on_data(self, data: bytes) -> None:
        """A piece of the request body."""
        if self.seen is not None:
            self.begin()
        if self.tunnelled is not None:
            self.tunnelled.from_client(data)
            return
        exchange = self.exchange
        if exchange is None:
            return  # the exchange is over: nobody wants it
        if exchange.protocol == "websocket":
            self.paused = True  # no credit until there is an end that takes it
            self.early.append(data)
            return
        if self.patience < _FOREVER:
            self._within(self.patience)
        self.conn.gathered.append(exchange)
        exchange.on_request_body(data)

    def on_end(self) -> None:
        """The request is complete."""
        self._ended(())

    def on_trailers(self, block: bytes) -> None:
        """The request is complete, with trailers."""
        try:
            trailers = read_trailers(self.conn.decoder.decode(block))
        except Malformed:
            self.conn.stream_error(self.id, errors.PROTOCOL_ERROR)
            return
        self._ended(trailers)

    def _ended(self, trailers: tuple[Pair, ...]) -> None:
        if self.seen is not None:
            self.begin()
        tunnel = self.tunnelled
        if tunnel is not None:
            if not tunnel.half_closed(from_client=True):
                self.transport.close()
                tunnel.lost(from_client=True)
            return
        if self.waiting is None:
            self.deadline = self.total
        exchange = self.exchange
        if exchange is not None:
            self.conn.gathered.append(exchange)
            exchange.on_request_end(trailers)

    def on_reset(self, code: int) -> None:
        """The stream is gone."""
        self.seen = None
        if self.tunnelled is not None:
            self.tunnelled.lost(from_client=True)
        exchange = self.exchange
        if exchange is not None:
            exchange.on_client_gone()

    def on_error(self, code: int) -> None:
        """The client has broken a rule."""
        self.on_reset(code)

    # cold: for policies
    @property
    def tls(self) -> Session | None:
        """What the handshake of the connection has agreed on; None on a plain one."""
        return self.conn.tls

    # --- response -----------------------------------------------------------------------------------------------------

    def send_informational(self, status: int, fields: Fields) -> None:
        """Pass a 1xx response on."""
        if self.id in self.conn.streams:
            headers = Headers(fields)
            headers.drop(b"content-length")
            self.conn.send_headers(self.id, STATUS[status] + pack(headers), 0)

    def send_head(self, response: ResponseHead, framing: int) -> None:
        """Begin the final response. Hot."""
        headers = response.headers
        status = response.status
        exchange = self.exchange
        if exchange is not None and exchange.protocol == "websocket":
            status = self._websocket_status(status, headers)
        head = STATUS[status] + pack(headers)
        if b"date" not in headers.fields.index:
            head += encode_pair(b"date", self.conn.world.date_line[6:-2])
        self.head = head

    def _websocket_status(self, status: int, headers: Headers) -> int:
        """RFC 8441 section 5: any success means that the tunnel stands, which in HTTP/1.1 only a 101 does."""
        if status != 101:
            return 502 if 200 <= status < 300 else status
        for name in _NOT_IN_WEBSOCKET:
            headers.drop(name)
        return 200

    def finish_sending(self) -> None:
        """END_STREAM has been sent; a client that is still sending need not go on (section 8.1).

        It gets no more credit, and some time to read its answer: there are clients that forget an answer for a reset.
        """
        self.local_done = True
        if self.remote_done:
            self.conn.forget(self)
        elif self.exchange is None and self.tunnelled is None:
            self.paused = True
            self._within(_READING_TIME)

    def flush(self) -> None:
        """Let what has been gathered go."""
        if self.head is not None or self.data:
            self._emit(0)
        if self.conn.blocked_writing:
            self.hold_back()  # the answer may have begun when the client had ceased to read

    def abort(self) -> None:
        """The response ends early, and the client must notice."""
        self.head, self.data = None, b""
        conn = self.conn
        if self.id in conn.streams:
            conn.reset(self.id, errors.INTERNAL_ERROR)
            conn.forget(self)

    def done(self) -> None:
        """The exchange is over."""
        self.exchange = None
        self.total = _FOREVER
        self.deadline = _FOREVER
        if self.id not in self.conn.streams:
            return
        if self.waiting is not None:
            self._within(self.conn.listener.limits.body_timeout)
        elif self.local_done and not self.remote_done:
            self.finish_sending()

    def refuse(self, error: ProtocolError, call: str, *, head: bool) -> None:
        """Answer a request that has no exchange, because it could not be understood.

        ``call`` is its kind, if that is known. ``head``: its method is HEAD, whose answer has no body.
        """
        if call == "grpc":
            refusal = grpc.refusal(error)
            self.head = STATUS[refusal.status] + encode_pairs((*refusal.headers, *self.own_pairs()))
            self._emit(END_STREAM)
            return
        body = problem(error.status, error.reason, error.detail, b"")
        self.head = STATUS[error.status] + encode_pairs(
            (
                (b"content-type", b"application/problem+json"),
                (b"content-length", b"%d" % len(body)),
                (b"date", self.conn.world.date_line[6:-2]),
                *self.own_pairs(),
            )
        )
        self.data = b"" if head else body
        self._emit(END_STREAM)

    def own_pairs(self) -> tuple[Pair, ...]:
        """Header fields of answers of our own, on listeners that have such."""
        return ()

    # --- pace ---------------------------------------------------------------------------------------------------------

    def pause_request(self) -> None:
        """The endpoint is slow: no more credit for the body."""
        self.pause()
        if self.waiting is None:
            self.deadline = self.total  # it is not the client that is slow

    def resume_request(self) -> None:
        """Go on."""
        self.resume()
        if not self.remote_done:
            self._within(self.patience)

    def on_stuck(self) -> None:
        """The client's windows are closed: the endpoint pauses, and the client has to open them in time."""
        if not self.stuck:
            self.stuck = True
            self.hold_back()
        self._within(self.conn.listener.limits.body_timeout)

    def on_moving(self) -> None:
        """All that waited has been sent."""
        if self.stuck:
            self.stuck = False
            if self.exchange is not None and not self.remote_done and not self.paused:
                self._within(self.patience)
            elif self.exchange is not None or self.tunnelled is not None:
                self.deadline = self.total
            if not self.conn.blocked_writing:
                self.go_on()

    def hold_back(self) -> None:
        """The client does not take more: the endpoint need not send."""
        if self.tunnelled is not None:
            self.tunnelled.pause(client=False)
        elif self.exchange is not None and self.exchange.conn is not None:
            self.exchange.conn.pause()

    def go_on(self) -> None:
        """The client takes more."""
        if self.stuck:
            return
        if self.tunnelled is not None:
            self.tunnelled.resume(client=False)
        elif self.exchange is not None and self.exchange.conn is not None:
            self.exchange.conn.resume()

    # --- time ---------------------------------------------------------------------------------------------------------

    def limit(self, at: float) -> None:
        """The exchange's own time is over at ``at``."""
        self.total = at
        if at < self.deadline:
            self.deadline = at
            self.conn.need(at)

    def _within(self, seconds: float) -> None:
        at = self.conn.world.now + seconds
        self.deadline = at = min(at, self.total)
        if at < _FOREVER:
            self.conn.need(at)

    def on_deadline(self, now: float) -> None:
        """Time is up for what the stream waits for."""
        self.deadline = self.total if self.total > now else _FOREVER
        exchange = self.exchange
        if exchange is None and self.local_done:
            self.conn.reset(self.id, errors.NO_ERROR)
            self.conn.forget(self)
        elif exchange is not None and now >= self.total:
            self.total = _FOREVER
            exchange.on_time_over()
        elif self.waiting is not None and self.waiting.sent >= _PROGRESS:
            self.waiting.sent = 0  # slow, but it reads
            self._within(self.conn.listener.limits.body_timeout)
        elif self.waiting is not None:
            self.conn.reset(self.id, errors.CANCEL)
            self.conn.forget(self)
            if self.tunnelled is not None:
                self.tunnelled.lost(from_client=True)
            if exchange is not None:
                exchange.on_client_gone("client.stalled")
        elif exchange is not None and not self.remote_done:
            exchange.answer(core_reply("request.body_timeout"), 0)

    # --- tunnel -------------------------------------------------------------------------------------------------------

    def tunnel(self, upstream: Any, early: bytes) -> None:
        """Carry bytes both ways from now on."""
        self.flush()
        conn = self.conn
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        self.deadline = self.total = _FOREVER
        self.transport = StreamTransport(self)
        self.tunnelled = upstream.tunnel = tunnel = Tunnel(conn.world, exchange, self, upstream)
        upstream.exchange = None
        if early:
            tunnel.from_upstream(early)
        pieces, self.early = self.early, []
        for piece in pieces:
            tunnel.from_client(piece)
        self.resume()
        if self.remote_done:
            self._ended(())

    def linger(self) -> None:
        """The tunnel is over: the client has some time to end its side."""
        self.tunnelled = None
        if self.waiting is None:
            self._within(_READING_TIME)
