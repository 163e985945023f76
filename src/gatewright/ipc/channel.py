"""Channels between the processes of one gateway: MessagePack messages over a socket pair.

A frame is four bytes of length, one byte with the number of file descriptors that belong to it, and the payload.
There are two ends, which speak the same frames:

* :class:`SocketChannel` reads and writes a non-blocking socket itself, with file descriptors. It fits a selector (the
  supervisor) and ``loop.add_reader`` alike.
* :class:`LoopChannel` is an :class:`asyncio.Protocol` without descriptors, for traffic between controller and worker.

Both bound the size of a message and the bytes that wait to be sent. No Task is made for a message.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, cast

import msgspec

from gatewright.errors import GatewrightError
from gatewright.ipc.messages import Message

M = TypeVar("M")

#: Largest payload. A snapshot of 100,000 routes is far below.
MAX_MESSAGE = 256 * 1024 * 1024
#: Bytes that may wait to be sent before messages are dropped.
MAX_UNSENT = 64 * 1024 * 1024
#: Most descriptors a message may carry; Linux allows 253.
MAX_DESCRIPTORS = 16

_HEADER = struct.Struct("!IB")
_PIECE = 256 * 1024
_ENCODER = msgspec.msgpack.Encoder()


class ChannelError(GatewrightError):
    """The other end broke the framing, or sent more than a message may hold."""


def decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    """A decoder for a union of messages, such as ``WorkerToController``."""
    return msgspec.msgpack.Decoder(kind)


def frame(message: Message, descriptors: int = 0) -> bytes:
    """One message with its header.

    Raises:
        ChannelError: It is larger than :data:`MAX_MESSAGE`.
    """
    payload = _ENCODER.encode(message)
    if len(payload) > MAX_MESSAGE:
        raise ChannelError(f"{type(message).__name__} of {len(payload)} bytes is too large to send")
    return _HEADER.pack(len(payload), descriptors) + payload


class Framer:
    """Cuts a stream of bytes into frames."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        """Take bytes; give each complete payload and its number of descriptors.

        Raises:
            ChannelError: A frame is larger than the limit.
        """
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _HEADER.size:
            size, descriptors = _HEADER.unpack_from(buffer)
            if size > self._limit:
                raise ChannelError(f"a message of {size} bytes was announced; the limit is {self._limit}")
            end = _HEADER.size + size
            if len(buffer) < end:
                return
            payload = bytes(memoryview(buffer)[_HEADER.size : end])
            del buffer[:end]
            yield payload, descriptors


class SocketChannel(Generic[M]):
    """An end that owns a socket and can pass file descriptors.

    Args:
        sock: One end of a ``SOCK_STREAM`` Unix socket pair.
        kind: The union of messages that may arrive.
        on_backlog: Told True when bytes wait for the socket to become writable, and False when they are gone.
        max_unsent: Bytes that may wait; a message beyond is dropped.
    """

    __slots__ = ("_arrived", "_decoder", "_framer", "_max_unsent", "_queue", "_unsent", "on_backlog", "sock")

    def __init__(
        self,
        sock: socket.socket,
        kind: Any,
        on_backlog: Callable[[bool], None] | None = None,
        max_unsent: int = MAX_UNSENT,
    ) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.on_backlog = on_backlog
        self._decoder = cast("msgspec.msgpack.Decoder[M]", decoder(kind))
        self._framer = Framer()
        self._max_unsent = max_unsent
        self._queue: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._unsent = 0
        self._arrived: deque[int] = deque()  # descriptors whose message is not complete yet

    def fileno(self) -> int:
        """The socket's descriptor, for selectors."""
        return self.sock.fileno()

    @property
    def backlog(self) -> int:
        """Bytes that wait to be sent."""
        return self._unsent

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> bool:
        """Send a message, or queue it. The caller keeps its descriptors and may close them at once.

        Returns:
            False when it was dropped: the other end is gone or does not read.
        """
        data = frame(message, len(descriptors))
        if self._queue:
            return self._enqueue(data, [os.dup(fd) for fd in descriptors])
        try:
            sent = self._write(data, descriptors)
        except BlockingIOError:
            return self._enqueue(data, [os.dup(fd) for fd in descriptors])
        except OSError:  # the other end is gone; whoever reads this channel learns it from the end of file
            return False
        return sent == len(data) or self._enqueue(data[sent:], [])

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it. Call it when the socket is writable."""
        while self._queue:
            data, descriptors = self._queue[0]
            try:
                sent = self._write(data, descriptors)
            except BlockingIOError:
                return
            except OSError:
                self._drop_queue()
                break
            self._queue.popleft()
            _close_all(descriptors)
            self._unsent -= sent
            if sent < len(data):
                self._queue.appendleft((data[sent:], ()))
        if self.on_backlog is not None:
            self.on_backlog(False)

    def receive(self) -> tuple[list[tuple[M, list[int]]], bool]:
        """Everything that has arrived, and whether the channel is still open.

        Descriptors belong to the caller.

        Raises:
            ChannelError: The other end broke the rules; close the channel.
        """
        messages: list[tuple[M, list[int]]] = []
        while True:
            try:
                data, control, _, _ = self.sock.recvmsg(_PIECE, socket.CMSG_SPACE(MAX_DESCRIPTORS * 4))
            except BlockingIOError:
                return messages, True
            except OSError:  # reset: the same as the end
                return messages, False
            self._arrived.extend(_descriptors(control))
            if not data:
                return messages, False
            for payload, count in self._framer.feed(data):
                messages.append(self._message(payload, count))

    def close(self) -> None:
        """Close the socket and what was under way."""
        self._drop_queue()
        _close_all(self._arrived)
        self._arrived.clear()
        self.sock.close()

    def _message(self, payload: bytes, count: int) -> tuple[M, list[int]]:
        if count > len(self._arrived):
            raise ChannelError("a message came without its descriptors")
        descriptors = [self._arrived.popleft() for _ in range(count)]
        try:
            return self._decoder.decode(payload), descriptors
        except msgspec.DecodeError as error:
            _close_all(descriptors)
            raise ChannelError(f"a message cannot be read: {error}") from error

    def _write(self, data: bytes, descriptors: Sequence[int]) -> int:
        if not descriptors:
            return self.sock.send(data)
        rights = array("i", descriptors)
        return self.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])

    def _enqueue(self, data: bytes, descriptors: list[int]) -> bool:
        # A frame that has begun must be completed whatever its size, or the reader would lose its place.
        begun = not self._queue and not descriptors
        if not begun and self._unsent + len(data) > self._max_unsent:
            _close_all(descriptors)
            return False
        self._queue.append((data, tuple(descriptors)))
        self._unsent += len(data)
        if self.on_backlog is not None:
            self.on_backlog(True)
        return True

    def _drop_queue(self) -> None:
        for _, descriptors in self._queue:
            _close_all(descriptors)
        self._queue.clear()
        self._unsent = 0


class LoopChannel(asyncio.Protocol, Generic[M]):
    """An end driven by an event loop, without descriptors.

    Args:
        kind: The union of messages that may arrive.
        on_message: Called with each message.
        on_lost: Called once, when the channel has ended.
        max_unsent: Bytes that may wait; a message beyond is dropped.
    """

    __slots__ = ("_decoder", "_framer", "_max_unsent", "_on_lost", "_on_message", "_transport", "dropped")

    def __init__(
        self,
        kind: Any,
        on_message: Callable[[M], None],
        on_lost: Callable[[], None],
        max_unsent: int = MAX_UNSENT,
    ) -> None:
        self._decoder = cast("msgspec.msgpack.Decoder[M]", decoder(kind))
        self._framer = Framer()
        self._on_message = on_message
        self._on_lost = on_lost
        self._max_unsent = max_unsent
        self._transport: asyncio.Transport | None = None
        #: Messages that were not sent because the other end does not read or is gone.
        self.dropped = 0

    async def open(self, sock: socket.socket) -> None:
        """Attach to a connected Unix socket; it belongs to the channel from now on."""
        sock.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=sock)

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._transport is not None

    def send(self, message: Message) -> bool:
        """Send a message; False when it was dropped."""
        return self.send_frame(frame(message))

    def send_frame(self, data: bytes) -> bool:
        """Send what :func:`frame` made: for one message to many receivers."""
        transport = self._transport
        if transport is None or transport.get_write_buffer_size() > self._max_unsent:
            self.dropped += 1
            return False
        transport.write(data)
        return True

    def close(self) -> None:
        """Send what waits, then end the channel."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop has the socket."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes came: cut, decode, hand on."""
        try:
            for payload, _ in self._framer.feed(data):
                self._on_message(self._decoder.decode(payload))
        except (ChannelError, msgspec.DecodeError):
            if self._transport is not None:
                self._transport.abort()
            raise

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end is gone."""
        self._transport = None
        self._on_lost()


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets for a channel."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


def _descriptors(control: list[tuple[int, int, bytes]]) -> list[int]:
    found = array("i")
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    for fd in found:
        os.set_inheritable(fd, False)
    return found.tolist()


def _close_all(descriptors: Sequence[int] | deque[int]) -> None:
    for fd in descriptors:
        os.close(fd)
