r"""A client that sends exactly the bytes it is told to and says exactly what came back.

Everything has a deadline, so a test that waits for the wrong thing fails and does not hang::

    async with RawClient(port) as client:
        await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        response = await client.response()
        assert response.status == 200
"""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Self

#: Seconds that one wait may take.
DEADLINE = 5.0
#: Longest head that is read.
MOST_HEAD = 1 << 20


async def eventually(predicate: Callable[[], Any | Awaitable[Any]], deadline: float = DEADLINE) -> Any:
    """Wait until ``predicate()`` is true and return its value. It may be a coroutine function.

    Looks after every turn of the loop at first, then every five milliseconds. Raises AssertionError when it has not
    become true in time.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline
    turn = 0
    while True:
        value = predicate()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if loop.time() > end:
            raise AssertionError(f"has not become true within {deadline} s: {predicate!r}, last value {value!r}")
        await asyncio.sleep(0 if turn < 100 else 0.005)
        turn += 1


def reset_on_close(transport: asyncio.BaseTransport) -> None:
    """Make the next close of the transport send RST in place of FIN."""
    fileno = transport.get_extra_info("socket").fileno()
    copy = socket.socket(fileno=os.dup(fileno))  # the same connection; the loop's own object need not allow options
    try:
        copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    finally:
        copy.close()


class RawResponse:
    """A response as it came.

    Attributes:
        head: The head's bytes, the empty line included.
        status: Of the final response.
        headers: Pairs in order, names in lower case.
        body: The content, without chunk framing.
        chunks: The chunks of a chunked body.
        trailers: Trailer fields of a chunked body.
        interim: The 1xx responses before it.
    """

    def __init__(self, head: bytes) -> None:
        self.head = head
        line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        self.version, _, rest = line.partition(b" ")
        code, _, phrase = rest.partition(b" ")
        self.status = int(code)
        self.phrase = phrase.decode()
        self.headers = [(name.lower(), value.strip()) for name, _, value in (each.partition(b":") for each in lines)]
        self.body = b""
        self.chunks: list[bytes] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.interim: list[RawResponse] = []

    def get(self, name: bytes) -> bytes | None:
        """The only value of a field, None when there is none. Raises AssertionError when there are several."""
        values = self.all(name)
        if len(values) > 1:
            raise AssertionError(f"{name!r} is repeated: {values}")
        return values[0] if values else None

    def all(self, name: bytes) -> list[bytes]:
        """All values of a field."""
        return [value for other, value in self.headers if other == name]

    def __repr__(self) -> str:
        return f"<RawResponse {self.status} {dict(self.headers)} {self.body[:80]!r}>"


class RawClient:
    """One connection.

    Args:
        port: On 127.0.0.1, or on ``host``.
        host: A literal address, or the path of a unix socket.
        deadline: Seconds that each single wait may take.
        tls: Speak TLS; see :meth:`gatewright.testing.certs.Authority.client_context`.
        name: Ask for this name by TLS (SNI), and check the certificate for it; empty for none.
    """

    def __init__(
        self,
        port: int,
        host: str = "127.0.0.1",
        deadline: float = DEADLINE,
        *,
        tls: ssl.SSLContext | None = None,
        name: str = "localhost",
    ) -> None:
        self.port = port
        self.host = host
        self.deadline = deadline
        self.tls = tls
        self._name = None if tls is None else name
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(self.deadline):
            if self.host.startswith("/"):
                self.reader, self.writer = await asyncio.open_unix_connection(
                    self.host, limit=MOST_HEAD, ssl=self.tls, server_hostname=self._name
                )
            else:
                self.reader, self.writer = await asyncio.open_connection(
                    self.host, self.port, limit=MOST_HEAD, ssl=self.tls, server_hostname=self._name
                )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            return  # closed by the other side, which may be just what the test is about

    # --- sending ------------------------------------------------------------------------------------------------------

    async def send(self, *pieces: bytes) -> None:
        """Send the pieces, each in its own write, as fast as the other side takes them."""
        async with asyncio.timeout(self.deadline):
            for piece in pieces:
                self.writer.write(piece)
                await self.writer.drain()

    async def send_slowly(self, data: bytes, pause: float = 0.0) -> None:
        """Send octet by octet, with a turn of the loop or ``pause`` seconds between them."""
        for i in range(len(data)):
            await self.send(data[i : i + 1])
            await asyncio.sleep(pause)

    def end(self) -> None:
        """Close the sending direction; reading goes on."""
        self.writer.write_eof()

    def reset(self) -> None:
        """Break the connection with RST."""
        reset_on_close(self.writer.transport)
        self.writer.transport.abort()

    # --- reading ------------------------------------------------------------------------------------------------------

    async def read(self, most: int = 65536) -> bytes:
        """What is there, at least one octet; empty at the end."""
        async with asyncio.timeout(self.deadline):
            return await self.reader.read(most)

    async def exactly(self, count: int) -> bytes:
        """So many octets. Raises IncompleteReadError when the connection ends before."""
        async with asyncio.timeout(self.deadline):
            return await self.reader.readexactly(count)

    async def until(self, marker: bytes) -> bytes:
        """Everything up to and including ``marker``. Raises IncompleteReadError when the connection ends before."""
        async with asyncio.timeout(self.deadline):
            return await self.reader.readuntil(marker)

    async def to_end(self) -> bytes:
        """Everything until the other side closes. A reset raises ConnectionResetError."""
        async with asyncio.timeout(self.deadline):
            return await self.reader.read(-1)

    async def is_closed(self) -> bool:
        """Whether the other side closes or resets within the deadline, sending nothing more."""
        try:
            return await self.read() == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    async def head(self) -> RawResponse:
        """The head of the next response, 1xx or final; the body is left to be read."""
        return RawResponse(await self.until(b"\r\n\r\n"))

    async def response(self, *, to_head: bool = False) -> RawResponse:
        """The next final response with its body (``to_head``: the request was HEAD, so there is none)."""
        interim: list[RawResponse] = []
        response = await self.head()
        while 100 <= response.status < 200 and response.status != 101:
            interim.append(response)
            response = await self.head()
        response.interim = interim
        if to_head or response.status in {101, 204, 304}:
            return response
        if response.get(b"transfer-encoding") == b"chunked":
            await self._chunked(response)
        elif (length := response.get(b"content-length")) is not None:
            response.body = await self.exactly(int(length))
        else:
            response.body = await self.to_end()
        return response

    async def _chunked(self, response: RawResponse) -> None:
        while True:
            line = await self.until(b"\r\n")
            size = int(line.partition(b";")[0], 16)
            if not size:
                break
            response.chunks.append(await self.exactly(size))
            end = await self.exactly(2)
            if end != b"\r\n":
                raise AssertionError(f"a chunk of {size} octets is followed by {end!r}")
        response.body = b"".join(response.chunks)
        while (line := await self.until(b"\r\n")) != b"\r\n":
            name, _, value = line.partition(b":")
            response.trailers.append((name.lower(), value.strip()))

    async def get(self, target: bytes = b"/", host: bytes = b"localhost", more: bytes = b"") -> RawResponse:
        """Send a GET and read the answer; ``more`` is header lines with their CRLF."""
        await self.send(b"GET %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (target, host, more))
        return await self.response()
