"""The PROXY protocol, with the examples of its specification (sections 2.1 and 2.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.errors import ProtocolError
from gatewright.wire.proxy_protocol import read_proxy_header

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
V4 = bytes([127, 0, 0, 1, 127, 0, 0, 2]) + b"\x30\x39\x00\x50"
V6 = bytes(15) + b"\1" + bytes(15) + b"\2" + b"\x30\x39\x00\x50"


def v2(command: int, family: int, addresses: bytes, size: int | None = None) -> bytes:
    length = (len(addresses) if size is None else size).to_bytes(2, "big")
    return SIGNATURE + bytes([command, family]) + length + addresses


@pytest.mark.parametrize(
    ("header", "address"),
    [
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
        (b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "192.168.0.1"),
        (b"PROXY TCP6 " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n", "ffff:" * 7 + "ffff"),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n", None),
        (v2(0x21, 0x11, V4), "127.0.0.1"),
        (v2(0x21, 0x21, V6), "::1"),
        (v2(0x21, 0x12, V4), "127.0.0.1"),
        (v2(0x21, 0x31, bytes(216)), None),
        (v2(0x21, 0x00, b""), None),
        (v2(0x20, 0x00, b""), None),
        (v2(0x20, 0x11, V4), None),
        (v2(0x21, 0x11, V4 + b"\x03\x00\x04abcd"), "127.0.0.1"),
    ],
)
def test_headers(header: bytes, address: str | None) -> None:
    assert read_proxy_header(header) == (len(header), address)
    assert read_proxy_header(header + b"GET / HTTP/1.1\r\n") == (len(header), address)
    for size in range(len(header)):
        assert read_proxy_header(header[:size]) is None


@pytest.mark.parametrize(
    "data",
    [
        *(b"GET / HTTP/1.1\r\n", b"PROXYTCP4", b"proxy TCP4", b"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n", b"PROXY TCP4\r\n"),
        *(b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n", b"PROXY TCP4 1.1.1 1.1.1.1 1 1\r\n", b"PROXY TCP4 ::1 ::1 1 1\r\n"),
        *(b"PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n", b"PROXY TCP4 1.1.1.1 1.1.1.1 x 1\r\n", b"PROXY TCP4 \xff 1.1.1.1 1 1\r\n"),
        *(b"PROXY TCP6 fe80::1%\nx-a:b ::1 1 1\r\n", b"PROXY UNKNOWN " + b"a" * 200, b"PROXY " + b"a" * 101),
        *(v2(0x11, 0x11, V4), v2(0x22, 0x11, V4), v2(0x21, 0x11, V4[:11]), v2(0x21, 0x21, V6[:35]), v2(0x21, 0x41, V6)),
        v2(0x21, 0x11, b"", 4097),
    ],
)  # fmt: skip
def test_what_is_no_header(data: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_proxy_header(data)
    assert caught.value.reason == "request.malformed"


@given(st.sampled_from([b"", b"PROXY ", b"PROXY TCP6 ", SIGNATURE, SIGNATURE + b"\x21"]), st.binary(max_size=60))
def test_any_octets_are_a_header_or_not_yet_or_a_protocol_error(start: bytes, rest: bytes) -> None:
    try:
        found = read_proxy_header(start + rest)
    except ProtocolError:
        return
    if found is not None:
        assert 0 < found[0] <= len(start + rest)
        assert found[1] is None or found[1].isprintable()
