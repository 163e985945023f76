"""A sample upstream for the demo: a small HTTP/1.1 server on asyncio that answers with what it was sent.

``/healthz`` answers 200, ``/events`` sends five Server-Sent Events, ``/ws`` echoes WebSocket frames, everything else
is described back to the client as JSON. It is for demonstrations on loopback: it believes its peer.
"""

from __future__ import annotations

import asyncio
import json

from gatewright.cli.demo import websocket

LARGEST_HEAD = 64 * 1024
EVENTS = 5
EVENT_INTERVAL = 0.2

Headers = dict[str, str]


class Origin:
    """One sample upstream. ``name`` stands in every answer, so that one can see who gave it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self, port: int) -> int:
        """Listen on loopback; port 0 takes any free one. Returns the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=LARGEST_HEAD)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Close the listener and all connections."""
        if self._server is None:
            return
        self._server.close()
        for writer in self._open:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests until the peer has no more."""
        self._open.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # the peer has gone, or speaks something else: nothing to answer
        finally:
            self._open.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer. Returns whether the connection goes on."""
        method, target, headers = parse_head(await reader.readuntil(b"\r\n\r\n"))
        path = target.partition("?")[0]
        if headers.get("upgrade", "").lower() == "websocket":
            await websocket.echo(reader, writer, headers.get("sec-websocket-key", ""))
            return False
        body = await read_body(reader, headers)
        if path == "/events":
            await send_events(writer, self.name)
        elif path == "/healthz":
            send(writer, {"status": "ok"})
        else:
            seen = {"upstream": self.name, "method": method, "target": target, "headers": headers, "bytes": len(body)}
            send(writer, seen, without_body=method == "HEAD")
        await writer.drain()
        return headers.get("connection", "").lower() != "close"


def parse_head(head: bytes) -> tuple[str, str, Headers]:
    """Method, target and fields (names in lower case) of a request head."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _version = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    return method, target, {name.lower(): value.strip() for name, _, value in pairs}


async def read_body(reader: asyncio.StreamReader, headers: Headers) -> bytes:
    """The whole body, by length or in chunks."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    pieces = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers
    return b"".join(pieces)


def send(writer: asyncio.StreamWriter, content: object, *, without_body: bool = False) -> None:
    """Answer 200 with JSON."""
    body = json.dumps(content, indent=2).encode() + b"\n"
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    writer.write(head if without_body else head + body)


async def send_events(writer: asyncio.StreamWriter, name: str) -> None:
    """Five events, a fifth of a second apart, each in a chunk of its own."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for number in range(1, EVENTS + 1):
        event = f"id: {number}\ndata: event {number} from {name}\n\n".encode()
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        await writer.drain()
        await asyncio.sleep(EVENT_INTERVAL)
    writer.write(b"0\r\n\r\n")
