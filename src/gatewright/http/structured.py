"""Structured field values (RFC 9651): a strict parser and the canonical form.

Bare items are Python values: ``int``, :class:`~decimal.Decimal`, ``str`` (a string), :class:`Token`, ``bytes`` (a byte
sequence), ``bool``, :class:`Date` and :class:`DisplayString`.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error
from decimal import Decimal
from typing import TypeAlias


class Malformed(ValueError):
    """Not what RFC 9651 allows."""


class Token(str):
    """A token: a word without quotes."""

    __slots__ = ()


class DisplayString(str):
    """A string of any characters."""

    __slots__ = ()


class Date(int):
    """Seconds since 1970."""

    __slots__ = ()


Bare: TypeAlias = int | Decimal | str | bytes | bool
Parameters: TypeAlias = dict[str, Bare]


class Item:
    """A bare item and its parameters."""

    __slots__ = ("parameters", "value")

    def __init__(self, value: Bare, parameters: Parameters) -> None:
        self.value = value
        self.parameters = parameters

    def write(self) -> bytes:
        """The canonical form."""
        return write_bare(self.value) + write_parameters(self.parameters)


class InnerList:
    """Items between parentheses, and the parameters of the whole."""

    __slots__ = ("items", "parameters")

    def __init__(self, items: list[Item], parameters: Parameters) -> None:
        self.items = items
        self.parameters = parameters

    def write(self) -> bytes:
        """The canonical form."""
        return b"(%b)%b" % (b" ".join([item.write() for item in self.items]), write_parameters(self.parameters))


Member: TypeAlias = Item | InnerList

_KEY = re.compile(rb"[a-z*][a-z0-9_.*-]*")
_NUMBER = re.compile(rb"-?(?:([0-9]{1,12})\.[0-9]{1,3}|[0-9]{1,15})(?![0-9.])")
_STRING = re.compile(rb'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_TOKEN = re.compile(rb"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*")
_BYTES = re.compile(rb":([A-Za-z0-9+/]*={0,2}):")
_BOOLEAN = re.compile(rb"\?([01])")
_DATE = re.compile(rb"@(-?[0-9]{1,15})(?![0-9.])")
_DISPLAY = re.compile(rb'%"((?:[\x20\x21\x23\x24\x26-\x7e]|%[0-9a-f]{2})*)"')
_ESCAPED = re.compile(rb"\\(.)")
_PERCENT = re.compile(rb"%([0-9a-f]{2})")
_OWS = re.compile(rb"[ \t]*")


def parse_dictionary(value: bytes) -> dict[str, Member]:
    """A dictionary (section 4.2.2); of a key that is there twice the last value counts. Raises :class:`Malformed`.

    Lines of one field are joined by commas before.
    """
    return _Parser(value).dictionary()


def parse_item(value: bytes) -> Item:
    """A single item (section 4.2.3). Raises :class:`Malformed`."""
    parser = _Parser(value)
    item = parser.item()
    parser.end()
    return item


class _Parser:
    """Goes through a field value from left to right; nothing is looked at twice."""

    __slots__ = ("at", "data")

    def __init__(self, value: bytes) -> None:
        self.data = value.strip(b" ")
        self.at = 0

    def end(self) -> None:
        if self.at != len(self.data):
            raise Malformed(f"not expected at {self.at}")

    def found(self, octet: bytes) -> bool:
        """Whether ``octet`` is next; then it is passed."""
        if self.data.startswith(octet, self.at):
            self.at += 1
            return True
        return False

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        found = pattern.match(self.data, self.at)
        if found is None:
            raise Malformed(f"not expected at {self.at}")
        self.at = found.end()
        return found

    def dictionary(self) -> dict[str, Member]:
        members: dict[str, Member] = {}
        while self.at < len(self.data):
            key = self.match(_KEY)[0].decode()
            members[key] = self.member() if self.found(b"=") else Item(True, self.parameters())
            self.match(_OWS)
            if self.at == len(self.data):
                break
            if not self.found(b","):
                raise Malformed(f"a comma is missing at {self.at}")
            self.match(_OWS)
            if self.at == len(self.data):
                raise Malformed("a comma at the end")
        return members

    def member(self) -> Member:
        return self.inner_list() if self.data.startswith(b"(", self.at) else self.item()

    def inner_list(self) -> InnerList:
        self.at += 1
        items: list[Item] = []
        while True:
            while self.found(b" "):
                pass
            if self.found(b")"):
                return InnerList(items, self.parameters())
            items.append(self.item())
            if self.data[self.at : self.at + 1] not in (b" ", b")"):
                raise Malformed(f"not expected at {self.at}")

    def item(self) -> Item:
        value = self.bare()
        return Item(value, self.parameters())

    def parameters(self) -> Parameters:
        parameters: Parameters = {}
        while self.found(b";"):
            while self.found(b" "):
                pass
            key = self.match(_KEY)[0].decode()
            parameters[key] = self.bare() if self.found(b"=") else True
        return parameters

    def bare(self) -> Bare:
        first = self.data[self.at : self.at + 1]
        if first == b'"':
            return _ESCAPED.sub(rb"\1", self.match(_STRING)[1]).decode("ascii")
        if first == b":":
            return _octets(self.match(_BYTES)[1])
        if first == b"?":
            return self.match(_BOOLEAN)[1] == b"1"
        if first == b"@":
            return Date(self.match(_DATE)[1])
        if first == b"%":
            return _display(self.match(_DISPLAY)[1])
        if first == b"-" or first.isdigit():
            found = self.match(_NUMBER)
            return int(found[0]) if found[1] is None else Decimal(found[0].decode())
        return Token(self.match(_TOKEN)[0].decode())


def _octets(text: bytes) -> bytes:
    try:
        return b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except Error:
        raise Malformed("not Base64") from None


def _display(text: bytes) -> DisplayString:
    try:
        return DisplayString(_PERCENT.sub(_unquoted, text).decode())
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None


def _unquoted(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode())


def write_parameters(parameters: Parameters) -> bytes:
    """Parameters in canonical form (section 4.1.1.2)."""
    out = []
    for key, value in parameters.items():
        out.append(b";" + key.encode())
        if value is not True:
            out.append(b"=" + write_bare(value))
    return b"".join(out)


def write_bare(value: Bare) -> bytes:
    """A bare item in canonical form (section 4.1.3.1). The value is one that was parsed, or would be."""
    if isinstance(value, bool):
        return b"?1" if value else b"?0"
    if isinstance(value, Date):
        return b"@%d" % value
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, bytes):
        return b":%b:" % b64encode(value)
    if isinstance(value, Token):
        return value.encode()
    if isinstance(value, DisplayString):
        return b'%%"%b"' % b"".join([_quoted(octet) for octet in value.encode()])
    return b'"%b"' % value.replace("\\", "\\\\").replace('"', '\\"').encode("ascii")


def _decimal(value: Decimal) -> bytes:
    whole, _, fraction = f"{value:.3f}".partition(".")
    return f"{whole}.{fraction.rstrip('0') or '0'}".encode()


def _quoted(octet: int) -> bytes:
    return b"%%%02x" % octet if octet in b'%"' or not 32 <= octet < 127 else b"%c" % octet
