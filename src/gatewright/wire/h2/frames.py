"""HTTP/2 frames: numbers, limits, and bytes (RFC 9113 sections 4 and 6)."""

from __future__ import annotations

from struct import Struct

from gatewright.wire.h2.errors import FRAME_SIZE_ERROR, PROTOCOL_ERROR, H2Error

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: Its beginning, which an HTTP/1.1 parser takes for a whole head.
PREFACE_LINE = PREFACE[:18]

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FLAG = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)
ENABLE_CONNECT_PROTOCOL = 8  # RFC 8441

#: Size of the largest frame that anybody may send without having been told otherwise, and that we take.
FRAME_SIZE = 16_384
LARGEST_FRAME_SIZE = 16_777_215
DEFAULT_WINDOW = 65_535
LARGEST_WINDOW = 2_147_483_647

#: Length (in two parts), type, flags, stream.
HEAD = Struct(">BHBBL")
HEAD_SIZE = 9
_WRITE = HEAD.pack
_SETTING = Struct(">HL").pack


def frame_head(kind: int, flags: int, stream: int, length: int) -> bytes:
    """The nine octets before a payload of ``length`` octets."""
    return _WRITE(length >> 16, length & 0xFFFF, kind, flags, stream)


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join([_SETTING(name, value) for name, value in values.items()])
    return frame_head(SETTINGS, 0, 0, len(payload)) + payload


SETTINGS_ACK = frame_head(SETTINGS, ACK, 0, 0)


def ping_ack(payload: bytes) -> bytes:
    """The answer to a PING with these eight octets."""
    return frame_head(PING, ACK, 0, 8) + payload


def ping(payload: bytes) -> bytes:
    """A PING with these eight octets."""
    return frame_head(PING, 0, 0, 8) + payload


def goaway(last: int, code: int, debug: bytes = b"") -> bytes:
    """A GOAWAY frame: ``last`` is the highest stream that was or may be acted upon."""
    return frame_head(GOAWAY, 0, 0, 8 + len(debug)) + last.to_bytes(4, "big") + code.to_bytes(4, "big") + debug


def rst_stream(stream: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return frame_head(RST_STREAM, 0, stream, 4) + code.to_bytes(4, "big")


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame_head(WINDOW_UPDATE, 0, stream, 4) + increment.to_bytes(4, "big")


def headers(stream: int, block: bytes, flags: int, largest: int) -> bytes:
    """A header block as a HEADERS frame, followed by CONTINUATION frames when it is larger than ``largest``."""
    if len(block) <= largest:
        return frame_head(HEADERS, flags | END_HEADERS, stream, len(block)) + block
    pieces = [block[at : at + largest] for at in range(0, len(block), largest)]
    out = [frame_head(HEADERS, flags, stream, len(pieces[0])), pieces[0]]
    for piece in pieces[1:-1]:
        out += (frame_head(CONTINUATION, 0, stream, len(piece)), piece)
    out += (frame_head(CONTINUATION, END_HEADERS, stream, len(pieces[-1])), pieces[-1])
    return b"".join(out)


def unpadded(payload: bytes) -> bytes:
    """A payload without its padding (section 6.1).

    Raises:
        H2Error: there is more padding than payload, or no length of it.
    """
    if not payload:
        raise H2Error(FRAME_SIZE_ERROR, "a padded frame without a pad length")
    padding = payload[0]
    if padding >= len(payload):
        raise H2Error(PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - padding]
