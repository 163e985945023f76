"""Serves the admin application on a socket that somebody else has opened.

uvicorn's protocol classes do the HTTP; its ``Server`` is not used, because it wakes the process ten times a second for
its own purposes. An idle admin listener costs no processor time at all.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from gatewright.errorlog import ErrorLog

#: Connections beyond this are answered 503.
MOST_CONNECTIONS = 256
#: Seconds an idle connection is kept, and the time requests get when the listener stops.
KEEP_ALIVE, PATIENCE = 30, 5.0


class AdminServer:
    """One application on at most one socket.

    Args:
        app: What answers.
        log: Where uvicorn's warnings go.
    """

    def __init__(self, app: ASGIApp, log: ErrorLog) -> None:
        self._config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            date_header=False,  # the guard sets it
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
            limit_concurrency=MOST_CONNECTIONS,
        )
        _forward_logs(log)
        self._config.load()
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._inode = 0

    async def serve(self, sock: socket.socket | None) -> None:
        """Serve on ``sock`` (bound, TCP or unix) from now on, and no longer on another; None stops.

        The socket belongs to this object from now on. The same socket once more (another descriptor of it) changes
        nothing.
        """
        if sock is not None and self._server is not None and os.fstat(sock.fileno()).st_ino == self._inode:
            sock.close()
            return
        old, self._server = self._server, None
        if sock is not None:
            sock.setblocking(False)
            self._inode = os.fstat(sock.fileno()).st_ino
            loop = asyncio.get_running_loop()
            if sock.family == socket.AF_UNIX:
                self._server = await loop.create_unix_server(self._protocol, sock=sock)
            else:
                self._server = await loop.create_server(self._protocol, sock=sock)
        if old is not None:
            old.close()

    async def stop(self) -> None:
        """Accept no more, let requests under way finish for a while, close everything."""
        await self.serve(None)
        state = self._state
        for connection in list(state.connections):
            connection.shutdown()
        if state.tasks:
            _, unfinished = await asyncio.wait(state.tasks, timeout=PATIENCE)
            for task in unfinished:
                task.cancel()

    def _protocol(self) -> H11Protocol:
        return H11Protocol(config=self._config, server_state=self._state, app_state={})


class _Forward(logging.Handler):
    """Writes what uvicorn logs into our error log."""

    def __init__(self, log: ErrorLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        self._log.write(record.levelname.lower(), "admin.http", record.getMessage(), {})


def _forward_logs(log: ErrorLog) -> None:
    logger = logging.getLogger("uvicorn")
    logger.handlers = [_Forward(log)]
    logger.propagate = False
