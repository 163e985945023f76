"""HTTP/2 by hand: frames made of octets, and what comes back read by somebody else's code.

Nothing here knows the gateway's own codec. Frames are put together with ``struct``, field blocks are written as
literals without Huffman coding or indexing unless a test writes its own, and hyperframe and hpack read the answers.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from hpack import Decoder
from hyperframe import frame as hyper

from gatewright.testing.rig import Rig
from gatewright.testing.wires import Peer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITIZED = 0x20

NO_ERROR, PROTOCOL, INTERNAL, FLOW_CONTROL, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE = range(7)
REFUSED_STREAM, CANCEL, COMPRESSION, CONNECT_ERROR, CALM, INADEQUATE_SECURITY, HTTP_1_1_REQUIRED = range(7, 14)

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME, MAX_LIST = range(1, 7)
ENABLE_CONNECT = 8

Pairs = Iterable[tuple[bytes, bytes]]
Sent = tuple[tuple[bytes, bytes], ...]

#: Seconds that one wait on a socket may take.
DEADLINE = 5.0


# --- making frames ----------------------------------------------------------------------------------------------------


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """RFC 9113 section 4.1."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def integer(value: int, prefix: int, first: int = 0) -> bytes:
    """RFC 7541 section 5.1; ``first`` holds the bits above the prefix."""
    most = (1 << prefix) - 1
    if value < most:
        return bytes([first | value])
    out = [first | most]
    value -= most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def literal(name: bytes, value: bytes, first: int = 0) -> bytes:
    """RFC 7541 section 6.2.2 with a new name; ``first`` 0x40 also adds it to the table, 0x10 never indexes."""
    return bytes([first]) + integer(len(name), 7) + name + integer(len(value), 7) + value


def block(fields: Pairs) -> bytes:
    """A field block that needs no state to be read."""
    return b"".join(literal(name, value) for name, value in fields)


def headers(
    stream: int, fields: Pairs | bytes, flags: int = END_HEADERS | END_STREAM, before: bytes = b"", after: bytes = b""
) -> bytes:
    """HEADERS with ``fields``, or a block as it stands; ``before`` and ``after`` are for padding and priority."""
    payload = fields if isinstance(fields, bytes) else block(fields)
    return frame(HEADERS, flags, stream, before + payload + after)


def continuation(stream: int, payload: bytes, flags: int = END_HEADERS) -> bytes:
    return frame(CONTINUATION, flags, stream, payload)


def data(stream: int, payload: bytes = b"", flags: int = END_STREAM) -> bytes:
    return frame(DATA, flags, stream, payload)


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


SETTINGS_ACK = frame(SETTINGS, ACK)


def ping(payload: bytes = b"12345678", flags: int = 0, stream: int = 0) -> bytes:
    return frame(PING, flags, stream, payload)


def goaway(last: int = 0, code: int = 0, debug: bytes = b"", stream: int = 0) -> bytes:
    return frame(GOAWAY, 0, stream, struct.pack(">II", last, code) + debug)


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def rst(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def priority(stream: int, on: int = 0, weight: int = 15) -> bytes:
    return frame(PRIORITY, 0, stream, struct.pack(">IB", on, weight))


def push_promise(stream: int, promised: int, fields: Pairs, flags: int = END_HEADERS) -> bytes:
    return frame(PUSH_PROMISE, flags, stream, struct.pack(">I", promised) + block(fields))


def request(*more: tuple[bytes, bytes], drop: str = "", **pseudo: bytes) -> Sent:
    """The fields of a request: GET http://x/ and ``more``; keywords replace pseudo-fields, ``drop`` names one."""
    values = {"method": b"GET", "scheme": b"http", "path": b"/", "authority": b"x"} | pseudo
    values.pop(drop, None)
    return (*((b":" + name.encode(), value) for name, value in values.items()), *more)


# --- connections ------------------------------------------------------------------------------------------------------


class Link(Protocol):
    """Carries octets between a test and what it tests."""

    def send(self, data: bytes) -> None: ...

    def receive(self) -> bytes:
        """What has come since; over a socket at least one octet, unless the connection ends or time is over."""

    @property
    def closed(self) -> bool:
        """The other side has closed, and nothing is left to be read."""

    def wait(self) -> bool:
        """Let something happen. False: nothing more will."""


class RigLink:
    """Over a scripted connection: everything has happened when ``send`` returns."""

    def __init__(self, rig: Rig, peer: Peer) -> None:
        self.rig = rig
        self.peer = peer
        self._waits = 0

    def send(self, data: bytes) -> None:
        self.peer.send(data)

    def receive(self) -> bytes:
        return self.peer.take()

    @property
    def closed(self) -> bool:
        return self.peer.closed

    def wait(self) -> bool:
        self._waits += 1
        self.rig.advance(1.0)
        return self._waits % 5 > 0


class SocketLink:
    """Over a socket that blocks no longer than the deadline."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.closed = False
        self._until = 0.0
        sock.settimeout(DEADLINE)

    def send(self, data: bytes) -> None:
        self._until = time.monotonic() + DEADLINE
        try:
            self.sock.sendall(data)
        except OSError:
            return  # what the other side has said before it closed is still to be read

    def receive(self) -> bytes:
        pieces = []
        while select.select([self.sock], [], [], 0 if pieces or self.closed else 0.05)[0] and not self.closed:
            try:
                piece = self.sock.recv(65536)
            except OSError:
                piece = b""
            self.closed = not piece
            pieces.append(piece)
        return b"".join(pieces)

    def wait(self) -> bool:
        return time.monotonic() < self._until


@dataclass
class Seen:
    """A frame that came, as hyperframe reads it."""

    kind: int
    stream: int
    flags: set[str]
    payload: bytes = b""
    #: Decoded, of HEADERS and PUSH_PROMISE whose block is complete.
    fields: Sent = ()
    #: Error code of RST_STREAM and GOAWAY.
    code: int = -1
    #: Last stream id of GOAWAY, the increment of WINDOW_UPDATE, the promised stream, the length flow control sees.
    number: int = 0
    settings: dict[int, int] = field(default_factory=dict)

    @property
    def ends(self) -> bool:
        return "END_STREAM" in self.flags

    def get(self, name: bytes) -> bytes | None:
        """The only value of a field."""
        values = [value for other, value in self.fields if other == name]
        assert len(values) < 2, f"{name!r} is repeated: {values}"
        return values[0] if values else None

    @property
    def status(self) -> int:
        return int(self.get(b":status") or 0)


class Reader:
    """Reads what a peer sends. Raises AssertionError where it breaks the rules for frames."""

    def __init__(self, most: int = 16_384) -> None:
        self.decoder = Decoder(max_header_list_size=1 << 20)
        self.most = most
        self._buffer = b""
        self._open: tuple[hyper.Frame, bytearray] | None = None

    def feed(self, data: bytes) -> list[Seen]:
        self._buffer += data
        seen: list[Seen] = []
        while len(self._buffer) >= 9:
            read, length = hyper.Frame.parse_frame_header(memoryview(self._buffer[:9]))
            assert length <= self.most, f"a frame of {length} octets, where {self.most} are allowed"
            if len(self._buffer) < 9 + length:
                break
            body = self._buffer[9 : 9 + length]
            self._buffer = self._buffer[9 + length :]
            read.parse_body(memoryview(body))
            made = self._frame(read, body)
            if made is not None:
                seen.append(made)
        return seen

    def _frame(self, read: Any, body: bytes) -> Seen | None:
        kind = body_kind(read)
        if self._open is not None:
            first, gathered = self._open
            assert (kind, read.stream_id) == (CONTINUATION, first.stream_id), "a field block is interrupted"
            gathered += read.data
            if "END_HEADERS" not in read.flags:
                return None
            self._open = None
            return self._block(first, bytes(gathered))
        assert kind != CONTINUATION, "CONTINUATION without HEADERS"
        if kind in {HEADERS, PUSH_PROMISE}:
            if "END_HEADERS" not in read.flags:
                self._open = read, bytearray(read.data)
                return None
            return self._block(read, read.data)
        seen = Seen(kind, read.stream_id, set(read.flags), body)
        if kind in {RST_STREAM, GOAWAY}:
            seen.code = read.error_code
        if kind == GOAWAY:
            seen.number = read.last_stream_id
        elif kind == WINDOW_UPDATE:
            seen.number = read.window_increment
        elif kind == SETTINGS:
            seen.settings = dict(read.settings)
        elif kind == DATA:
            seen.payload, seen.number = read.data, len(body)
        return seen

    def _block(self, read: Any, gathered: bytes) -> Seen:
        fields = tuple((bytes(name), bytes(value)) for name, value in self.decoder.decode(gathered, raw=True))
        promised = read.promised_stream_id if body_kind(read) == PUSH_PROMISE else 0
        return Seen(body_kind(read), read.stream_id, set(read.flags), gathered, fields, number=promised)


def body_kind(read: Any) -> int:
    """Type of a frame."""
    return int(read.type) if read.type is not None else int(getattr(read, "_type", -1))


class RawH2:
    """One side of a connection that sends exactly what it is told to, and keeps what came."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.reader = Reader()
        self.seen: list[Seen] = []
        self._pings = 0

    def send(self, *frames: bytes, size: int = 0) -> None:
        """All frames in one segment, or in segments of ``size``."""
        joined = b"".join(frames)
        for at in range(0, len(joined), size or len(joined) or 1):
            self.link.send(joined[at : at + size] if size else joined)

    def read(self) -> list[Seen]:
        """The frames that have come since."""
        new = self.reader.feed(self.link.receive())
        self.seen += new
        return new

    def until(self, what: Callable[[], Any]) -> Any:
        """Read until ``what()`` is true. Raises AssertionError, showing what came, when that does not happen."""
        while True:
            self.read()
            if found := what():
                return found
            if not self.link.wait():
                self.read()
                found = what()
                assert found, f"it has not come; closed: {self.link.closed}; frames:\n{self.shown()}"
                return found

    def shown(self) -> str:
        return "\n".join(map(repr, self.seen[-20:]))

    # --- what came ----------------------------------------------------------------------------------------------------

    def of(self, kind: int, stream: int | None = None) -> list[Seen]:
        return [each for each in self.seen if each.kind == kind and stream in {None, each.stream}]

    @property
    def closed(self) -> bool:
        return self.link.closed

    @property
    def goaway(self) -> Seen | None:
        """The last GOAWAY; there may be a first one with the highest id and NO_ERROR before."""
        return ([None, *self.of(GOAWAY)])[-1]

    def reset(self, stream: int) -> Seen | None:
        return next(iter(self.of(RST_STREAM, stream)), None)

    def head(self, stream: int) -> Seen | None:
        """The head of the final response."""
        return next((each for each in self.of(HEADERS, stream) if each.status >= 200), None)

    def body(self, stream: int) -> bytes:
        return b"".join(each.payload for each in self.of(DATA, stream))

    def ended(self, stream: int) -> bool:
        return any(each.ends for each in self.seen if each.stream == stream and each.kind in {HEADERS, DATA})

    def peer_settings(self) -> dict[int, int]:
        """What the other side has set."""
        merged: dict[int, int] = {}
        for each in self.of(SETTINGS):
            merged |= each.settings
        return merged

    # --- usual sequences ----------------------------------------------------------------------------------------------

    def shake_hands(self, *pairs: tuple[int, int], client: bool = True) -> None:
        """Preface and SETTINGS both ways."""
        self.send(PREFACE if client else b"", settings(*pairs))
        self.until(lambda: len(self.of(SETTINGS)) >= 2)
        first = self.seen[0]
        assert (first.kind, first.flags) == (SETTINGS, set()), "SETTINGS must be the first frame"
        assert any("ACK" in each.flags for each in self.of(SETTINGS))
        self.send(SETTINGS_ACK)

    def is_alive(self) -> bool:
        """Whether a PING is answered; everything sent before it has then been worked on."""
        self._pings += 1
        payload = struct.pack(">Q", self._pings)
        self.send(ping(payload))
        self.until(lambda: self.closed or any(each.payload == payload for each in self.of(PING)))
        return any(each.payload == payload and "ACK" in each.flags for each in self.of(PING))
