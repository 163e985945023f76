"""What all test origins have in common: a server on a free port whose behaviour sees one connection at a time.

The origins themselves, named by what they do, are in :mod:`gatewright.testing.origins`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Self, cast

from gatewright.testing.raw_client import DEADLINE, MOST_HEAD, reset_on_close

#: What an origin does with one connection.
Behaviour = Callable[["Connection"], Awaitable[None]]


class Seen:
    """A request as the origin saw it. ``headers`` are pairs in order, names in lower case; ``raw`` is the head."""

    def __init__(self, raw: bytes, connection: int) -> None:
        self.raw = raw
        #: Which connection it came on, counted from 0.
        self.connection = connection
        line, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
        self.method, self.target, self.version = line.split(b" ")
        self.headers = [(name.lower(), value.strip()) for name, _, value in (each.partition(b":") for each in lines)]
        self.body = b""
        self.trailers: list[tuple[bytes, bytes]] = []
        #: Whether the body has come to its end.
        self.complete = False

    def get(self, name: bytes) -> bytes | None:
        """The first value of a field."""
        return next((value for other, value in self.headers if other == name), None)

    def all(self, name: bytes) -> list[bytes]:
        """All values of a field."""
        return [value for other, value in self.headers if other == name]

    def __repr__(self) -> str:
        return f"<Seen {self.method.decode()} {self.target.decode()} {len(self.body)} octets>"


class Connection:
    """One connection to an origin, for its behaviour."""

    def __init__(self, origin: Origin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.origin = origin
        self.reader = reader
        self.writer = writer
        self.number = origin.connections
        #: Octets of request bodies read so far.
        self.body_bytes = 0

    async def request_head(self) -> Seen | None:
        """The next request's head, None when the client has closed."""
        try:
            raw = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        seen = Seen(raw, self.number)
        self.origin.requests.append(seen)
        self.origin.changed()
        return seen

    async def request(self) -> Seen | None:
        """The next request with its body, None when the client has closed."""
        seen = await self.request_head()
        if seen is not None:
            await self.request_body(seen)
        return seen

    async def request_body(self, seen: Seen) -> None:
        """Read the body of a request whose head has been read."""
        if seen.get(b"transfer-encoding") is not None:
            while size := int((await self.reader.readuntil(b"\r\n")).partition(b";")[0], 16):
                await self._take(seen, size)
                await self.reader.readexactly(2)
            while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
                name, _, value = line.partition(b":")
                seen.trailers.append((name.lower(), value.strip()))
        else:
            await self._take(seen, int(seen.get(b"content-length") or 0))
        seen.complete = True
        self.origin.changed()

    async def _take(self, seen: Seen, count: int) -> None:
        while count:
            piece = await self.reader.read(min(count, 65536))
            if not piece:
                raise asyncio.IncompleteReadError(b"", count)
            seen.body += piece
            self.body_bytes += len(piece)
            count -= len(piece)
            self.origin.changed()

    async def send(self, *pieces: bytes) -> None:
        """Send the pieces, each in its own write."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def answer(self, seen: Seen, body: bytes = b"", status: bytes = b"200 OK", headers: bytes = b"") -> None:
        """Send a whole response to a request; ``headers`` are lines with their CRLF."""
        head = b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n" % (status, headers, len(body))
        await self.send(head if seen.method == b"HEAD" else head + body)

    def reset(self) -> None:
        """Break the connection with RST."""
        reset_on_close(self.writer.transport)
        self.writer.transport.abort()

    async def released(self) -> None:
        """Wait for :meth:`Origin.release`."""
        await self.origin.go.wait()

    async def closed(self) -> None:
        """Read and forget everything until the client closes."""
        while await self.reader.read(65536):
            pass


class Origin:
    """A server with one behaviour.

    Attributes:
        port: Where it listens.
        requests: What it has seen, in order.
        connections: Accepted so far.
        open: Connections open now.
        errors: Exceptions of the behaviour that are not the client's going away; empty in a good test.
        tls: The server's context, for an origin that speaks TLS; to be set before it starts.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.port = 0
        self.requests: list[Seen] = []
        self.connections = 0
        self.open = 0
        self.errors: list[BaseException] = []
        self.tls: ssl.SSLContext | None = None
        #: Set by :meth:`release`.
        self.go = asyncio.Event()
        self._changed = asyncio.Event()
        self._commands: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``; ``https://`` with TLS."""
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listen; also again after :meth:`stop`, then on the same port when it is given."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=MOST_HEAD, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and all connections."""
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await self.when(self._is_idle)
        self._server = None

    def _is_idle(self) -> bool:
        return not self.open

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self, reader, writer)
        self.connections += 1
        self.open += 1
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        self.changed()
        try:
            await self.behaviour(connection)
            if not writer.is_closing():
                writer.close()
                await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()  # the client went away, which is for the test to judge
        except Exception as error:  # noqa: BLE001 - reported to the test, which owns this server
            self.errors.append(error)
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()  # the end of this task, so nobody needs to hear of it
        finally:
            self._tasks.discard(task)
            self.open -= 1
            self.changed()

    # --- waiting and steering -----------------------------------------------------------------------------------------

    def changed(self) -> None:
        """Something has happened: whoever waits looks again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def when(self, predicate: Callable[[], Any], deadline: float = DEADLINE) -> None:
        """Wait until ``predicate()`` is true; it is looked at whenever something has happened here."""
        async with asyncio.timeout(deadline):
            while not predicate():
                await self._changed.wait()

    async def seen(self, count: int = 1, deadline: float = DEADLINE) -> Seen:
        """Wait until so many requests' heads have come; returns the last of them."""
        async with asyncio.timeout(deadline):
            while len(self.requests) < count:
                await self._changed.wait()
        return self.requests[count - 1]

    async def all_closed(self, deadline: float = DEADLINE) -> None:
        """Wait until every connection is closed."""
        await self.when(self._is_idle, deadline)

    def release(self) -> None:
        """Let everything that waits go on, now and in the future."""
        self.go.set()

    def command(self, data: bytes | None) -> None:
        """Give a behaviour that is driven by the test (``sse``) its next piece; None ends it."""
        self._commands.put_nowait(data)

    async def next_command(self) -> bytes | None:
        """For behaviours: the next piece."""
        return await self._commands.get()


class Refuses(Origin):
    """A port where nobody listens and nobody else can: connections are refused at once."""

    def __init__(self) -> None:
        super().__init__(_nothing)
        self._socket = socket.socket()

    async def start(self, port: int = 0) -> None:
        """Take a port without listening on it."""
        self._socket.bind(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]

    async def stop(self) -> None:
        """Give the port back."""
        self._socket.close()


class NeverAccepts(Refuses):
    """A port whose queue is full: a connection attempt is neither refused nor answered."""

    def __init__(self) -> None:
        super().__init__()
        self._filling: list[socket.socket] = []

    async def start(self, port: int = 0) -> None:
        """Listen with the shortest queue and fill it."""
        await super().start(port)
        self._socket.listen(0)
        for _ in range(4):  # the queue takes one; the others keep trying, which does no harm
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._filling.append(filler)

    async def stop(self) -> None:
        """Close everything."""
        for filler in self._filling:
            filler.close()
        await super().stop()


class AcceptsNeverReads(Origin):
    """Accepts and never reads: what is sent there stays in the sender's buffers after a few kilobytes."""

    def __init__(self) -> None:
        super().__init__(_nothing)
        self._transports: list[asyncio.Transport] = []

    async def start(self, port: int = 0) -> None:
        """Listen with a small receive buffer."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", port))
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Deaf(self), sock=listener)
        self.port = listener.getsockname()[1]

    def accepted(self, transport: asyncio.Transport) -> None:
        """A connection has come; nothing will be read from it."""
        # Not now: uvloop begins to read when connection_made() has returned, whatever was said in it.
        asyncio.get_running_loop().call_soon(transport.pause_reading)
        self.connections += 1
        self.open += 1
        self._transports.append(transport)
        self.changed()

    async def stop(self) -> None:
        """Close the port and all connections."""
        for transport in self._transports:
            transport.abort()
        await super().stop()


class _Deaf(asyncio.Protocol):
    def __init__(self, origin: AcceptsNeverReads) -> None:
        self.origin = origin

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.origin.accepted(cast("asyncio.Transport", transport))

    def connection_lost(self, exc: Exception | None) -> None:
        self.origin.open -= 1
        self.origin.changed()


async def _nothing(connection: Connection) -> None:
    """No connection comes to these."""
