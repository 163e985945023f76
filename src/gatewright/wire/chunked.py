"""The chunked transfer coding, read strictly and written plainly (RFC 9112 section 7.1)."""

from __future__ import annotations

from gatewright.errors import ProtocolError
from gatewright.http.forwarding import NOT_TRAILERS
from gatewright.http.headers import Pair
from gatewright.wire.h1 import parse_fields

LAST_CHUNK = b"0\r\n\r\n"

_SIZE, _DATA, _DATA_END, _TRAILERS = range(4)
_HEX = b"0123456789abcdefABCDEF"
_LONGEST_SIZE_LINE = 256  # size and extension; extensions are read and thrown away
_MOST_EXTENSION_BYTES = 16 * 1024  # in one body: empty-handed senders of extensions are cut off
_MOST_TRAILER_BYTES = 16 * 1024


class ChunkedReader:
    """Takes a chunked body apart.

    ``feed`` returns the content found, in one piece at most. When ``done`` is set the body is over, ``trailers`` holds
    the trailer fields and ``rest`` the bytes behind it. Raises ProtocolError ``request.malformed`` (400) for anything
    that is not exactly the grammar: bare LF, signs or spaces around a size, a missing CRLF, more than 2**60 bytes.
    """

    __slots__ = ("_buffer", "_extension_bytes", "_left", "_state", "done", "rest", "trailers")

    def __init__(self) -> None:
        self._buffer = b""
        self._extension_bytes = 0
        self._left = 0
        self._state = _SIZE
        self.done = False
        self.rest = b""
        self.trailers: tuple[Pair, ...] = ()

    def feed(self, data: bytes) -> list[bytes]:
        """Read ``data``; return the content in it."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        pieces: list[bytes] = []
        at, end = 0, len(data)
        while at < end:
            state = self._state
            if state == _DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _DATA_END
            elif state == _SIZE:
                stop = data.find(b"\r\n", at)
                if stop < 0:
                    self._keep(data[at:])
                    break
                self._size(data[at:stop])
                at = stop + 2
            elif state == _DATA_END:
                if end - at < 2:
                    self._keep(data[at:])
                    break
                if data[at : at + 2] != b"\r\n":
                    raise ProtocolError("request.malformed", 400, "a chunk is longer than its size says")
                at += 2
                self._state = _SIZE
            else:
                self._end(data[at:])
                break
        # Small chunks must not cost more than their bytes: what follows is done once a piece.
        return pieces if len(pieces) < 2 else [b"".join(pieces)]

    def _keep(self, rest: bytes) -> None:
        if self._state == _SIZE and (
            len(rest) > _LONGEST_SIZE_LINE or b"\n" in rest or rest.find(b"\r") not in {-1, len(rest) - 1}
        ):
            raise ProtocolError("request.malformed", 400, "a chunk size line is malformed")
        if self._state == _DATA_END and rest != b"\r":
            raise ProtocolError("request.malformed", 400, "a chunk is longer than its size says")
        self._buffer = rest

    def _size(self, line: bytes) -> None:
        size, semicolon, extension = line.partition(b";")
        if semicolon:
            size = size.rstrip(b" \t")  # RFC 9112 section 7.1.1: BWS before an extension
            self._extension_bytes += len(extension)
        if (
            not size
            or len(size) > 15
            or size.translate(None, _HEX)
            or len(line) > _LONGEST_SIZE_LINE
            or self._extension_bytes > _MOST_EXTENSION_BYTES
            or b"\n" in extension
            or b"\r" in extension
            or b"\0" in extension
        ):
            raise ProtocolError("request.malformed", 400, "a chunk size line is malformed")
        self._left = int(size, 16)
        self._state = _DATA if self._left else _TRAILERS

    def _end(self, data: bytes) -> None:
        """The last chunk has come: trailer fields up to an empty line."""
        if data[:2] == b"\r\n":
            self.done = True
            self.rest = data[2:]
            return
        stop = data.find(b"\r\n\r\n")
        if (len(data) if stop < 0 else stop) > _MOST_TRAILER_BYTES:
            raise ProtocolError("request.headers_too_large", 431, "the trailer section is too large")
        if stop < 0:
            if data.count(b"\n") != data.count(b"\r\n"):
                raise ProtocolError("request.malformed", 400, "a bare line feed stands in the trailer section")
            self._buffer = data
            return
        fields, _ = parse_fields(data[:stop], 64)
        self.trailers = tuple(pair for pair in fields if pair[0] not in NOT_TRAILERS)
        self.done = True
        self.rest = data[stop + 4 :]


def write_chunk(out: list[bytes], data: bytes) -> None:
    """Append ``data`` as one chunk. An empty piece writes nothing: it would end the body."""
    if data:
        out += (b"%x\r\n" % len(data), data, b"\r\n")


def write_end(trailers: tuple[Pair, ...]) -> bytes:
    """The last chunk and the trailer section."""
    if not trailers:
        return LAST_CHUNK
    lines = b"".join([b"%b: %b\r\n" % pair for pair in trailers])
    return b"0\r\n" + lines + b"\r\n"
