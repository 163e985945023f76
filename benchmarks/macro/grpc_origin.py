"""An origin that answers every unary gRPC call with the same message, as fast as Python can.

``python -m benchmarks.macro.grpc_origin`` serves HTTP/2 without TLS on a free port of 127.0.0.1 and prints the port.

It reads whole calls, answers in full (head, message, trailers), keeps to the client's window of the connection and
gives back its own. It does not look at heads, so it need not decompress them: this is what makes it quick.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections import deque

import uvloop

from benchmarks.macro.origin import SMALL

METHOD = "/shop.Widgets/Get"
#: Of a call: five bytes of gRPC's frame and a message in Protocol Buffers.
CALL = b"\0" + struct.pack(">I", 34) + b"\x08\x2a\x12\x1e" + b"abcdefghijklmnopqrstuvwxyz0123"
#: Of the answer: the bytes are opaque to whoever passes them on.
ANSWER = b"\0" + struct.pack(">I", len(SMALL)) + SMALL.encode()

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 4, 6, 8
_END, _END_HEADERS, _ACK = 1, 4, 1
_HEADER_TABLE_SIZE, _MAX_STREAMS = 1, 3
_WINDOW = 65_535
#: Window of the connection that we open wide at once, and open again when so much has come.
_WIDE = 1 << 24

# Header blocks (RFC 7541): in full, without the table; in full and put into the table; out of the table.
_STATUS = b"\x88"
_TYPE = b"\x10application/grpc"
_TRAILER = b"\x0bgrpc-status\x010"
_PLAIN = (b"\x20" + _STATUS + b"\x0f\x10" + _TYPE, b"\x00" + _TRAILER)
_PLAIN_AGAIN = (_STATUS + b"\x0f\x10" + _TYPE, b"\x00" + _TRAILER)
_KEPT = (_STATUS + b"\x5f" + _TYPE, b"\x40" + _TRAILER)
_KEPT_AGAIN = (_STATUS + b"\xbf", b"\xbe")
#: What the two fields take in the table.
_TABLE = len("content-type" + "application/grpc" + "grpc-status" + "0") + 2 * 32

_FRAME = struct.Struct(">HBBBL")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    length = len(payload)
    return _FRAME.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self) -> None:
        self._buffer = b""
        self._window = _WINDOW  # what we may still send
        self._received = 0
        self._blocks = _KEPT
        self._waiting: deque[int] = deque()
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what we allow."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        settings = struct.pack(">HL", _MAX_STREAMS, 1000)
        self._transport.write(frame(_SETTINGS, 0, 0, settings) + frame(_WINDOW_UPDATE, 0, 0, struct.pack(">L", _WIDE)))

    def data_received(self, data: bytes) -> None:
        """Take all whole frames; answer all calls that are complete with one write."""
        data = self._buffer + data if self._buffer else data
        at = 0
        if data.startswith(b"P"):  # no frame begins so: it would be five megabytes long
            if len(data) < len(PREFACE):
                self._buffer = data
                return
            at = len(PREFACE)
        while len(data) - at >= 9:
            high, low, kind, flags, stream = _FRAME.unpack_from(data, at)
            end = at + 9 + (high << 8 | low)
            if end > len(data):
                break
            self._frame(kind, flags, stream, data[at + 9 : end])
            at = end
        self._buffer = data[at:]
        while self._waiting and self._window >= len(ANSWER):
            self._window -= len(ANSWER)
            self._answer(self._waiting.popleft())
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind in {_DATA, _HEADERS}:
            if kind == _DATA:
                self._received += len(payload)
                if self._received >= _WIDE // 2:
                    self._out.append(frame(_WINDOW_UPDATE, 0, 0, struct.pack(">L", self._received)))
                    self._received = 0
            if flags & _END:
                self._waiting.append(stream)
        elif kind == _WINDOW_UPDATE and stream == 0:
            self._window += struct.unpack(">L", payload)[0]
        elif kind == _SETTINGS and not flags & _ACK:
            for name, value in struct.iter_unpack(">HL", payload):
                if name == _HEADER_TABLE_SIZE and value < _TABLE:
                    self._blocks = _PLAIN
            self._out.append(frame(_SETTINGS, _ACK, 0))
        elif kind == _PING and not flags & _ACK:
            self._out.append(frame(_PING, _ACK, 0, payload))

    def _answer(self, stream: int) -> None:
        head, trailers = self._blocks
        if self._blocks is _KEPT:
            self._blocks = _KEPT_AGAIN
        elif self._blocks is _PLAIN:
            self._blocks = _PLAIN_AGAIN
        self._out += (
            frame(_HEADERS, _END_HEADERS, stream, head),
            frame(_DATA, 0, stream, ANSWER),
            frame(_HEADERS, _END_HEADERS | _END, stream, trailers),
        )


async def _main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        uvloop.run(_main())
    except KeyboardInterrupt:
        sys.exit(0)
