"""Values of header fields: lists, lengths, qualities, dates. RFC 9110 sections 5.6, 8.6, 12.4.2."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from gatewright.errors import ProtocolError
from gatewright.http.headers import TOKEN_OCTETS

_DIGITS = b"0123456789"
#: More than any machine can send, fewer digits than it takes to slow int() down.
_MOST_LENGTH_DIGITS = 18

#: One element of a list: quoted strings (whose commas do not count) and anything else up to a comma.
_ELEMENT = re.compile(rb'(?:"(?:[^"\\]|\\.)*"|[^",])+', re.DOTALL)
_QUALITY = re.compile(rb"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")

_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")


def split_list(value: bytes) -> list[bytes]:
    """The elements of a list field, without the white space around them. Empty elements are left out.

    A comma within a quoted string separates nothing; a quote that is never closed ends the list where it stands.
    """
    if b'"' not in value:
        return [item for piece in value.split(b",") if (item := piece.strip(b" \t"))]
    return [item for piece in _ELEMENT.findall(value) if (item := piece.strip(b" \t"))]


def parse_content_length(values: Sequence[bytes]) -> int:
    """The one Content-Length of a message. RFC 9112 section 6.3.

    RFC 9110 section 8.6 would let equal repetitions pass; they are refused, for who sends them has something in mind.

    Raises:
        ProtocolError: ``request.ambiguous`` for more than one value, ``request.malformed`` for what is no number.
    """
    if len(values) != 1 or b"," in values[0]:
        raise ProtocolError("request.ambiguous", detail="repeated Content-Length")
    value = values[0]
    if not value or value.translate(None, _DIGITS) or len(value) > _MOST_LENGTH_DIGITS:
        raise ProtocolError("request.malformed", detail="Content-Length is not a number")
    return int(value)


def connection_tokens(values: Iterable[bytes]) -> frozenset[bytes]:
    """The options of all Connection fields, in lower case. RFC 9110 section 7.6.1.

    Raises:
        ProtocolError: ``request.malformed`` for an element that is not a token.
    """
    tokens = [token.lower() for value in values for token in value.split(b",")]
    found = frozenset(stripped for token in tokens if (stripped := token.strip(b" \t")))
    for token in found:
        if token.translate(None, TOKEN_OCTETS):
            raise ProtocolError("request.malformed", detail="Connection holds what is not a token")
    return found


def parse_qualities(value: bytes) -> list[tuple[bytes, float]]:
    """The elements of an Accept field with their weights, best first; equal ones in the order they were sent.

    Elements are in lower case and keep their other parameters. A weight that cannot be read counts as 0.
    """
    found = []
    for element in split_list(value):
        head, mark, weight = element.lower().rpartition(b";")
        name, equals, number = weight.partition(b"=")
        if not mark or not equals or name.strip(b" \t") != b"q":
            found.append((element.lower(), 1.0))
            continue
        number = number.strip(b" \t")
        found.append((head.rstrip(b" \t"), float(number) if _QUALITY.fullmatch(number) else 0.0))
    found.sort(key=_by_weight)
    return found


def _by_weight(pair: tuple[bytes, float]) -> float:
    return -pair[1]


def http_date(wall: float) -> bytes:
    """Seconds since 1970 as an IMF-fixdate: ``Sun, 06 Nov 1994 08:49:37 GMT``. RFC 9110 section 5.6.7.

    Raises:
        ValueError, OverflowError: for a time outside the years 1 to 9999.
    """
    at = datetime.fromtimestamp(int(wall), UTC)
    return b"%b, %02d %b %04d %02d:%02d:%02d GMT" % (
        _DAYS[at.weekday()],
        at.day,
        _MONTHS[at.month - 1],
        at.year,
        at.hour,
        at.minute,
        at.second,
    )


def parse_cookies(values: Iterable[bytes]) -> dict[bytes, list[bytes]]:
    """The cookies of all Cookie fields, without the quotes around their values. RFC 6265 section 4.2.

    Pieces without an equals sign are passed over.
    """
    found: dict[bytes, list[bytes]] = {}
    for header in values:
        for piece in header.split(b";"):
            name, equals, value = piece.partition(b"=")
            if equals:
                value = value.strip(b" \t")
                if len(value) > 1 and value[:1] == value[-1:] == b'"':
                    value = value[1:-1]
                found.setdefault(name.strip(b" \t"), []).append(value)
    return found
