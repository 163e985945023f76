"""URLs of endpoints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from gatewright.config.endpoint import EndpointUrl, parse_url


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("http://127.0.0.1:9001", ("http", "127.0.0.1", 9001, True, "127.0.0.1:9001")),
        ("http://127.0.0.1", ("http", "127.0.0.1", 80, True, "127.0.0.1")),
        ("HTTPS://Orders.Internal./", ("https", "orders.internal", 443, False, "orders.internal")),
        ("https://orders:443", ("https", "orders", 443, False, "orders")),
        ("http://my_host:443", ("http", "my_host", 443, False, "my_host:443")),
        ("http://[::1]:80", ("http", "::1", 80, True, "[::1]")),
        ("http://[2001:DB8::1]:81", ("http", "2001:db8::1", 81, True, "[2001:db8::1]:81")),
        ("unix:/run/app.sock", ("http", "/run/app.sock", 0, True, "localhost")),
        ("unix:///run/app.sock", ("http", "/run/app.sock", 0, True, "localhost")),
    ],
)
def test_parts(written: str, parts: tuple[object, ...]) -> None:
    url = parse_url(written)
    assert url == parts
    assert url.unix == written.startswith("unix")
    assert parse_url(url) is url


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("127.0.0.1:9001", "'127.0.0.1:9001' is not a URL"),
        ("//host", "'//host' is not a URL"),
        ("ftp://h", "the scheme 'ftp' is not known"),
        ("http://h/path", "an endpoint's URL ends after the port"),
        ("http://h?x", "an endpoint's URL ends after the port"),
        ("http://u:p@h", "an endpoint's URL holds no user name or password"),
        ("http://h:0", "'0' is not a port"),
        ("http://h:", "'' is not a port"),
        ("http://h:65536", "'65536' is not a port"),
        ("http://", "'' is neither an address nor a host name"),
        ("http://-a", "'-a' is neither an address nor a host name"),
        ("http://a..b", "'a..b' is neither an address nor a host name"),
        ("http://1.2.3.999", "'1.2.3.999' is neither an address nor a host name"),
        ("http://127.1", "'127.1' is neither an address nor a host name"),
        ("http://[::z]", "'::z' is not an IPv6 address"),
        ("unix:", "the path of a unix socket must have 1 to 100 bytes"),
        (5, "'5' is not a URL"),
    ],
)
def test_refused(value: object, message: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        parse_url(value)
    assert caught.value.message() == message


def test_a_missing_scheme_is_suggested() -> None:
    with pytest.raises(PydanticCustomError) as caught:
        parse_url("orders:9001")
    assert caught.value.context == {
        "message": "'orders:9001' is not a URL",
        "hint": "did you mean 'http://orders:9001'?",
    }


@given(st.text(max_size=40).map(lambda text: f"http://{text}") | st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        url = parse_url(text)
    except PydanticCustomError:
        return
    assert isinstance(url, EndpointUrl)
    assert 0 <= url.port <= 65535
    assert not set(url.authority) & set("\r\n /?#@\0")
