"""Transports for the rig: what is written stays here to be looked at, and peers do what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from gatewright.testing.rig import Rig


class FakeTransport(asyncio.Transport):
    """The gateway's end of a connection whose other end is a test. Not thread-safe, never asynchronous.

    As with real transports, ``connection_lost`` comes in a later turn, and writes after closing are lost.
    """

    def __init__(self, rig: Rig, protocol: asyncio.Protocol, peer: tuple[str, int] | None) -> None:
        super().__init__()
        self._rig = rig
        self._protocol = protocol
        self._peer = peer
        self.written = bytearray()
        #: Number of write calls.
        self.writes = 0
        self.reading = True
        self.closing = False
        self.lost = False
        self.ended = False
        #: The gateway gave the connection up instead of closing it.
        self.aborted = False
        self._high = 64 * 1024
        self._low = 16 * 1024
        self._stalled = False
        self._waiting = 0
        self._paused = False
        self.unread: list[bytes] = []

    # --- what the protocol uses ---------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Only ``peername`` is known."""
        return (self._peer or "") if name == "peername" else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another protocol takes over."""
        self._protocol = cast("asyncio.Protocol", protocol)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When to pause and resume the writer."""
        self._high = high if high is not None else self._high
        self._low = low if low is not None else self._low

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes for the peer."""
        if self.ended:
            raise RuntimeError("Cannot call write() after write_eof()")  # as asyncio and uvloop do
        if self.closing:
            return
        self.writes += 1
        self.written += data
        if self._stalled:
            self._waiting += len(data)
            if self._waiting > self._high and not self._paused:
                self._paused = True
                self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        """As TCP can."""
        return True

    def write_eof(self) -> None:
        """Our side is done."""
        self.ended = True

    def pause_reading(self) -> None:
        """The protocol wants no more for now."""
        self.reading = False

    def resume_reading(self) -> None:
        """The protocol wants more."""
        self.reading = True
        if self.unread:
            self._rig.soon(self._deliver)

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self.closing

    def close(self) -> None:
        """Close after what has been written."""
        if not self.closing:
            self.closing = True
            self._rig.soon(self._lose)

    def abort(self) -> None:
        """Give the connection up."""
        self.aborted = True
        self.close()

    def get_write_buffer_size(self) -> int:
        """Bytes that the peer has not taken."""
        return self._waiting

    # --- what the test does -------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """The peer has sent ``data``."""
        if self.lost or self.closing:
            return
        self.unread.append(data)
        self._deliver()

    def _deliver(self) -> None:
        while self.unread and self.reading and not self.closing:
            self._protocol.data_received(self.unread.pop(0))

    def feed_eof(self) -> None:
        """The peer will send no more."""
        if not self.lost and not self.closing and not self._protocol.eof_received():
            self.close()

    def lose(self, error: Exception | None = None) -> None:
        """The peer has closed or reset."""
        self.closing = True
        self._lose(error)

    def stall(self) -> None:
        """The peer stops reading."""
        self._stalled = True

    def unstall(self) -> None:
        """The peer reads everything."""
        self._stalled = False
        self._waiting = 0
        if self._paused:
            self._paused = False
            self._protocol.resume_writing()

    def _lose(self, error: Exception | None = None) -> None:
        if not self.lost:
            self.lost = True
            self._protocol.connection_lost(error)


class Peer:
    """The other end of a connection: the client's, or the origin's."""

    def __init__(self, rig: Rig, protocol: asyncio.Protocol, address: tuple[str, int] | None) -> None:
        self._rig = rig
        self.protocol = protocol
        self.transport = FakeTransport(rig, protocol, address)
        self._read = 0

    @property
    def received(self) -> bytes:
        """Everything the gateway has sent so far."""
        return bytes(self.transport.written)

    def take(self) -> bytes:
        """What has come since the last call."""
        new = bytes(self.transport.written[self._read :])
        self._read = len(self.transport.written)
        return new

    @property
    def closed(self) -> bool:
        """The gateway has closed the connection."""
        return self.transport.lost

    @property
    def aborted(self) -> bool:
        """The gateway has closed it without an orderly end."""
        return self.transport.aborted

    def send(self, data: bytes) -> None:
        """Send bytes to the gateway, in one segment."""
        self._do(self.transport.feed, data)

    def send_split(self, data: bytes, size: int = 1) -> None:
        """Send bytes in segments of ``size``."""
        for at in range(0, len(data), size):
            self.send(data[at : at + size])

    def end(self) -> None:
        """Close our sending side."""
        self._do(self.transport.feed_eof)

    def close(self) -> None:
        """Close in order: first our side, then, when the gateway has had its say, the connection."""
        self._do(self.transport.feed_eof)
        self._do(self.transport.lose)

    def reset(self) -> None:
        """Break the connection."""
        self._do(self.transport.lose, ConnectionResetError())

    def stall(self) -> None:
        """Stop reading what the gateway sends."""
        self.transport.stall()

    def unstall(self) -> None:
        """Read everything, and go on reading."""
        self._do(self.transport.unstall)

    def _do(self, action: Callable[..., None], *arguments: Any) -> None:
        action(*arguments)
        self._rig.settle()
