"""gRPC-Web: gRPC for clients that see no trailers (gRPC's "PROTOCOL-WEB").

The messages are those of gRPC. What differs: the content type, the trailers, which are one more frame at the end of
the body, and the text form, in which the whole body is base64, in segments that each may end with padding.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from gatewright.http.headers import TOKEN_OCTETS, Pair

if TYPE_CHECKING:
    from gatewright.http.headers import Fields

#: How the content type of every gRPC-Web message begins.
PREFIX: Final = b"application/grpc-web"
_TEXT = b"-text"
_HEAD = 5  # octets before a message: flags and length


def read_type(content_type: bytes) -> tuple[bool, bytes] | None:
    """What a content type says: whether it is the text form, and how messages are written (``+proto``, b"" for unsaid).

    None for anything that is not gRPC-Web. Parameters do not count.
    """
    kind = content_type.partition(b";")[0].strip(b" \t").lower()
    if not kind.startswith(PREFIX):
        return None
    rest = kind[len(PREFIX) :]
    text = rest.startswith(_TEXT)
    if text:
        rest = rest[len(_TEXT) :]
    if rest and (rest[:1] != b"+" or len(rest) == 1 or rest.translate(None, TOKEN_OCTETS)):
        return None
    return text, rest


def write_type(form: tuple[bool, bytes]) -> bytes:
    """The content type that :func:`read_type` reads back."""
    return b"%b%b%b" % (PREFIX, _TEXT if form[0] else b"", form[1])


def wanted_type(fields: Fields) -> tuple[bool, bytes]:
    """The form in which the client of a request wants its answer: what it accepts, else what it has sent itself."""
    sent = read_type(fields.index.get(b"content-type", b""))
    accepts = fields.index.get(b"accept")
    if accepts is not None:
        for element in accepts.split(b","):
            form = read_type(element)
            if form is not None:
                return form if form[1] or sent is None else (form[0], sent[1])
    return sent or (False, b"")


def trailer_frame(trailers: Iterable[Pair]) -> bytes:
    """The frame that ends a response's body."""
    block = b"".join([b"%b:%b\r\n" % pair for pair in trailers])
    return b"\x80%b%b" % (len(block).to_bytes(4, "big"), block)


def write_text(data: bytes) -> bytes:
    """One segment of the text form. Padded, so that nothing waits for what comes next."""
    return b2a_base64(data, newline=False)


class TextReader:
    """Reads the text form as it comes, cut wherever. Keeps at most three octets."""

    __slots__ = ("_carry",)

    def __init__(self) -> None:
        self._carry = b""

    def feed(self, data: bytes, *, last: bool) -> bytes:
        """What ``data`` completes. Raises ValueError for what is not base64; the last segment may lack its padding."""
        if self._carry:
            data = self._carry + data
        over = len(data) & 3
        if over and last:
            data += b"=" * (4 - over)
            over = 0
        whole = len(data) - over
        self._carry = data[whole:]
        start = 0
        out = []
        while start < whole:
            pad = data.find(b"=", start, whole)
            end = whole if pad < 0 else (pad | 3) + 1  # segments begin at multiples of four
            out.append(a2b_base64(data[start:end], strict_mode=True))
            start = end
        return out[0] if len(out) == 1 else b"".join(out)


class Messages:
    """Follows the messages of a body without keeping them: five octets of flags and length before each."""

    __slots__ = ("_head", "_left")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    def feed(self, data: bytes) -> None:
        """A piece of the body. Raises ValueError for flags that no message has."""
        size = len(data)
        at = self._left
        if at > size:
            self._left = at - size
            return
        head = self._head
        while at < size:
            missing = _HEAD - len(head)
            head += data[at : at + missing]
            if len(head) < _HEAD:
                at = size
                break
            if head[0] > 1:
                raise ValueError(f"flags {head[0]:#04x} before a message")
            at += missing + int.from_bytes(head[1:], "big")
            head = b""
        self._head = head
        self._left = at - size

    def whole(self) -> bool:
        """Whether the body may end here."""
        return not self._left and not self._head
