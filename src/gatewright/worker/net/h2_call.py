"""One request to an endpoint over HTTP/2: an exchange on one side, a stream on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatewright.http.headers import Headers, Pair
from gatewright.http.status import NO_BODY
from gatewright.proxy import ports
from gatewright.proxy.grpc_exchange import GrpcExchange
from gatewright.wire.h2 import errors
from gatewright.wire.h2.frames import END_STREAM
from gatewright.wire.h2.heads import TE_TRAILERS, H2ResponseFields, Malformed, pack, pack_lines
from gatewright.wire.h2.hpack import encode_pair
from gatewright.wire.h2.stream import Stream
from gatewright.wire.websocket import accept_of
from gatewright.worker.net.h2_tunnel import StreamTransport
from gatewright.worker.net.heartbeat import Heartbeat, heartbeat_of

if TYPE_CHECKING:
    from gatewright.proxy.exchange import Exchange
    from gatewright.worker.net.h2_client import H2Client
    from gatewright.worker.net.tunnel import Tunnel

_FOREVER = float("inf")
_MOST_INFORMATIONAL = 16
_CLOSING_SECONDS = 1.0  # that an endpoint has to end its side of a tunnel that is over
_GRPC = frozenset({"grpc", "grpc-web"})
_MOST_BLOCKS = 64
_LONGEST_BLOCK = 2048
_WEBSOCKET = encode_pair(b":protocol", b"websocket")


class H2Call(Stream):
    """A request to an endpoint (implements ``proxy.ports.UpstreamConnection``)."""

    __slots__ = ("alive", "exchange", "heartbeat", "informational", "responded", "stuck", "transport", "tunnel")
    conn: H2Client
    transport: StreamTransport

    def __init__(self, conn: H2Client) -> None:
        super().__init__(conn, 0)
        self.exchange: Exchange | None = None
        self.responded = False
        self.informational = 0
        self.heartbeat: Heartbeat | None = None
        #: The client has been told to pause, because the endpoint's windows are closed.
        self.stuck = False
        # as an end of a tunnel
        self.alive = True
        self.tunnel: Tunnel | None = None

    # --- request ------------------------------------------------------------------------------------------------------

    def start(self, exchange: Exchange, framing: int) -> None:
        """Send the request's head. Hot."""
        self.exchange = exchange
        conn = self.conn
        websocket = exchange.protocol == "websocket"
        if websocket and not conn.connect_protocol:
            conn.room += 1
            self.exchange = None
            exchange.upstream_failed(ports.PROTOCOL)
            return
        conn.open(self)
        head = request_block(exchange, conn, websocket=websocket)
        if framing:
            self.head = head  # the body's first piece goes with it
            return
        conn.send_headers(self.id, head, 0 if websocket else END_STREAM)
        self.local_done = not websocket
        self.deadline = at = conn.world.now + exchange.timeouts.first_byte
        if at < conn.deadline or not conn.wheel_at:
            conn.need(at)

    def send_end(self, trailers: tuple[Pair, ...]) -> None:
        """The request is complete: now the endpoint's time counts."""
        Stream.send_end(self, trailers)
        if self.exchange is not None and not self.responded:
            self._expect(self.exchange.timeouts.first_byte)

    def on_stuck(self) -> None:
        """The endpoint's windows are closed: the client pauses, and the endpoint has to open them in time."""
        if not self.stuck:
            self.stuck = True
            if self.tunnel is not None:
                self.tunnel.pause(client=True)
            elif self.exchange is not None:
                self.exchange.client.pause_request()
        if self.exchange is not None:
            self._expect(self.exchange.timeouts.idle)

    def on_moving(self) -> None:
        """The endpoint takes more."""
        if not self.stuck or self.conn.blocked_writing:
            return
        self.stuck = False
        if self.tunnel is not None:
            self.tunnel.resume(client=True)
            return
        exchange = self.exchange
        if exchange is not None:
            if not self.responded:
                done = exchange.body is None or exchange.body.done
                if done:
                    self._expect(exchange.timeouts.first_byte)
                else:
                    self.deadline = _FOREVER
            exchange.client.resume_request()

    def cancel(self) -> None:
        """Nobody wants the response any more."""
        self.exchange = None
        self.alive = False
        conn = self.conn
        if self.id in conn.streams:
            conn.reset(self.id, errors.CANCEL)
            conn.forget(self)

    # --- response -----------------------------------------------------------------------------------------------------

    def on_head(self, status: int, fields: H2ResponseFields, end: int) -> None:
        """The endpoint has answered. Hot."""
        exchange = self.exchange
        if exchange is None:
            return
        if status < 200:
            self._informational(exchange, status, fields, end)
            return
        self.responded = True
        framing = self._framing(exchange, status, fields, end)
        if exchange.protocol == "websocket" and status < 300:
            self._websocket(exchange, fields, end)
            return
        conn = self.conn
        if self.paused:
            self.deadline = _FOREVER
        else:
            self.deadline = at = conn.world.now + exchange.timeouts.idle
            if at < conn.deadline:
                conn.need(at)
        if fields.events:
            self._stream(exchange)
        conn.gathered.append(exchange)
        exchange.on_response_head(status, fields, framing)
        if end and self.exchange is exchange:
            self.remote_done = True
            self.finish(())

    def _framing(self, exchange: Exchange, status: int, fields: H2ResponseFields, end: int) -> int:
        """How the body is framed, and what must come of it. Raises Malformed."""
        framing = fields.framing
        if exchange.request.method == b"HEAD" or status in NO_BODY:
            framing = self.left = 0
        elif not end:
            self.left = framing
        elif framing > 0:
            raise Malformed("a Content-Length without a body")
        else:
            framing = 0
        return framing

    def _stream(self, exchange: Exchange) -> None:
        """Server-sent events: silence may be filled with comments."""
        exchange.protocol = "sse"
        self.heartbeat = heartbeat = heartbeat_of(exchange, self.conn.world.now)
        if heartbeat is not None:
            self._expect(heartbeat.every)

    def _informational(self, exchange: Exchange, status: int, fields: H2ResponseFields, end: int) -> None:
        self.informational += 1
        if end or self.informational > _MOST_INFORMATIONAL:
            raise Malformed("too many informational responses, or the last word")
        exchange.client.send_informational(status, fields)
        exchange.client.flush()

    def _websocket(self, exchange: Exchange, fields: H2ResponseFields, end: int) -> None:
        """RFC 8441: 200 is what 101 is in HTTP/1.1."""
        self.left = -1
        self.remote_done = bool(end)
        key = exchange.request.headers.get(b"sec-websocket-key")
        if key is not None:  # of a client that wants it answered; over HTTP/2 there is no key
            pairs = [pair for pair in fields.pairs if pair[0] != b"content-length"]
            fields = H2ResponseFields([*pairs, (b"sec-websocket-accept", accept_of(key))])
        exchange.on_response_head(101, fields, 0)
        if self.exchange is exchange and exchange.response_started:  # else a response hook waits
            self.switch()

    def switch(self) -> None:
        """The 101 has been passed on: carry bytes both ways from now on."""
        self.deadline = _FOREVER
        self.transport = StreamTransport(self)
        self.exchange.client.tunnel(self, b"")  # type: ignore[union-attr]
        if self.remote_done:
            self.on_end()

    def on_data(self, data: bytes) -> None:
        """A piece of the response body. Hot."""
        if self.tunnel is not None:
            self.tunnel.from_upstream(data)
            return
        exchange = self.exchange
        if exchange is None:
            return
        if not self.responded:
            self.malformed("DATA before HEADERS")
            return
        heartbeat = self.heartbeat
        if heartbeat is not None:
            heartbeat.heard(data, self.conn.world.now)
        if not self.paused:
            self.deadline = self.conn.world.now + (exchange.timeouts.idle if heartbeat is None else heartbeat.every)
        self.conn.gathered.append(exchange)
        exchange.on_response_body(data)

    def on_end(self) -> None:
        """The response is complete."""
        tunnel = self.tunnel
        if tunnel is not None:
            if not tunnel.half_closed(from_client=False):
                self.transport.close()
                tunnel.lost(from_client=False)
            return
        if self.exchange is not None and not self.responded:
            self.malformed("the stream ends before its head")
            return
        self.finish(())

    def finish(self, trailers: tuple[Pair, ...]) -> None:
        """The response is complete: free the stream, then tell the exchange."""
        exchange, self.exchange = self.exchange, None
        conn = self.conn
        self.alive = False
        if not self.local_done and self.id in conn.streams:
            conn.reset(self.id, errors.NO_ERROR)  # what is left of the request is of no use to anybody
        conn.forget(self)
        if exchange is not None:
            exchange.on_response_end(trailers)

    def pause(self) -> None:
        """The client reads more slowly than the endpoint sends: its own limit counts now."""
        self.paused = True
        if self.responded:
            self.deadline = _FOREVER

    def resume(self) -> None:
        """Go on reading."""
        Stream.resume(self)
        if self.exchange is not None and self.responded:
            self._expect(self.exchange.timeouts.idle)

    def linger(self) -> None:
        """The tunnel is over: the endpoint has some time to end its side."""
        self.tunnel = None
        self.paused = True
        self._expect(_CLOSING_SECONDS)

    # --- failures -----------------------------------------------------------------------------------------------------

    def on_reset(self, code: int) -> None:
        """The endpoint has reset the stream."""
        if code == errors.REFUSED_STREAM and not self.responded:
            self.refused()
        else:
            self._failed(ports.TRUNCATED if self.responded else ports.RESET, code)

    def on_error(self, code: int) -> None:
        """The endpoint has broken a rule about this stream."""
        self._failed(ports.MALFORMED, -1)

    def malformed(self, detail: str) -> None:
        """What came is no response."""
        conn = self.conn
        conn.world.note("upstream.malformed", endpoint=conn.pool.endpoint.key, detail=detail)
        if self.id in conn.streams:
            conn.reset(self.id, errors.PROTOCOL_ERROR)
            conn.forget(self)
        self._failed(ports.MALFORMED, -1)

    def refused(self) -> None:
        """The endpoint has not looked at the request."""
        self._failed(ports.REFUSED, errors.REFUSED_STREAM)

    def lost(self) -> None:
        """The connection is gone. One that had served before and has said nothing since had been closed before."""
        condition = ports.TRUNCATED if self.responded else ports.RESET
        if self.id > 1 and not self.responded and self.conn.heard < self.born:
            condition = ports.STALE
        self._failed(condition, -1)

    def _failed(self, condition: str, code: int) -> None:
        self.alive = False
        if self.tunnel is not None:
            self.tunnel.lost(from_client=False)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            if code >= 0 and isinstance(exchange, GrpcExchange):
                exchange.reset_code = code
            if exchange.response_started:
                exchange.client.flush()  # what has come of the answer is the client's
            exchange.upstream_failed(condition)

    # --- time ---------------------------------------------------------------------------------------------------------

    def _expect(self, seconds: float) -> None:
        self.deadline = at = self.conn.world.now + seconds
        self.conn.need(at)

    def on_deadline(self, now: float) -> None:
        """Nothing came in time."""
        self.deadline = _FOREVER
        exchange = self.exchange
        heartbeat = self.heartbeat
        if exchange is not None and heartbeat is not None and not self.paused and heartbeat.beat(exchange, now):
            self._expect(heartbeat.every)
        elif exchange is not None:
            condition = ports.IDLE if self.responded else ports.TIMEOUT
            self.cancel()
            exchange.upstream_failed(condition)
        elif self.tunnel is None:
            self.cancel()


def request_block(ex: Exchange, conn: H2Client, *, websocket: bool) -> bytes:
    """The header block that goes to the endpoint. Hot: the same request has the same block."""
    request = ex.request
    headers = request.headers
    host = ex.route.host or ex.upstream.host_for(ex.endpoint, request.authority)  # type: ignore[union-attr,arg-type]
    if headers.added or headers.dropped or websocket:
        return _request_block(ex, host, conn.scheme, websocket=websocket)
    key = request.method, ex.path, request.query, host, headers.fields, ex.origin
    block = conn.blocks.get(key)
    if block is None:
        block = _request_block(ex, host, conn.scheme, websocket=False)
        if len(conn.blocks) >= _MOST_BLOCKS:
            conn.blocks.clear()
        if len(block) <= _LONGEST_BLOCK:
            conn.blocks[key] = block
    return block


def _request_block(ex: Exchange, host: bytes, scheme: bytes, *, websocket: bool) -> bytes:
    request = ex.request
    path = ex.path if request.query is None else b"%b?%b" % (ex.path, request.query)
    origin = ex.origin
    way = origin.packed
    if way is None:
        way = origin.packed = pack_lines(origin.lines)
    headers = _without_key(request.headers) if websocket else request.headers
    out = [
        encode_pair(b":method", b"CONNECT" if websocket else request.method),
        encode_pair(b":scheme", scheme),
        encode_pair(b":path", path),
        encode_pair(b":authority", host),
        pack(headers),
        way,
    ]
    if websocket:
        out.insert(1, _WEBSOCKET)
    elif ex.protocol in _GRPC or headers.fields.index.get(b"te") == b"trailers":
        out.append(TE_TRAILERS)
    return b"".join(out)


def _without_key(headers: Headers) -> Headers:
    """The same headers without what only the handshake of HTTP/1.1 has."""
    copy = Headers(headers.fields)
    copy.dropped = headers.dropped
    copy.added = list(headers.added)
    copy.drop(b"sec-websocket-key")
    return copy
