"""A WebSocket echo origin and a client, as small as RFC 6455 allows: short text frames, no extensions.

``python -m benchmarks.macro.websocket`` serves on a free port of 127.0.0.1 and prints the port.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import socket
import sys

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MASK_BIT = 0x80
_TEXT = 0x81


def accept_key(key: bytes) -> bytes:
    """The server's proof that it understood: RFC 6455 section 4.2.2."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def _mask(data: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = [line.partition(b":") for line in head.split(b"\r\n")[1:] if line]
        key = next(value.strip() for name, _, value in lines if name.lower() == b"sec-websocket-key")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(key) + b"\r\n\r\n"
        )
        while True:
            first, second = await reader.readexactly(2)
            mask = await reader.readexactly(4)
            payload = _mask(await reader.readexactly(second & ~_MASK_BIT), mask)
            writer.write(bytes((first, len(payload))) + payload)
    except (asyncio.IncompleteReadError, ConnectionError, StopIteration):
        pass  # the client has gone, or was none of ours
    finally:
        writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Client:
    """One WebSocket to 127.0.0.1; blocking."""

    def __init__(self, port: int, path: str) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=5.0)
        key = base64.b64encode(os.urandom(16))
        self._sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n\r\n".encode()
        )
        head = self._read_head()
        if not head.startswith(b"HTTP/1.1 101") or accept_key(key) not in head:
            raise ConnectionError(f"no WebSocket: {head[:100]!r}")

    def _read_head(self) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._exactly(1)
        return head

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._sock.recv(count - len(data))
            if not piece:
                raise ConnectionError("the WebSocket was closed")
            data += piece
        return data

    def echo(self, text: str) -> bool:
        """Send ``text`` (at most 125 bytes); whether it came back. Raises OSError when the connection is lost."""
        payload = text.encode()
        mask = os.urandom(4)
        self._sock.sendall(bytes((_TEXT, _MASK_BIT | len(payload))) + mask + _mask(payload, mask))
        first, length = self._exactly(2)
        return first == _TEXT and self._exactly(length) == payload

    def close(self) -> None:
        """Close the socket without a farewell."""
        self._sock.close()


if __name__ == "__main__":
    try:
        asyncio.run(_main())
    except KeyboardInterrupt:
        sys.exit(0)
