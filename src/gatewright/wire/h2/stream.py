"""What both ends of an HTTP/2 stream have: its windows, and what waits for them (RFC 9113 sections 5.1, 5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatewright.wire.h2.connection import H2Connection

#: Octets of a body a peer may send on one stream before we have passed them on.
WINDOW = 128 * 1024

_FOREVER = float("inf")


class Stream:
    """One stream. A stream that both sides have ended, or one has reset, is no longer in its connection's table."""

    __slots__ = (
        "born", "conn", "deadline", "id", "left", "local_done", "paused", "recv_left", "remote_done", "send_window", "trailers",
        "unread", "waiting", "waiting_end", "waiting_size",
    )  # fmt: skip

    def __init__(self, conn: H2Connection, stream_id: int) -> None:
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
        #: Whoever takes the data cannot: no credit until it can.
        self.paused = False
        #: Octets that Content-Length still promises; -1 when nothing is known.
        self.left = -1
        #: Data that waits for a window, and what comes behind it: END_STREAM, or an encoded block of trailers.
        self.waiting: list[bytes] | None = None
        self.waiting_size = 0
        self.waiting_end = False
        self.trailers = b""

    # --- what the connection reports; the two ends override these ------------------------------------------------------

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
        """The stream is gone: the peer has reset it, or has broken a rule so that we have."""
        raise NotImplementedError

    def on_stuck(self) -> None:
        """Something waits for a window: whoever sends it should pause."""
        raise NotImplementedError

    def on_moving(self) -> None:
        """Nothing waits any more."""
        raise NotImplementedError

    def on_deadline(self, now: float) -> None:
        """Its deadline has come."""
        raise NotImplementedError

    # --- sending ------------------------------------------------------------------------------------------------------

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
            self.conn.credit(self, 0)
