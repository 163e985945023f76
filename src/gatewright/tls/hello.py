"""A look at the first bytes of a connection before TLS begins: is it TLS at all, and what is it to carry?

Only what the TLS library cannot be asked: it agrees on no protocol where there is none in common, while RFC 7301
section 3.2 wants the connection to be refused, and it does not answer those who speak HTTP without TLS.
"""

from __future__ import annotations

from typing import Final

#: Type of a record that carries a handshake message (RFC 8446 section 5.1).
HANDSHAKE: Final = 0x16
#: The fatal alert ``no_application_protocol``, as a record (RFC 7301 section 3.2).
NO_APPLICATION_PROTOCOL: Final = b"\x15\x03\x03\x00\x02\x02\x78"

_CLIENT_HELLO = 1
_ALPN = b"\x00\x10"  # type of the extension (RFC 7301 section 3.1)
_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ", b"PRI ")


def is_http(data: bytes) -> bool:
    """Whether the first bytes are those of an HTTP request without TLS."""
    return data.startswith(_METHODS)


def offered_protocols(data: bytes) -> tuple[bytes, ...] | None:
    """The protocols that a ClientHello offers by ALPN; None when it offers none, or is not complete in ``data``."""
    if _ALPN not in data:  # most of those who offer nothing that we speak
        return None
    try:
        return _offered(data)
    except IndexError:  # a length leads beyond the end
        return None


def _offered(data: bytes) -> tuple[bytes, ...] | None:
    size = int.from_bytes(data[3:5], "big")
    hello = data[5 : 5 + size]
    if len(hello) < size or hello[0] != _CLIENT_HELLO:
        return None
    at = 4 + 2 + 32  # its header, the version, the random
    at += 1 + hello[at]  # session id
    at += 2 + (hello[at] << 8 | hello[at + 1])  # cipher suites
    at += 1 + hello[at]  # compression methods
    end = at + 2 + (hello[at] << 8 | hello[at + 1])
    at += 2
    while at < end:
        length = hello[at + 2] << 8 | hello[at + 3]
        if hello[at : at + 2] == _ALPN:
            return _names(hello[at + 6 : at + 4 + length])
        at += 4 + length
    return None


def _names(listed: bytes) -> tuple[bytes, ...]:
    names = []
    at = 0
    while at < len(listed):
        size = listed[at]
        names.append(listed[at + 1 : at + 1 + size])
        at += 1 + size
    return tuple(names)
