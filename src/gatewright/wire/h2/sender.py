"""The sending half of an HTTP/2 connection: header blocks, and data within windows (RFC 9113 section 5.2)."""

from __future__ import annotations

from typing import Generic, TypeVar

from gatewright.wire.h2 import frames
from gatewright.wire.h2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, frame_head
from gatewright.wire.h2.stream import Stream, Waiting

S = TypeVar("S", bound=Stream)

#: A piece below this is as good as none: a peer that opens its window by so little keeps us busy.
TINY = 256


class Sender(Generic[S]):
    """Gathers what is to be written in ``out``. The reading half is its subclass."""

    __slots__ = ("blocked", "largest_frame", "out", "peer_window", "prefix", "send_window", "streams", "useful")

    #: The peer does not read what was written; set by whoever writes.
    blocked_writing: bool
    #: Whoever writes knows that there is something to write.
    dirty: bool

    def __init__(self) -> None:
        self.out: list[bytes | memoryview] = []
        self.streams: dict[int, S] = {}
        # what the peer allows
        self.peer_window = frames.DEFAULT_WINDOW
        self.send_window = frames.DEFAULT_WINDOW
        self.largest_frame = frames.FRAME_SIZE
        #: What the next header block has to begin with.
        self.prefix = b""
        #: Streams that wait for the connection's window, longest first.
        self.blocked: dict[int, S] = {}
        #: Frames that did something, since chatter was last counted.
        self.useful = 0

    def touch(self) -> None:
        """There is something in ``out``: see to it that it is written. Does nothing when ``dirty``."""
        raise NotImplementedError

    def send_data(self, stream: S, data: bytes, end: int) -> None:
        """Send a piece of a body, or let it wait for a window. ``end`` is END_STREAM or 0. Hot."""
        if not self.dirty:
            self.touch()
        size = len(data)
        waiting = stream.waiting
        if waiting is None:
            if size <= stream.send_window and size <= self.send_window and size <= frames.FRAME_SIZE:
                self.send_window -= size
                stream.send_window -= size
                self.useful += 1
                self.out += (frame_head(DATA, end, stream.id, size), data)
                if end:
                    stream.finish_sending()
                return
            waiting = stream.waiting = Waiting()
        if size:
            waiting.pieces.append(data)
            waiting.size += size
        waiting.end = bool(end)
        self._send_waiting(stream)
        if stream.waiting is not None:
            stream.on_stuck()

    def send_trailers(self, stream: S, block: bytes) -> None:
        """End the stream with trailers, behind the data that waits."""
        waiting = stream.waiting
        if waiting is not None:
            waiting.trailers = block
            waiting.end = True
        else:
            self.send_headers(stream.id, block, END_STREAM)
            stream.finish_sending()

    def send_headers(self, stream_id: int, block: bytes, end: int) -> None:
        """Send a header block. ``end`` is END_STREAM or 0. Hot."""
        if self.prefix:
            block, self.prefix = self.prefix + block, b""
        size = len(block)
        if size <= frames.FRAME_SIZE:
            self.out += (frame_head(HEADERS, end | END_HEADERS, stream_id, size), block)
        else:
            self.out.append(frames.headers(stream_id, block, end, self.largest_frame))
        if not self.dirty:
            self.touch()

    def _send_waiting(self, stream: S) -> None:
        """Send of what waits as much as the windows allow."""
        while self._send_piece(stream):
            if stream.waiting is None:
                return
        if self.send_window <= 0:
            self.blocked[stream.id] = stream

    def _send_blocked(self) -> None:
        """The connection's window has opened: a frame for each stream that waits, in turn."""
        blocked = self.blocked
        while blocked and self.send_window > 0:
            stream_id = next(iter(blocked))
            stream = blocked.pop(stream_id)
            if self._send_piece(stream) and stream.waiting is not None:
                blocked[stream_id] = stream

    def _send_piece(self, stream: S) -> bool:
        """Send one frame of what waits. False when a window is closed."""
        waiting = stream.waiting
        if waiting is None:
            return False
        allowed = min(stream.send_window, self.send_window, self.largest_frame)
        pieces = waiting.pieces
        if pieces and allowed <= 0:
            return False
        self.touch()
        piece: bytes | memoryview = b""
        if pieces:
            piece = pieces[0]
            if len(piece) > allowed:
                view = memoryview(piece)  # what stays is not copied once for each frame
                pieces[0], piece = view[allowed:], view[:allowed]
            else:
                pieces.popleft()
        size = len(piece)
        stream.send_window -= size
        self.send_window -= size
        waiting.size -= size
        waiting.sent += size
        if size >= TINY or not pieces:
            self.useful += 1
        last = not pieces and waiting.end and not waiting.trailers
        if size or last:
            self.out += (frame_head(DATA, END_STREAM if last else 0, stream.id, size), piece)
        if not pieces:
            self._nothing_waits(stream, waiting)
        return True

    def _nothing_waits(self, stream: S, waiting: Waiting) -> None:
        stream.waiting = None
        if waiting.trailers:
            self.send_headers(stream.id, waiting.trailers, END_STREAM)
        if waiting.end:
            stream.finish_sending()
        stream.on_moving()
