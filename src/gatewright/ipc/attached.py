"""A :class:`SocketChannel` driven by an event loop: messages with file descriptors, which no transport carries."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from gatewright.ipc.channel import ChannelError, SocketChannel
from gatewright.ipc.messages import Message

M = TypeVar("M")


class AttachedChannel(Generic[M]):
    """Reads whenever the loop says so, and calls back.

    Args:
        sock: This process's end.
        kind: The union of messages that may arrive.
        on_message: Called with each message and its descriptors, which it then owns.
        on_lost: Called once when the channel has ended; with the error when the other end broke the rules.
        max_unsent: Bytes that may wait to be sent.
    """

    __slots__ = ("_channel", "_loop", "_on_lost", "_on_message")

    def __init__(
        self,
        sock: socket.socket,
        kind: Any,
        on_message: Callable[[M, list[int]], None],
        on_lost: Callable[[ChannelError | None], None],
        max_unsent: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._on_lost = on_lost
        self._channel: SocketChannel[M] = SocketChannel(sock, kind, self._on_backlog, max_unsent)
        self._loop.add_reader(self._channel.fileno(), self._read)

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> bool:
        """Send a message; False when it was dropped. The caller keeps its descriptors."""
        return self._channel.fileno() >= 0 and self._channel.send(message, descriptors)

    def close(self) -> None:
        """End the channel; ``on_lost`` is not called."""
        fd = self._channel.fileno()
        if fd >= 0:
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)
            self._channel.close()

    def _on_backlog(self, waiting: bool) -> None:
        if waiting:
            self._loop.add_writer(self._channel.fileno(), self._channel.flush)
        else:
            self._loop.remove_writer(self._channel.fileno())

    def _read(self) -> None:
        broken: ChannelError | None = None
        try:
            messages, is_open = self._channel.receive()
        except ChannelError as error:
            messages, is_open, broken = [], False, error
        for message, descriptors in messages:
            self._on_message(message, descriptors)
        if not is_open:
            self.close()
            self._on_lost(broken)
