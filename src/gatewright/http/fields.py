"""Values of header fields: lists, cookies, dates. RFC 9110 sections 5.6 and 5.6.7, RFC 6265 section 5.4."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

#: One element of a list: quoted strings (whose commas do not count) and anything else up to a comma.
_ELEMENT = re.compile(rb'(?:"(?:[^"\\]|\\.)*"|[^",])+', re.DOTALL)

_GRPC = b"application/grpc"
_ENDS_TYPE = b"+; \t"

_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")


def split_list(value: bytes) -> list[bytes]:
    """The elements of a list field, without the white space around them. Empty elements are left out.

    A comma within a quoted string separates nothing; a quote that is never closed ends the list where it stands.
    """
    if b'"' not in value:
        return [item for piece in value.split(b",") if (item := piece.strip(b" \t"))]
    return [item for piece in _ELEMENT.findall(value) if (item := piece.strip(b" \t"))]


def kind_of_call(content_type: bytes) -> str:
    """``grpc`` or ``grpc-web`` when a message of this type belongs to such a call, else nothing.

    The types are ``application/grpc``, ``application/grpc-web`` and ``application/grpc-web-text``, alone or with
    ``+proto``, ``+json`` … behind them.
    """
    if content_type[:16].lower() != _GRPC:
        return ""
    rest = content_type[16:]
    if rest[:1] in _ENDS_TYPE:
        return "grpc"
    rest = rest.lower()
    for web in (b"-web-text", b"-web"):
        if rest.startswith(web) and rest[len(web) : len(web) + 1] in _ENDS_TYPE:
            return "grpc-web"
    return ""


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
