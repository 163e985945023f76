"""WebSocket frames as a tunnel sees them (RFC 6455 section 5): where they begin and end, and how large messages are."""

from __future__ import annotations

import base64
import hashlib
import os

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

#: Status codes of a close frame (RFC 6455 section 7.4.1).
GOING_AWAY, TOO_BIG = 1001, 1009

_CONTROL = 0x08  # opcodes from here on are control frames: never fragmented, never part of a message
_FIN = 0x80


def new_key() -> bytes:
    """A Sec-WebSocket-Key for a client that comes over HTTP/2 and has none (RFC 8441 section 5)."""
    return base64.b64encode(os.urandom(16))


def accept_of(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept that answers ``key`` (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


class FrameCounter:
    """Follows one direction's frames without touching them.

    ``feed`` returns False when a message is longer than ``most`` bytes (None: no limit). ``at_boundary`` says whether
    a frame of our own could be put in now.
    """

    __slots__ = ("_head", "_left", "_message", "_most")

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._head = b""
        self._left = 0
        self._message = 0

    # cold: asked when a tunnel is being closed
    @property
    def at_boundary(self) -> bool:
        """No frame is under way."""
        return not self._left and not self._head

    def feed(self, data: bytes) -> bool:
        """Follow ``data``. False: a message has become too long."""
        size = len(data)
        if size <= self._left:  # within a frame: the usual case for large ones
            self._left -= size
            return True
        at = self._left
        self._left = 0
        if self._head:
            data = self._head + data
            size = len(data)
            at = 0
            self._head = b""
        while at < size:
            length, head = _frame(data, at, size)
            if head == 0:
                self._head = data[at:]
                break
            if not self._count(data[at], length):
                return False
            at += head
            passed = min(length, size - at)
            self._left = length - passed
            at += passed
        return True

    def _count(self, first: int, length: int) -> bool:
        if first & 0x0F >= _CONTROL:
            return True
        self._message += length
        if self._most is not None and self._message > self._most:
            return False
        if first & _FIN:
            self._message = 0
        return True


def _frame(data: bytes, at: int, size: int) -> tuple[int, int]:
    """Payload length and head size of the frame at ``at``; a head size of 0 when its head is not all here."""
    if size - at < 2:
        return 0, 0
    second = data[at + 1]
    length = second & 0x7F
    head = 2
    if length == 126:
        head = 4
    elif length == 127:
        head = 10
    if second & 0x80:
        head += 4
    if size - at < head:
        return 0, 0
    if length == 126:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
    elif length == 127:
        length = int.from_bytes(data[at + 2 : at + 10], "big")
    return length, head


def close_frame(code: int, *, masked: bool) -> bytes:
    """A close frame. A client's must be masked; a mask of zeros is one."""
    payload = code.to_bytes(2, "big")
    return b"\x88\x82\0\0\0\0" + payload if masked else b"\x88\x02" + payload
