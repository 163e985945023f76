"""A listening socket of this worker: accepts, counts and limits connections."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, TypeAlias, cast

from gatewright.errors import ProtocolError
from gatewright.proxy.families import REFUSED
from gatewright.proxy.record import RefusedRequest
from gatewright.wire.proxy_protocol import read_proxy_header
from gatewright.worker.net.h1_server import H1Server
from gatewright.worker.net.h2_server import H2Server
from gatewright.worker.net.hsts import server_for
from gatewright.worker.net.tls_server import TlsServer

if TYPE_CHECKING:
    from gatewright.proxy.exchange import Exchange
    from gatewright.proxy.record import ListenerStats
    from gatewright.proxy.runtime import ListenerRuntime
    from gatewright.snapshot.model import Limits
    from gatewright.worker.world import World

_BACKLOG = 4096


#: A client's connection, of either version of HTTP; or still without, as long as a TLS handshake lasts.
Connection: TypeAlias = H1Server | H2Server | TlsServer


class Listener:
    """One address of one worker. Its runtime is replaced when the configuration changes."""

    __slots__ = (
        "_server", "closing", "connections", "h2", "http1", "limits", "most", "name", "runtime", "scheme", "stats",
        "world",
    )  # fmt: skip

    def __init__(self, world: World, runtime: ListenerRuntime, workers: int) -> None:
        self.world = world
        self.name = runtime.name
        self.scheme = b"http"
        self.stats: ListenerStats = world.stats.listener(runtime.name)
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        #: No connection is to serve another request.
        self.closing = False
        self.runtime = runtime
        self.limits: Limits = runtime.spec.limits
        self.most = 0
        #: What may be spoken here.
        self.http1 = self.h2 = True
        self.configure(runtime, workers)

    def configure(self, runtime: ListenerRuntime, workers: int) -> None:
        """Serve what ``runtime`` says from the next request on. Every worker takes its share of the connections."""
        before, self.runtime = self.runtime.tls, runtime
        tls = runtime.tls
        if tls is not None and before is not None:
            tls.succeed(before)
        self.scheme = b"http" if tls is None else b"https"
        self.limits = runtime.spec.limits
        protocols = runtime.spec.protocols
        self.http1 = "http1" in protocols
        self.h2 = "h2c" in protocols or "h2" in protocols
        self.most = max(1, -(-self.limits.connections // workers))

    # cold: once for each socket
    async def open(self, sock: socket.socket) -> None:
        """Accept on ``sock``, which is ours from now on."""
        loop = asyncio.get_running_loop()
        factory = self._accept
        if sock.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(factory, sock=sock, backlog=_BACKLOG)
        else:
            self._server = await loop.create_server(factory, sock=sock, backlog=_BACKLOG)

    def close(self) -> None:
        """Accept no more. Connections that are open stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def drain(self, *, new_too: bool) -> None:
        """Close the connections that have no request in flight; the others close after their answer.

        A connection that has had no request yet is ``new``: its first one is on the way, and closing it would be
        refusing a client that was accepted a moment ago.
        """
        self.closing = True
        for connection in tuple(self.connections):
            connection.drain(new_too=new_too)

    def abort(self) -> None:
        """Close whatever is still open: the time for ending in order is over."""
        for connection in tuple(self.connections):
            connection.give_up()

    # --- called by connections ----------------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> bool:
        """A client has connected. False: too many, turn it away."""
        self.connections.add(connection)
        stats = self.stats
        stats.accepted += 1
        stats.open += 1
        return len(self.connections) <= self.most

    def closed(self, connection: Connection) -> None:
        """A client's connection is gone."""
        self.connections.discard(connection)
        self.stats.open -= 1

    def refused(self, connection: Connection, error: ProtocolError) -> None:
        """A request was refused before it had an exchange."""
        world = self.world
        world.stats.count(REFUSED, error.reason)
        protocol = "http2" if isinstance(connection, H2Server) else "http1"
        refused = RefusedRequest(self.name, connection.peer, error.status, error.reason, world.clock(), protocol)
        world.log(cast("Exchange", refused))

    def hand_over(self, connection: H1Server, data: bytes) -> None:
        """The client of a new ``connection`` speaks HTTP/2: ``data`` is what it has sent so far."""
        self.world.unwatch(connection)
        self.connections.discard(connection)
        successor = H2Server(self.world, self)
        self.connections.add(successor)
        connection.transport.set_protocol(successor)
        successor.begin(connection.transport, connection.peer)
        successor.data_received(data)

    def _accept(self) -> Connection | ProxyHeader:
        """What has a new connection first; what the configuration says of that may change at any time."""
        return ProxyHeader(self) if self.runtime.spec.proxy_protocol else self.serve()

    def serve(self) -> Connection:
        """What serves a new connection; its first bytes may change that (see :meth:`hand_over`)."""
        if self.runtime.tls is not None:
            return TlsServer(self.world, self)
        return H1Server(self.world, self) if self.http1 else H2Server(self.world, self)

    def secured(self, connection: TlsServer) -> H1Server | H2Server:
        """What serves a ``connection`` whose handshake is complete, as has been agreed on there."""
        self.connections.discard(connection)
        stats = self.stats  # the successor counts itself
        stats.accepted -= 1
        stats.open -= 1
        session = connection.session
        h2 = session.selected_alpn_protocol() == "h2" or not self.http1
        server = server_for(session, h2=h2)(self.world, self)
        server.tls = session
        return server


class ProxyHeader(asyncio.Protocol):
    """Reads the PROXY header, then lets what speaks HTTP have the connection."""

    __slots__ = ("_buffer", "_listener", "_transport", "deadline", "wheel_at")

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.deadline = 0.0
        self.wheel_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A load balancer has connected. Where trusted proxies are named, nobody else is believed."""
        self._transport = cast("asyncio.Transport", transport)
        world = self._listener.world
        trust = self._listener.runtime.trust
        peername = transport.get_extra_info("peername")
        if trust.networks and isinstance(peername, tuple) and not trust.covers(peername[0]):
            world.stats.count(REFUSED, "request.malformed")
            self._transport.abort()
            return
        self.deadline = world.now + self._listener.limits.header_timeout
        world.watch(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of the header, and perhaps of the request behind it."""
        transport = self._transport
        if transport is None:
            return
        self._buffer += data
        try:
            found = read_proxy_header(self._buffer)
        except ProtocolError as error:
            self._listener.world.stats.count(REFUSED, error.reason)
            transport.abort()
            return
        if found is None:
            return
        size, address = found
        self._listener.world.unwatch(self)
        connection = self._listener.serve()
        transport.set_protocol(connection)
        connection.connection_made(transport)
        if address is not None:
            connection.peer = address
        if size < len(self._buffer):
            connection.data_received(self._buffer[size:])

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone before the header was complete."""
        self._listener.world.unwatch(self)

    def on_deadline(self, now: float) -> None:
        """The header did not come in time."""
        if self._transport is not None:
            self._transport.abort()
