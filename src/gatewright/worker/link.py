"""A worker's end of the channel to whichever controller there is."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from gatewright.errorlog import ErrorLog
from gatewright.ipc.channel import LoopChannel
from gatewright.ipc.messages import ControllerToWorker, Log, Message, Ready

#: A worker's messages are small; when so much waits, the controller does not read, and the rest is dropped.
_MAX_UNSENT = 4 * 1024 * 1024


class ControllerLink:
    """The channel to the controller. The worker lives on without one; messages are dropped then.

    Args:
        slot: The worker's slot.
        log: Written to when a :class:`Log` message finds no controller.
        on_message: Called with each message.
    """

    __slots__ = ("_channel", "_log", "_on_message", "_slot", "dropped")

    def __init__(self, slot: int, log: ErrorLog, on_message: Callable[[ControllerToWorker], None]) -> None:
        self._slot = slot
        self._log = log
        self._on_message = on_message
        self._channel: LoopChannel[ControllerToWorker] | None = None
        #: Messages lost because there was no controller, or because it did not read.
        self.dropped = 0

    async def attach(self, sock: socket.socket, version: int) -> None:
        """Use a new channel from now on, and introduce this worker with the version it serves."""
        if self._channel is not None:
            self._channel.close()
        channel: LoopChannel[ControllerToWorker] = LoopChannel(
            ControllerToWorker, self._receive, lambda: self._lost(channel), _MAX_UNSENT
        )
        self._channel = channel
        await channel.open(sock)
        channel.send(Ready(self._slot, os.getpid(), version))

    def send(self, message: Message) -> None:
        """Send a message, or drop it when there is nobody to read it."""
        if self._channel is not None and self._channel.send(message):
            return
        self.dropped += 1
        if isinstance(message, Log):
            fields: dict[str, object] = dict(message.fields)
            text = str(fields.pop("message", message.event))
            self._log.write(message.level, message.event, text, fields)

    def close(self) -> None:
        """Send what waits, and end."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _receive(self, message: ControllerToWorker) -> None:
        try:
            self._on_message(message)
        except Exception as error:  # noqa: BLE001 - one message must not cost the channel
            self._log.error("worker.message", f"{type(message).__name__} failed: {error!r}")

    def _lost(self, channel: LoopChannel[ControllerToWorker]) -> None:
        if self._channel is channel:
            self._channel = None
