"""A WebSocket echo for the demo's sample upstreams (RFC 6455, server side, no extensions)."""

from __future__ import annotations

import asyncio
import base64
import hashlib

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
CLOSE, PING, PONG = 0x8, 0x9, 0xA
LARGEST_FRAME = 1024 * 1024


def accept_value(key: str) -> str:
    """The Sec-WebSocket-Accept value for a Sec-WebSocket-Key (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + GUID, usedforsecurity=False).digest()).decode()


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """First octet (FIN and opcode) and unmasked payload of a client's frame (RFC 6455 section 5.2)."""
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size >= 126:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    if size > LARGEST_FRAME:
        raise ConnectionError("frame too large")
    mask = await reader.readexactly(4) if second & 0x80 else bytes(4)
    data = await reader.readexactly(size)
    repeated = (mask * (size // 4 + 1))[:size]
    return first, (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


def frame(first: int, payload: bytes) -> bytes:
    """A server's frame, not masked."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """Finish the handshake, then send every frame back until the peer closes."""
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        b"sec-websocket-accept: %b\r\n\r\n" % accept_value(key).encode()
    )
    while True:
        first, payload = await read_frame(reader)
        opcode = first & 0x0F
        if opcode == PING:
            writer.write(frame(0x80 | PONG, payload))
        elif opcode != PONG:
            writer.write(frame(first & 0x8F, payload))
        await writer.drain()
        if opcode == CLOSE:
            return
