"""A look at a ClientHello."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.tls.hello import HANDSHAKE, is_http, offered_protocols


def client_hello(*protocols: str, name: str = "a.example") -> bytes:
    """The first octets of a real client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    outgoing = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


@pytest.mark.parametrize("protocols", [("h2",), ("h2", "http/1.1"), ("spdy/3", "x" * 255)])
def test_what_is_offered_is_found(protocols: tuple[str, ...]) -> None:
    hello = client_hello(*protocols)
    assert hello[0] == HANDSHAKE
    assert offered_protocols(hello) == tuple(name.encode() for name in protocols)


def test_who_offers_nothing_is_not_refused() -> None:
    assert offered_protocols(client_hello()) is None


def test_a_hello_in_pieces_is_not_judged() -> None:
    hello = client_hello("h3")
    assert {offered_protocols(hello[:end]) for end in range(len(hello))} == {None}


def test_an_extension_that_is_no_alpn_is_passed_over() -> None:
    name = "a" * 11 + ".b"  # its lengths hold the number of the extension: 0x0010
    assert offered_protocols(client_hello("h2", name=name)) == (b"h2",)
    assert offered_protocols(client_hello(name=name)) is None


@given(st.binary(max_size=200), st.integers(0, 300))
def test_any_octets_are_read_without_an_error(noise: bytes, at: int) -> None:
    hello = client_hello("h2", "http/1.1")
    for data in (noise, hello[:at] + noise + hello[at + len(noise) :], b"\x16\x03\x01\x00\x10\x01" + noise):
        offered = offered_protocols(data)
        assert offered is None or all(isinstance(name, bytes) for name in offered)


def test_http_without_tls_is_known() -> None:
    assert is_http(b"GET / HTTP/1.1\r\n")
    assert is_http(b"PRI * HTTP/2.0\r\n")
    assert not is_http(client_hello())
    assert not is_http(b"SSH-2.0-x")
