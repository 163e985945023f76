"""The PROXY protocol, versions 1 and 2, as a receiver reads it: who is behind the load balancer in front of us."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from gatewright.errors import ProtocolError

_V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_LONGEST = 107
_V2_LONGEST = 16 + 4096  # addresses and type-length-values; real ones are a few hundred bytes


def read_proxy_header(data: bytes) -> tuple[int, str | None] | None:
    """Read a header at the beginning of ``data``.

    Returns the number of bytes it took and the client's address (None for LOCAL and UNKNOWN: the peer itself), or
    None when it is not complete yet. Raises ProtocolError when this is not a PROXY header.
    """
    if data.startswith(b"PROXY "):
        return _read_v1(data)
    if data.startswith(_V2_SIGNATURE):
        return _read_v2(data)
    if b"PROXY ".startswith(data) or _V2_SIGNATURE.startswith(data):
        return None
    raise _bad("there is none")


def _read_v1(data: bytes) -> tuple[int, str | None] | None:
    end = data.find(b"\r\n", 0, _V1_LONGEST)
    if end < 0:
        if len(data) >= _V1_LONGEST:
            raise _bad("version 1 line too long")
        return None
    words = data[:end].split(b" ")
    if words[1] == b"UNKNOWN":
        return end + 2, None
    if len(words) != 6 or words[1] not in {b"TCP4", b"TCP6"}:
        raise _bad("version 1 line malformed")
    try:
        source = ip_address(words[2].decode("ascii"))
    except ValueError:
        raise _bad("version 1 address malformed") from None
    # A zone ("%") may hold anything, and has no place in the protocol.
    if (source.version == 4) != (words[1] == b"TCP4") or b"%" in words[2] or not words[4].isdigit():
        raise _bad("version 1 address malformed")
    return end + 2, str(source)


def _read_v2(data: bytes) -> tuple[int, str | None] | None:
    if len(data) < 16:
        return None
    version, command = data[12] >> 4, data[12] & 0x0F
    size = 16 + int.from_bytes(data[14:16], "big")
    if version != 2 or command > 1 or size > _V2_LONGEST:
        raise _bad("version 2 header malformed")
    if len(data) < size:
        return None
    family = data[13] >> 4
    if command == 0 or family in {0, 3}:  # LOCAL, unspecified, unix: the peer speaks for itself
        return size, None
    if family == 1 and size >= 28:
        return size, str(IPv4Address(data[16:20]))
    if family == 2 and size >= 52:
        return size, str(IPv6Address(data[16:32]))
    raise _bad("version 2 addresses malformed")


def _bad(detail: str) -> ProtocolError:
    return ProtocolError("request.malformed", 400, f"PROXY protocol: {detail}")
