"""Opening a connection to an endpoint, a secure one too. Cold: one connection serves many requests."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from gatewright.tls.client import TlsFailure, failure_of

if TYPE_CHECKING:
    from gatewright.proxy.endpoints import Endpoint
    from gatewright.tls.client import ClientTls


# cold: once for each connection
async def dial(
    loop: asyncio.AbstractEventLoop, endpoint: Endpoint, connection: Any, tls: ClientTls | None, within: float
) -> None:
    """Connect the protocol ``connection`` to ``endpoint``, all in ``within`` seconds.

    Raises:
        TimeoutError: The endpoint was not reached in time.
        OSError: It could not be reached.
        ValueError: Its host cannot be one.
        TlsFailure: It was reached, but the connection is not secure, or was not in time.
    """
    sock: socket.socket | None = None
    try:
        async with asyncio.timeout(within):
            if endpoint.host.startswith("/"):
                await loop.create_unix_connection(lambda: connection, endpoint.host)
            elif tls is None:
                await loop.create_connection(lambda: connection, endpoint.host, endpoint.port)
            else:
                sock = await _reach(loop, endpoint)  # apart from the handshake, to tell what has failed
                transport, _ = await loop.create_connection(
                    lambda: connection, sock=sock, ssl=tls.begin(), server_hostname=tls.name
                )
                tls.begun(transport.get_extra_info("ssl_object"))
    except TlsFailure:
        connection.transport.abort()
        raise
    except (OSError, ValueError) as error:
        if sock is None:
            raise
        raise _failure(error, within) from error


# cold: as above
async def _reach(loop: asyncio.AbstractEventLoop, endpoint: Endpoint) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(sock, (endpoint.host, endpoint.port))
    except BaseException:
        sock.close()
        raise
    return sock


# cold: as above
def _failure(error: Exception, within: float) -> TlsFailure:
    """What has ended a handshake."""
    if isinstance(error, TimeoutError):
        return TlsFailure("timeout", f"the handshake was not complete {within:g} s after the connection was asked for")
    return failure_of(error) or TlsFailure("closed", "the endpoint has closed the connection during the handshake")
