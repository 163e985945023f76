"""The controller's end of the channel to the supervisor."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from gatewright.errorlog import ErrorLog
from gatewright.errors import ConfigError, Problem
from gatewright.ipc.attached import AttachedChannel
from gatewright.ipc.channel import ChannelError
from gatewright.ipc.messages import (
    BindFailed,
    Bound,
    Drain,
    Layout,
    Message,
    Published,
    Reload,
    SupervisorToController,
    WorkerExited,
    WorkerStarted,
)

_MAX_UNSENT = 16 * 1024 * 1024


class SupervisorLink:
    """Asks the supervisor for sockets and hears of workers and signals.

    Args:
        sock: This process's end.
        log: The controller's error log.
        on_event: Called with everything but answers to :meth:`bind`; the socket is a worker's channel.
        on_lost: Called when the supervisor has ended, or wants this process to end.
    """

    def __init__(
        self,
        sock: socket.socket,
        log: ErrorLog,
        on_event: Callable[[WorkerStarted | WorkerExited | Reload | Drain, socket.socket | None], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._log = log
        self._on_event = on_event
        self._on_lost = on_lost
        self._answer: asyncio.Future[tuple[Bound | BindFailed, socket.socket | None]] | None = None
        self._channel: AttachedChannel[SupervisorToController] = AttachedChannel(
            sock, SupervisorToController, self._receive, self._lost, _MAX_UNSENT
        )

    def send(self, message: Message) -> None:
        """Send a message that needs no answer."""
        self._channel.send(message)

    async def bind(self, layout: Layout) -> tuple[Bound, socket.socket | None]:
        """Have the listeners of a layout opened. Returns their addresses, and the admin listener's socket.

        Raises:
            ConfigError: One of them cannot be opened; nothing has changed.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._channel.send(layout)
        try:
            answer, sock = await self._answer
        finally:
            self._answer = None
        if isinstance(answer, BindFailed):
            raise ConfigError([Problem("listener.bind", answer.error, path=_path(layout, answer.listener))])
        return answer, sock

    def keep(self, version: int, snapshot: bytes) -> None:
        """Leave a snapshot with the supervisor, for the controller after this one."""
        fd = os.memfd_create("gatewright-snapshot")
        with os.fdopen(fd, "wb") as file:
            file.write(snapshot)
            file.flush()
            self._channel.send(Published(version), [fd])

    def close(self) -> None:
        """End the channel."""
        self._channel.close()

    def _receive(self, message: SupervisorToController, descriptors: list[int]) -> None:
        sock = socket.socket(fileno=descriptors.pop()) if descriptors else None
        if not isinstance(message, Bound | BindFailed):
            self._on_event(message, sock)
        elif self._answer is not None and not self._answer.done():
            self._answer.set_result((message, sock))
        elif sock is not None:
            sock.close()

    def _lost(self, error: ChannelError | None) -> None:
        if error is not None:
            self._log.error("controller.channel", f"the channel to the supervisor broke: {error}")
        self._on_lost()


def _path(layout: Layout, name: str) -> str:
    for index, listener in enumerate(layout.listeners):
        if listener.name == name:
            return f"listeners[{index}].bind"
    return "admin.bind"
