"""Bytes both ways after a switch of protocols: WebSocket frames pass untouched, and are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from gatewright.proxy.endpoints import OK
from gatewright.wire.websocket import GOING_AWAY, TOO_BIG, FrameCounter, close_frame

if TYPE_CHECKING:
    from gatewright.proxy.exchange import Exchange
    from gatewright.worker.net.h1_client import H1Client
    from gatewright.worker.net.h1_server import H1Server
    from gatewright.worker.net.h2_call import H2Call
    from gatewright.worker.net.h2_stream import H2Stream
    from gatewright.worker.world import World

    ClientEnd: TypeAlias = H1Server | H2Stream
    UpstreamEnd: TypeAlias = H1Client | H2Call

_CLIENT, _UPSTREAM, _BOTH = 1, 2, 3
_CLOSING_TIME = 1.0  # seconds between our close frame and the end of the connection


class Tunnel:
    """Couples a client's and an endpoint's connection: data, back-pressure, half-close, idle limit, byte counts."""

    __slots__ = (
        "_client_frames",
        "_upstream_frames",
        "client",
        "closing",
        "deadline",
        "ended",
        "exchange",
        "idle",
        "upstream",
        "wheel_at",
        "world",
    )

    def __init__(self, world: World, exchange: Exchange, client: ClientEnd, upstream: UpstreamEnd) -> None:
        self.world = world
        self.exchange = exchange
        self.client = client
        self.upstream = upstream
        self.idle = exchange.route.websocket_idle
        self.deadline = world.now + self.idle
        self.wheel_at = 0
        self.closing = False
        #: Sides that will send no more.
        self.ended = 0
        most = exchange.route.websocket_message
        self._client_frames = FrameCounter(most)
        self._upstream_frames = FrameCounter(most)
        world.watch(self)
        world.tunnels.add(self)

    def from_client(self, data: bytes) -> None:
        """Bytes from the client. Nothing follows our close frame."""
        if self.closing:
            return None
        self.exchange.bytes_in += len(data)
        self.deadline = self.world.now + self.idle
        if not self._client_frames.feed(data):
            return self.end(TOO_BIG, "websocket.message_too_large")
        if self.upstream.alive:
            self.upstream.transport.write(data)
        return None

    def from_upstream(self, data: bytes) -> None:
        """Bytes from the endpoint. Nothing follows our close frame."""
        if self.closing:
            return None
        self.exchange.bytes_out += len(data)
        self.deadline = self.world.now + self.idle
        if not self._upstream_frames.feed(data):
            return self.end(TOO_BIG, "websocket.message_too_large")
        self.client.transport.write(data)
        return None

    def pause(self, *, client: bool) -> None:
        """One side reads too slowly: stop reading the other (the client's side when ``client``)."""
        side = self.client if client else self.upstream
        if not side.transport.is_closing():
            side.transport.pause_reading()

    def resume(self, *, client: bool) -> None:
        """The slow side has caught up."""
        side = self.client if client else self.upstream
        if not side.transport.is_closing():
            side.transport.resume_reading()

    def half_closed(self, *, from_client: bool) -> bool:
        """One side will send no more; the other is told, and may go on sending. True keeps the transport open."""
        self.ended |= _CLIENT if from_client else _UPSTREAM
        side, other = (self.client, self.upstream) if from_client else (self.upstream, self.client)
        # A TLS transport ends in both directions at once, on either side.
        both = side.transport.can_write_eof() and other.transport.can_write_eof()
        if self.ended != _BOTH and both and not other.transport.is_closing():
            other.transport.write_eof()
            return True
        return False  # the end of this connection is the end of the other: see lost()

    def lost(self, *, from_client: bool) -> None:
        """One side is gone: what is still buffered for the other is sent, then it is closed too."""
        other = self.upstream if from_client else self.client
        other.transport.close()
        self._finish("")

    def end(self, code: int, reason: str) -> None:
        """Say goodbye to both sides with a close frame where a frame boundary allows it, and close soon."""
        if self.closing:
            return
        self.closing = True
        ended = self.ended
        if not ended & _UPSTREAM and self._upstream_frames.at_boundary and not self.client.transport.is_closing():
            self.client.transport.write(close_frame(code, masked=False))
        if not ended & _CLIENT and self._client_frames.at_boundary and self.upstream.alive:
            self.upstream.transport.write(close_frame(code, masked=True))
        self.exchange.reason = reason
        self.deadline = self.world.now + _CLOSING_TIME
        self.world.watch(self)

    def drain(self) -> None:
        """The gateway is going away."""
        self.end(GOING_AWAY, "listener.draining")

    def on_deadline(self, now: float) -> None:
        """Nothing has passed for too long, or the time after our close frame is over."""
        if not self.closing:
            return self.end(GOING_AWAY, "websocket.idle")
        self.client.transport.close()
        self.upstream.transport.close()
        return self._finish("")

    def _finish(self, reason: str) -> None:
        self.world.unwatch(self)
        self.world.tunnels.discard(self)
        exchange = self.exchange
        exchange.conn = None
        if not exchange.ended:
            now = self.world.clock()
            exchange.release(OK, "", now)
            exchange.finish(reason or exchange.reason, now)
