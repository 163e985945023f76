"""What both ends of an HTTP/2 stream have: its windows, and what waits for them (RFC 9113 sections 5.1, 5.2)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from gatewright.http.headers import Pair
from gatewright.wire.h2.frames import END_STREAM
from gatewright.wire.h2.heads import pack_trailers

if TYPE_CHECKING:
    from gatewright.wire.h2.connection import H2Connection

#: Octets of a body a peer may send on one stream before we have passed them on.
WINDOW = 128 * 1024

_FOREVER = float("inf")


class Waiting:
    """What waits for a window: pieces of a body, and what comes behind them."""

    __slots__ = ("end", "pieces", "sent", "size", "trailers")

    def __init__(self) -> None:
        self.pieces: deque[bytes | memoryview] = deque()
        self.size = 0
        #: Octets that have been sent of what had to wait.
        self.sent = 0
        #: END_STREAM comes behind them, by itself or with an encoded block of trailers.
        self.end = False
        self.trailers = b""


class Stream:
    """One stream. A stream that both sides have ended, or one has reset, is no longer in its connection's table."""

    __slots__ = (
        "born", "conn", "data", "deadline", "head", "held", "id", "left", "local_done", "paused", "recv_left",
        "remote_done", "send_window", "unread", "waiting",
    )  # fmt: skip

    def __init__(self, conn: H2Connection[Any], stream_id: int) -> None:
        self.conn = conn
        self.id = stream_id
        self.born = conn.now
        #: When something is due (monotonic seconds); the connection looks after it.
        self.deadline = _FOREVER
        #: Who has sent END_STREAM.
        self.local_done = False
        self.remote_done = False
        #: Octets we may send, and octets the peer may.
        self.send_window = conn.peer_window
        self.recv_left = WINDOW
        #: Octets received for which the peer has had no credit yet.
        self.unread = 0
        #: Those of them that came while it was paused: they hold the connection's window.
        self.held = 0
        #: Whoever takes the data cannot: no credit until it can.
        self.paused = False
        #: Octets that Content-Length still promises; -1 when nothing is known.
        self.left = -1
        self.waiting: Waiting | None = None
        #: An encoded header section and a piece of a body that have not been written.
        self.head: bytes | None = None
        self.data = b""

    # --- what the connection reports; the two ends override these -----------------------------------------------------

    def on_data(self, data: bytes) -> None:
        """A piece of the body came."""
        raise NotImplementedError

    def on_end(self) -> None:
        """The peer has ended its side, without trailers."""
        raise NotImplementedError

    def on_trailers(self, block: bytes) -> None:
        """The peer has ended its side with these trailers, still encoded."""
        raise NotImplementedError

    def on_reset(self, code: int) -> None:
        """The stream is gone: the peer has reset it."""
        raise NotImplementedError

    def on_error(self, code: int) -> None:
        """The stream is gone: the peer has broken a rule, and we have reset it."""
        raise NotImplementedError

    def on_stuck(self) -> None:
        """Something waits for a window: whoever sends it should pause."""
        raise NotImplementedError

    def on_moving(self) -> None:
        """Nothing waits any more."""
        raise NotImplementedError

    def linger(self) -> None:
        """Nobody takes what the peer still sends: it has to end its side soon."""
        raise NotImplementedError

    def on_deadline(self, now: float) -> None:
        """Its deadline has come."""
        raise NotImplementedError

    # --- sending ------------------------------------------------------------------------------------------------------
    # What is sent is gathered until more comes or it is flushed: a short message is two frames without a third.

    def send_body(self, data: bytes) -> None:
        """A piece of the body. Hot."""
        if data:
            if self.data:
                self._emit(0)
            self.data = data

    def send_end(self, trailers: tuple[Pair, ...]) -> None:
        """The message is complete. Hot."""
        if not trailers:
            return self._emit(END_STREAM)
        if self.head is not None or self.data:
            self._emit(0)
        if not self.local_done and self.id in self.conn.streams:
            self.conn.send_trailers(self, pack_trailers(trailers))
        return None

    def flush(self) -> None:
        """Let what has been gathered go."""
        if self.head is not None or self.data:
            self._emit(0)

    def _emit(self, end: int) -> None:
        """Write frames for what has been gathered; ``end`` is END_STREAM or 0. Hot."""
        conn = self.conn
        head, self.head = self.head, None
        data, self.data = self.data, b""
        if self.id not in conn.streams:
            return
        if head is not None:
            alone = 0 if data else end
            conn.send_headers(self.id, head, alone)
            if alone:
                self.finish_sending()
                return
        if data or end:
            conn.send_data(self, data, end)

    def finish_sending(self) -> None:
        """END_STREAM has been sent."""
        self.local_done = True
        if self.remote_done:
            self.conn.forget(self)

    # --- receiving ----------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Give the peer no more credit for this stream."""
        self.paused = True

    def resume(self) -> None:
        """Give credit for what has been taken meanwhile, and go on."""
        if self.paused:
            self.paused = False
            self.conn.credit(self)
