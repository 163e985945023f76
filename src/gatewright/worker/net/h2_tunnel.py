"""A stream of HTTP/2 as one end of a tunnel: what a transport is to a connection of HTTP/1.1 (RFC 8441)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatewright.wire.h2 import errors
from gatewright.wire.h2.frames import END_STREAM

if TYPE_CHECKING:
    from gatewright.wire.h2.stream import Stream


class StreamTransport:
    """The part of a transport's interface that :class:`gatewright.worker.net.tunnel.Tunnel` uses."""

    __slots__ = ("_ended", "_stream")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._ended = False

    def write(self, data: bytes) -> None:
        """Send bytes."""
        stream = self._stream
        if not self.is_closing() and not self._ended:
            stream.conn.send_data(stream, data, 0)
            stream.conn.touch()

    def can_write_eof(self) -> bool:
        """A side can be ended by itself."""
        return not self._ended

    def write_eof(self) -> None:
        """Our side is done."""
        stream = self._stream
        if not self.is_closing() and not self._ended:
            self._ended = True
            stream.conn.send_data(stream, b"", END_STREAM)
            stream.conn.touch()

    def pause_reading(self) -> None:
        """Give no more credit."""
        self._stream.pause()

    def resume_reading(self) -> None:
        """Give credit again."""
        self._stream.resume()

    def is_closing(self) -> bool:
        """Whether the stream is gone."""
        return self._stream.id not in self._stream.conn.streams

    def close(self) -> None:
        """End our side; the peer has to end its own soon."""
        self.write_eof()
        if not self.is_closing():
            self._stream.linger()

    def abort(self) -> None:
        """Give the stream up."""
        stream = self._stream
        if not self.is_closing():
            stream.conn.reset(stream.id, errors.CANCEL)
            stream.conn.forget(stream)
