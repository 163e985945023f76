"""HTTP/2 from clients: one connection, many exchanges (RFC 9113)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, cast

from gatewright.errors import ProtocolError
from gatewright.proxy.families import REFUSED
from gatewright.wire.h2 import errors, frames
from gatewright.wire.h2.connection import H2Connection
from gatewright.wire.h2.errors import H2Error
from gatewright.wire.h2.heads import Malformed
from gatewright.wire.h2.hpack import HeadersTooLarge
from gatewright.wire.h2.stream import WINDOW
from gatewright.worker.net.h1_client import WRITE_HIGH, WRITE_LOW
from gatewright.worker.net.h2_requests import Requests, RequestSeen
from gatewright.worker.net.h2_stream import H2Stream
from gatewright.worker.net.timers import TICK

if TYPE_CHECKING:
    from gatewright.proxy.exchange import Exchange
    from gatewright.tls.server import Session
    from gatewright.worker.net.listener import Listener
    from gatewright.worker.world import World

#: Octets of request bodies of one connection that may be on the way or wait for endpoints.
_WINDOW = 1024 * 1024
_SILENCE = 60.0  # seconds without a frame after which a client with requests in flight is asked whether it is there
_PATIENCE = 20.0  # and how long it may take to say so
_SECOND_QUESTION = 0.2  # seconds behind the first, to a client that has closed its side
_NOTICE = 1.0  # seconds between telling a client that we go away and ceasing to take its requests
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 1024 * 1024
_DRAINING = b"draining"
_ANY_STREAM = 0x7FFFFFFF
_FOREVER = float("inf")

#: What a connection is doing. TOLD: the client knows that we go away. LEAVING: we take no more requests.
OPEN, TOLD, LEAVING, CLOSED = range(4)


class H2Server(H2Connection[H2Stream], asyncio.Protocol):
    """A client's connection."""

    stream_type: ClassVar[type[H2Stream]] = H2Stream

    __slots__ = (
        "blocked_writing", "deadline", "dirty", "eof", "gathered", "heard", "idle_at", "last_stream", "listener",
        "most_streams", "opened", "patient_until", "peer", "preface", "reader", "requests", "scheme", "state", "taken",
        "tls", "told_at", "transport", "wheel_at", "world",
    )  # fmt: skip

    def __init__(self, world: World, listener: Listener) -> None:
        limits = listener.limits
        super().__init__(world.now, limits.header_bytes, _WINDOW, limits.resets, limits.control_frames)
        self.world = world
        self.listener = listener
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.peer = ""
        self.scheme = listener.scheme
        #: What the handshake has agreed on; None on a plain connection.
        self.tls: Session | None = None
        self.state = OPEN
        self.preface = True
        self.reader = Requests(self.decoder)
        self.most_streams = limits.streams
        self.last_stream = 0
        #: The highest stream whose request was taken: what GOAWAY names, which may not grow again (section 6.8).
        self.taken = 0
        self.requests = 0
        #: Streams whose head has come and whose exchange has not begun.
        self.opened: list[H2Stream] = []
        #: Exchanges that have something for their endpoints.
        self.gathered: list[Exchange] = []
        #: There is something to write, and the world knows. The client does not read what was written.
        self.dirty = False
        self.blocked_writing = False
        #: How long a client that does not read is waited for.
        self.patient_until = _FOREVER
        self.eof = False
        self.deadline = 0.0
        self.wheel_at = 0
        self.heard = world.now
        self.idle_at = 0.0
        self.told_at = 0.0

    # --- connection ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        peername = transport.get_extra_info("peername")
        self.begin(cast("asyncio.Transport", transport), peername[0] if isinstance(peername, tuple) else "")
        if not self.listener.opened(self):
            self._fail(H2Error(errors.ENHANCE_YOUR_CALM, "too many connections"), "listener.connections")

    def begin(self, transport: asyncio.Transport, peer: str) -> None:
        """Say what we allow. The listener knows this connection."""
        self.transport = transport
        transport.set_write_buffer_limits(WRITE_HIGH, WRITE_LOW)
        self.peer = peer
        self.reader.tls = self.tls
        limits = self.listener.limits
        self.out.append(
            frames.settings(
                {
                    frames.MAX_CONCURRENT_STREAMS: self.most_streams,
                    frames.INITIAL_WINDOW_SIZE: WINDOW,
                    frames.MAX_HEADER_LIST_SIZE: limits.header_bytes,
                    frames.ENABLE_CONNECT_PROTOCOL: 1,
                }
            )
        )
        self._credit_connection()
        self.touch()
        self.idle_at = self.deadline = self.world.now + limits.header_timeout
        self.world.watch(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whoever's doing."""
        self.state = CLOSED
        self.listener.closed(self)
        self._end_streams()
        self.world.unwatch(self)  # last: the ends of streams may have asked for time

    def eof_received(self) -> bool:
        """The client will send no more. Mostly it is gone, but it may also wait for its answers.

        Asking tells: where nobody is, the first question makes the other side reset the connection, and the second
        one makes ours notice.
        """
        self.eof = True
        if not self.streams or self.state == CLOSED:
            return False
        now = self.world.now
        self.out.append(frames.ping(b"\0" * 8))
        self.touch()
        self.heard = now - _SILENCE + _SECOND_QUESTION
        self.need(now + _SECOND_QUESTION)
        return True

    def close(self) -> None:
        """Close after what has been written; a client that does not read it in time loses it."""
        self.write()
        self.state = CLOSED
        self.transport.close()
        self.deadline = self.world.now + self.listener.limits.idle_timeout
        self.world.watch(self)

    def in_flight(self) -> int:
        """How many exchanges there are."""
        return sum(stream.exchange is not None for stream in self.streams.values())

    # --- reading ------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes from the client. All of them are read before an exchange begins. Hot."""
        if self.state == CLOSED:
            return self._discard(data)
        self.now = self.heard = self.world.now
        try:
            if self.preface:
                data = self._read_preface(data)
            if data:
                self.feed(data)
        except H2Error as error:
            return self._fail(error, "h2_flood" if error.code == errors.ENHANCE_YOUR_CALM else "h2_protocol")
        except Exception as bug:  # noqa: BLE001 - a bug of ours must not cost more than this connection
            self.world.bug("an HTTP/2 connection", bug)
            return self._fail(H2Error(errors.INTERNAL_ERROR, ""), "internal.error")
        if self.opened and not self.blocked_writing:
            self._begin_opened()
        if self.gathered:
            self._flush_endpoints()
        return None

    def _flush_endpoints(self) -> None:
        """What a segment has brought for an endpoint goes there in one piece."""
        gathered, self.gathered = self.gathered, []
        for exchange in gathered:
            upstream = exchange.conn
            if upstream is not None:
                upstream.flush()

    def _read_preface(self, data: bytes) -> bytes:
        """The client's first octets (section 3.4). Returns what is behind them."""
        data = self.buffer + data
        self.buffer = b""
        if len(data) < len(frames.PREFACE) and frames.PREFACE.startswith(data):
            self.buffer = data
            return b""
        if not data.startswith(frames.PREFACE):
            raise H2Error(errors.PROTOCOL_ERROR, "this is not HTTP/2")
        self.preface = False
        return data[len(frames.PREFACE) :]

    def on_block(self, stream_id: int, block: bytes, end: int) -> None:
        """A header block: a request, or trailers. Hot."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            return self._trailers(stream, block, end)
        if stream_id <= self.last_stream or not stream_id & 1:
            return self._block_on_closed(stream_id, block)
        self.last_stream = stream_id
        try:
            seen = self.reader.read(block, self.listener.runtime, self.peer, self.scheme)
        except (HeadersTooLarge, Malformed, ProtocolError) as error:
            return self._refuse(stream_id, error, end)
        stream = self._open(stream_id, seen, end)
        if stream is None:
            return None
        left = seen.fields.framing
        if left >= 0:
            if end and left:
                return self._malformed(stream_id, "a Content-Length without a body")
            stream.left = left
        self.opened.append(stream)
        return None

    def _open(self, stream_id: int, seen: RequestSeen | None, end: int) -> H2Stream | None:
        """A new stream, if the connection takes one more."""
        if self.state == LEAVING:
            self._chatter()
            self.reset(stream_id, errors.REFUSED_STREAM)  # the client may not know yet that we go away
            return None
        if len(self.streams) >= self.most_streams:
            self._too_many(stream_id)
            return None
        stream = self.streams[stream_id] = self.stream_type(self, stream_id, seen)
        stream.remote_done = bool(end)
        self.taken = stream_id
        self.requests += 1
        self.useful += 1
        if self.requests >= self.listener.limits.requests and self.state == OPEN:
            self.drain(new_too=True)
        return stream

    def _refuse(self, stream_id: int, error: Exception, end: int) -> None:
        """Answer or reset a request that cannot be understood."""
        if isinstance(error, Malformed):
            return self._malformed(stream_id, str(error))
        if not isinstance(error, ProtocolError):
            error = ProtocolError("request.headers_too_large", 431)
        stream = self._open(stream_id, None, end)
        if stream is not None:
            self.listener.refused(self, error)
            stream.refuse(error, self.reader.call, head=self.reader.head)
        return None

    def _begin_opened(self) -> None:
        opened, self.opened = self.opened, []
        for stream in opened:
            if stream.seen is None:  # begun by its body, or gone
                continue
            try:
                stream.begin()
            except Exception as bug:  # noqa: BLE001 - a bug of ours must not cost more than this request
                self.world.bug("a request", bug)
                stream.abort()
                stream.on_reset(errors.INTERNAL_ERROR)

    def _trailers(self, stream: H2Stream, block: bytes, end: int) -> None:
        """The second header block of a stream ends it (section 8.1)."""
        if stream.remote_done:
            self._skip(block)
            return self.stream_error(stream.id, errors.STREAM_CLOSED)
        if not end or stream.left > 0 or stream.tunnelled is not None:
            self._skip(block)
            return self.stream_error(stream.id, errors.PROTOCOL_ERROR)
        stream.remote_done = True
        try:
            stream.on_trailers(block)
        except HeadersTooLarge:
            return self.stream_error(stream.id, errors.ENHANCE_YOUR_CALM)
        if stream.local_done:
            self.forget(stream)
        return None

    def _block_on_closed(self, stream_id: int, block: bytes) -> None:
        if not stream_id & 1:
            raise H2Error(errors.PROTOCOL_ERROR, "a stream of a client has an odd number")
        if stream_id not in self.ours_reset:
            raise H2Error(errors.STREAM_CLOSED, "HEADERS on a closed stream")
        self._skip(block)

    def _skip(self, block: bytes) -> None:
        """Nobody wants these fields, but the table has to stay in step."""
        try:
            self.decoder.decode(block)
        except HeadersTooLarge:
            return

    def _malformed(self, stream_id: int, detail: str) -> None:
        self.listener.refused(self, ProtocolError("request.malformed", 400, detail))
        self.stream_error(stream_id, errors.PROTOCOL_ERROR)

    def _too_many(self, stream_id: int) -> None:
        """More streams than allowed. A client that does not know the limit yet is hardly to blame."""
        self.world.stats.count(REFUSED, "h2_streams")
        if self.acknowledged:
            self.refuse(stream_id, errors.REFUSED_STREAM)
        else:
            self._chatter()
            self.reset(stream_id, errors.REFUSED_STREAM)

    # --- what the codec asks and tells --------------------------------------------------------------------------------

    def was_opened(self, stream_id: int) -> bool:
        """Streams are numbered upwards, the client's are odd."""
        return bool(stream_id & 1) and stream_id <= self.last_stream

    def on_setting(self, name: int, value: int) -> None:
        """Nothing of what else a client may set concerns us: we push nothing and keep no table."""

    def on_goaway(self, last: int, code: int) -> None:
        """The client opens no more streams."""
        self.eof = True
        if not self.streams:
            self.close()

    def on_pong(self, payload: bytes) -> None:
        """The client has read that we go away: whatever it had sent before is here."""
        if payload == _DRAINING and self.state == TOLD:
            self._leave()

    def on_forgotten(self, stream: H2Stream) -> None:
        """A stream is over; after the last one the connection is idle, or done."""
        if self.streams:
            return
        if self.state == LEAVING or self.eof:
            self.close()
        else:
            self.idle_at = at = self.world.now + self.listener.limits.idle_timeout
            if at < self.deadline:
                self.need(at)

    # --- writing ------------------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """Write at the end of this turn of the loop."""
        if not self.dirty:
            self.dirty = True
            self.world.write_soon(self)

    def write(self) -> None:
        """Write what has been gathered."""
        self.dirty = False
        out = self.out
        if out and self.state != CLOSED:
            self.out = []
            self.transport.write(b"".join(out))

    def pause_writing(self) -> None:
        """The client does not read: no further request is begun, and no endpoint need send."""
        self.blocked_writing = True
        for stream in self.streams.values():
            stream.hold_back()
        self.patient_until = self.world.now + self.listener.limits.idle_timeout
        self.need(self.patient_until)

    def resume_writing(self) -> None:
        """The client reads again."""
        self.blocked_writing = False
        self.patient_until = _FOREVER
        for stream in tuple(self.streams.values()):
            stream.go_on()
        if self.opened:
            self._begin_opened()
            self._flush_endpoints()

    # --- ends ---------------------------------------------------------------------------------------------------------

    def drain(self, *, new_too: bool) -> None:
        """Go away: first say so, take what is on its way, then finish what there is (section 6.8)."""
        now = self.world.now
        if self.state == OPEN and (new_too or self.requests):
            self.state = TOLD
            self.told_at = now
            self.out += (frames.goaway(_ANY_STREAM, errors.NO_ERROR), frames.ping(_DRAINING))
            self.touch()
            self.need(now + _NOTICE)
        elif self.state == TOLD and now - self.told_at >= _NOTICE:
            self._leave()

    def _leave(self) -> None:
        self.state = LEAVING
        self.out.append(frames.goaway(self.taken, errors.NO_ERROR))
        self.touch()
        if not self.streams:
            self.close()

    def give_up(self) -> None:
        """The time for ending in order is over."""
        self._drop("listener.draining")

    def _drop(self, reason: str) -> None:
        """End the connection without a word, which nobody would read in time."""
        self.transport.abort()
        self._end_streams(reason)

    def _fail(self, error: H2Error, reason: str) -> None:
        """The connection cannot go on: say why, and close so that the client reads it."""
        self.world.stats.count(REFUSED, reason)
        self.opened = []
        self.out.append(frames.goaway(self.taken, error.code, error.detail.encode()))
        self.write()
        self.state = CLOSED
        self._end_streams()
        self.recv_left = _LINGER_BYTES
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.deadline = self.world.now + _LINGER_SECONDS
            self.world.watch(self)
        else:
            self.transport.close()

    def _discard(self, data: bytes) -> None:
        """What comes behind an error is read, so that our last words are not lost, but not for long."""
        self.recv_left -= len(data)
        if self.recv_left < 0:
            self.transport.abort()

    def _end_streams(self, reason: str = "client.gone") -> None:
        streams = tuple(self.streams.values())
        self.streams.clear()
        self.blocked.clear()
        for stream in streams:
            stream.seen = None
            if stream.tunnelled is not None:
                stream.tunnelled.lost(from_client=True)
            exchange = stream.exchange
            if exchange is not None:
                exchange.on_client_gone(reason)

    # --- time ---------------------------------------------------------------------------------------------------------

    def need(self, at: float) -> None:
        """Something is due at ``at``."""
        if at < self.deadline or not self.wheel_at:
            self.deadline = at
            if not self.wheel_at or at < (self.wheel_at - 1) * TICK:
                self.world.watch(self)

    def on_deadline(self, now: float) -> None:
        """Look what is due: of the streams, or of the connection."""
        if self.state == CLOSED:
            return self.transport.abort()
        if now >= self.patient_until:
            return self._drop("client.stalled")
        if self.state == TOLD and now - self.told_at >= _NOTICE:
            self._leave()
        for stream in tuple(self.streams.values()):
            if stream.deadline <= now:
                self._due(stream, now)
        if self.state == CLOSED:
            return None
        if self.streams:
            due = self._still_there(now)
        elif now >= self.idle_at:
            self.out.append(frames.goaway(self.taken, errors.NO_ERROR))
            return self.close()
        else:
            due = self.idle_at
        if self.state == TOLD:
            due = min(due, self.told_at + _NOTICE)
        self.deadline = min(due, self.patient_until)
        self.world.watch(self)
        return None

    def _due(self, stream: H2Stream, now: float) -> None:
        try:
            stream.on_deadline(now)
        except Exception as bug:  # noqa: BLE001 - a bug in one must not cost the others their time limits
            self.world.bug("the deadline of a request", bug)
            stream.abort()

    def _still_there(self, now: float) -> float:
        """Ask a client that has been silent for long; when to look again."""
        look = self.heard + _SILENCE
        if now >= look:
            look += _PATIENCE
            if now >= look:
                self._drop("client.gone")
                return now
            self.out.append(frames.ping(b"\0" * 8))
            self.touch()
        return min(look, *[stream.deadline for stream in self.streams.values()])
