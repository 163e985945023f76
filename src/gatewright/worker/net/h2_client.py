"""HTTP/2 towards an endpoint: one connection, many exchanges (RFC 9113)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from gatewright.proxy import ports
from gatewright.tls.client import failure_of
from gatewright.wire.h2 import errors, frames
from gatewright.wire.h2.connection import FIRST, H2Connection
from gatewright.wire.h2.errors import H2Error
from gatewright.wire.h2.heads import H2ResponseFields, Malformed, read_status, read_trailers
from gatewright.wire.h2.hpack import HeadersTooLarge
from gatewright.wire.h2.stream import WINDOW
from gatewright.worker.net.h1_client import WRITE_HIGH, WRITE_LOW, closing_time
from gatewright.worker.net.h2_call import H2Call
from gatewright.worker.net.timers import TICK

if TYPE_CHECKING:
    from gatewright.http.headers import Pair
    from gatewright.proxy.exchange import Exchange
    from gatewright.proxy.multiplex import MultiplexPool
    from gatewright.worker.world import World

_MOST_HEAD = 64 * 1024
_MOST_FIELDS = 256
#: Octets on the way to us on one connection. Streams that are paused do not hold them: a client that reads slowly must
#: not stop the others of the connection.
_WINDOW = 16 * 1024 * 1024
#: Resets and idle frames that an endpoint, which we have chosen, may bother us with.
_RESETS = 10_000
_CONTROL_FRAMES = 2_000
#: Streams that are opened before the endpoint has said how many it takes.
_STREAMS = 100
_MOST_STREAMS = 1_000
_LAST_ID = 0x7FFFFFFF
_SILENCE = 30.0  # seconds without a frame after which an endpoint with requests in flight is asked whether it is there
_PATIENCE = 20.0
_CLOSING_SECONDS = 10.0
_MOST_HEADS = 16
_LONGEST_BLOCK = 2048


class H2Client(H2Connection[H2Call], asyncio.Protocol):
    """A connection to an endpoint. Its pool made it and hands out its streams."""

    __slots__ = (
        "alive", "awaited", "blocked_writing", "blocks", "born", "connect_protocol", "deadline", "dirty", "gathered",
        "heads", "heads_generation", "heard", "idle_at", "last_id", "most_streams", "pool", "pooled", "ready",
        "retiring", "room", "scheme", "trailers", "transport", "wheel_at", "world",
    )  # fmt: skip

    def __init__(self, world: World, pool: MultiplexPool) -> None:
        super().__init__(world.now, _MOST_HEAD, _WINDOW, _RESETS, _CONTROL_FRAMES)
        self.credit_at_once = True
        self.world = world
        self.pool = pool
        self.scheme = b"http" if pool.tls is None else b"https"
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.alive = self.ready = self.awaited = self.pooled = self.retiring = False
        self.last_id = -1
        self.most_streams = _STREAMS
        self.room = _STREAMS
        #: The endpoint takes WebSockets (RFC 8441).
        self.connect_protocol = False
        #: Exchanges that have something for their clients.
        self.gathered: list[Exchange] = []
        #: Blocks of requests as they were sent, by what they follow from.
        self.blocks: dict[tuple[Any, ...], bytes] = {}
        self.dirty = False
        self.blocked_writing = False
        self.born = self.heard = world.now
        self.idle_at = 0.0
        self.deadline = 0.0
        self.wheel_at = 0
        #: Heads and trailers that have been understood, for as long as the table does not change.
        self.heads: dict[bytes, tuple[int, H2ResponseFields]] = {}
        self.trailers: dict[bytes, tuple[Pair, ...]] = {}
        self.heads_generation = 0

    # --- connection ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected. The endpoint's own settings tell that it speaks HTTP/2, and how much it takes."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(WRITE_HIGH, WRITE_LOW)
        self.alive = True
        self.out += (
            frames.PREFACE,
            frames.settings(
                {
                    frames.ENABLE_PUSH: 0,
                    frames.INITIAL_WINDOW_SIZE: WINDOW,
                    frames.MAX_HEADER_LIST_SIZE: _MOST_HEAD,
                }
            ),
        )
        self._credit_connection()
        self.touch()
        self.idle_at = self.deadline = self.world.now + self.pool.connect_timeout
        self.world.watch(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whoever's doing."""
        refusal = failure_of(exc) if exc is not None and self.pool.tls is not None else None
        if refusal is not None:  # in TLS 1.3 an endpoint that does not accept our certificate says so only now
            self.world.insecure(self.pool, refusal)
        elif self.alive and self.awaited and not self.ready:
            detail = "it has closed the connection instead of speaking HTTP/2"
            if self.pool.tls is not None:
                detail += "; it may want a certificate of ours"
            self.world.note("upstream.protocol", endpoint=self.pool.endpoint.key, detail=detail)
        self._gone(ports.PROTOCOL if refusal is None else ports.TLS)
        self.world.unwatch(self)  # the ends of calls may have asked for time

    def _gone(self, condition: str) -> None:
        """Tell the pool and the exchanges, once. ``condition``: why, where the connection never got ready."""
        if not self.alive:
            self.world.unwatch(self)
            return
        self.alive = False
        self.room = 0
        self.world.unwatch(self)
        calls = tuple(self.streams.values())
        self.streams.clear()
        self.blocked.clear()
        if self.pooled:
            self.pool.lost(self)
        elif self.awaited:
            self.pool.failed(condition)
        for call in calls:
            call.lost()

    def eof_received(self) -> bool:
        """The endpoint will send no more."""
        return False

    def close(self) -> None:
        """Close after what has been written."""
        self.retiring = True
        self.room = 0
        self.pool.retired(self)
        self.write()
        self.transport.close()
        self.deadline = self.world.now + closing_time(self.transport)
        self.world.watch(self)

    # --- streams ------------------------------------------------------------------------------------------------------

    def stream(self) -> H2Call:
        """A new stream; its number is given when its request is sent."""
        self.room -= 1
        return H2Call(self)

    def open(self, call: H2Call) -> None:
        """``call`` sends its request now."""
        self.last_id += 2
        call.id = self.last_id
        call.born = self.world.now
        self.streams[self.last_id] = call
        self.useful += 1
        if self.last_id >= _LAST_ID:
            self.retire()

    def busy(self) -> bool:
        """Whether there are streams."""
        return bool(self.streams)

    def retire(self) -> None:
        """Take no more streams; close when those there are have ended."""
        if not self.retiring:
            self.retiring = True
            self.room = 0
            self.pool.retired(self)
            if not self.streams and self.alive:
                self.close()

    def on_forgotten(self, stream: H2Call) -> None:
        """A stream is over: another may have its place."""
        world = self.world
        if self.retiring:
            if not self.streams:
                self.close()
            return
        self.room = self.most_streams - len(self.streams)
        spec = self.pool.spec
        if spec.max_age is not None and world.now - self.born >= spec.max_age:
            self.retire()
            return
        if not self.streams:
            self.idle_at = at = world.now + spec.idle_timeout
            if at < self.deadline:
                self.need(at)
        if self.pool.waiters:
            self.pool.has_room(self)

    # --- reading ------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes from the endpoint. Hot."""
        if not self.alive:
            return
        self.now = self.heard = self.world.now
        try:
            self.feed(data)
        except H2Error as error:
            self._fail(error)
        except Exception as bug:  # noqa: BLE001 - a bug of ours must not cost more than this connection
            self.world.bug("an HTTP/2 connection to an endpoint", bug)
            self._fail(H2Error(errors.INTERNAL_ERROR, ""))
        if self.gathered:
            self._flush_clients()
        if not self.ready and self.expect != FIRST and self.alive:
            self.ready = True
            if self.awaited:
                self.pool.connected(self)

    def _flush_clients(self) -> None:
        """What a segment has brought for a client goes there in one piece."""
        gathered, self.gathered = self.gathered, []
        for exchange in gathered:
            exchange.client.flush()

    def on_block(self, stream_id: int, block: bytes, end: int) -> None:
        """A header block: a response, one of several, or trailers. Hot."""
        call = self.streams.get(stream_id)
        if call is None:
            if not self.was_opened(stream_id):
                raise H2Error(errors.PROTOCOL_ERROR, "HEADERS on a stream that nobody opened")
            self._chatter()
            self._skip(block)
            return
        if self.decoder.generation != self.heads_generation:
            self._forget_heads()
        if call.remote_done:
            self._skip(block)
            call.malformed("HEADERS behind the end")
            return
        try:
            if call.responded:
                self._trailers(call, block, end)
            else:
                status, fields = self.heads.get(block) or self._read_head(block)
                if status < 200:
                    self._chatter()
                call.on_head(status, fields, end)
        except (Malformed, HeadersTooLarge) as error:
            call.malformed(str(error) or "the header section is too large")

    def _read_head(self, block: bytes) -> tuple[int, H2ResponseFields]:
        decoder = self.decoder
        before = decoder.generation
        pseudo, at = decoder.decode_until_regular(block)
        pairs = decoder.decode_from(block, at)
        status = read_status(pseudo)
        if len(pairs) > _MOST_FIELDS:
            raise HeadersTooLarge
        head = status, H2ResponseFields(pairs)
        if decoder.generation == before and len(block) <= _LONGEST_BLOCK:
            if len(self.heads) >= _MOST_HEADS:
                self.heads.clear()
            self.heads[block] = head
        return head

    def _trailers(self, call: H2Call, block: bytes, end: int) -> None:
        trailers = self.trailers.get(block)
        if trailers is None:
            before = self.decoder.generation
            trailers = read_trailers(self.decoder.decode(block))
            if self.decoder.generation == before and len(block) <= _LONGEST_BLOCK:
                if len(self.trailers) >= _MOST_HEADS:
                    self.trailers.clear()
                self.trailers[block] = trailers
        if not end or call.left > 0 or call.tunnel is not None:
            raise Malformed("trailers that do not end the message")
        call.remote_done = True
        call.finish(trailers)

    def _forget_heads(self) -> None:
        self.heads_generation = self.decoder.generation
        self.heads.clear()
        self.trailers.clear()

    def _skip(self, block: bytes) -> None:
        """Nobody wants it; the table has to stay in step."""
        try:
            self.decoder.decode(block)
        except HeadersTooLarge:
            return

    # --- what the codec asks and tells --------------------------------------------------------------------------------

    def was_opened(self, stream_id: int) -> bool:
        """Streams are numbered upwards, ours are odd."""
        return bool(stream_id & 1) and stream_id <= self.last_id

    def on_setting(self, name: int, value: int) -> None:
        """How many streams the endpoint takes, and whether they may be WebSockets."""
        if name == frames.MAX_CONCURRENT_STREAMS:
            self.most_streams = min(value, _MOST_STREAMS)
            if not self.retiring:
                self.room = self.most_streams - len(self.streams)
                if self.pooled:
                    self.pool.has_room(self)
        elif name == frames.ENABLE_CONNECT_PROTOCOL:
            self.connect_protocol = bool(value)
        elif name == frames.ENABLE_PUSH and value:
            raise H2Error(errors.PROTOCOL_ERROR, "a server that allows itself to push")

    def on_goaway(self, last: int, code: int) -> None:
        """The endpoint goes away; what it has not looked at is tried elsewhere (section 6.8)."""
        calls = [call for number, call in self.streams.items() if number > last]
        self.retiring = True
        self.room = 0
        self.pool.retired(self)
        for call in calls:
            self.forget(call)
            call.refused()
        if not self.streams and self.alive:
            self.close()

    def on_pong(self, payload: bytes) -> None:
        """The endpoint is there: having heard anything is enough."""

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
        if out and self.alive:
            self.out = []
            self.transport.write(b"".join(out))

    def pause_writing(self) -> None:
        """The endpoint reads more slowly than clients send."""
        self.blocked_writing = True
        for call in self.streams.values():
            call.on_stuck()

    def resume_writing(self) -> None:
        """The endpoint has caught up."""
        self.blocked_writing = False
        for call in tuple(self.streams.values()):
            if call.waiting is None:
                call.on_moving()

    def _fail(self, error: H2Error) -> None:
        """The endpoint has broken the protocol."""
        self._flush_clients()
        self.retiring = True  # those who wait need another connection
        self.room = 0
        self.pool.retired(self)
        self.world.note("upstream.malformed", endpoint=self.pool.endpoint.key, detail=error.detail)
        self.out.append(frames.goaway(0, error.code, error.detail.encode()))
        self.write()
        self.transport.close()
        for call in tuple(self.streams.values()):
            call.malformed(error.detail)
        self._gone(ports.PROTOCOL)
        self.deadline = self.world.now + _CLOSING_SECONDS
        self.world.watch(self)

    # --- time ---------------------------------------------------------------------------------------------------------

    def need(self, at: float) -> None:
        """Something is due at ``at``."""
        if at < self.deadline or not self.wheel_at:
            self.deadline = at
            if not self.wheel_at or at < (self.wheel_at - 1) * TICK:
                self.world.watch(self)

    def on_deadline(self, now: float) -> None:
        """Look what is due: of the streams, or of the connection."""
        if self.transport.is_closing():
            self.transport.abort()
            return
        if not self.ready:
            self.transport.abort()
            self._gone(ports.CONNECT_TIMEOUT)
            return
        for call in tuple(self.streams.values()):
            if call.deadline <= now:
                self._due(call, now)
        if not self.alive or self.transport.is_closing():
            return
        if not self.streams and now >= self.idle_at:
            self.out.append(frames.goaway(0, errors.NO_ERROR))
            self.close()
            return
        self.deadline = self._still_there(now) if self.streams else self.idle_at
        self.world.watch(self)

    def _due(self, call: H2Call, now: float) -> None:
        try:
            call.on_deadline(now)
        except Exception as bug:  # noqa: BLE001 - a bug in one must not cost the others their time limits
            self.world.bug("the deadline of a call", bug)
            call.cancel()

    def _still_there(self, now: float) -> float:
        """Ask an endpoint that has been silent for long; when to look again."""
        look = self.heard + _SILENCE
        if now >= look:
            look += _PATIENCE
            if now >= look:
                self.transport.abort()
                self._gone(ports.RESET)
                return now
            self.out.append(frames.ping(b"\0" * 8))
            self.touch()
        return min(look, *[call.deadline for call in self.streams.values()])
