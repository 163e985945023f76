"""Values of header fields."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.http.fields import http_date, kind_of_call, split_list


@pytest.mark.parametrize(
    ("value", "items"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a,b , c", [b"a", b"b", b"c"]),
        (b" ,, a,\t,", [b"a"]),
        (b'"a,b", c', [b'"a,b"', b"c"]),
        (b'"a\\",b", c', [b'"a\\",b"', b"c"]),
        (b'for="[::1]:80";by=x, for=y', [b'for="[::1]:80";by=x', b"for=y"]),
        (b'a, "b', [b"a", b"b"]),
    ],
)
def test_split_list(value: bytes, items: list[bytes]) -> None:
    assert split_list(value) == items


@given(st.lists(st.text("ab;=", min_size=1, max_size=5).map(str.encode), max_size=5))
def test_split_list_gives_back_what_was_joined(items: list[bytes]) -> None:
    assert split_list(b", ".join(items)) == items
    quoted = [b'"%b,"' % item for item in items]
    assert split_list(b",".join(quoted)) == quoted


def test_date_of_the_rfc() -> None:
    assert http_date(784111777) == b"Sun, 06 Nov 1994 08:49:37 GMT"
    assert http_date(784111777.99) == b"Sun, 06 Nov 1994 08:49:37 GMT"


@given(st.integers(0, 253402300799))
def test_dates_agree_with_the_standard_library(wall: int) -> None:
    assert http_date(wall) == formatdate(wall, usegmt=True).encode()


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"application/grpc", "grpc"),
        (b"application/grpc+proto", "grpc"),
        (b"application/grpc;charset=utf-8", "grpc"),
        (b"Application/GRPC+json", "grpc"),
        (b"application/grpc-web", "grpc-web"),
        (b"application/grpc-Web+proto", "grpc-web"),
        (b"application/grpc-web-text", "grpc-web"),
        (b"application/grpc-web-text+proto; q=1", "grpc-web"),
        (b"application/grpc-webtext", ""),
        (b"application/grpc-web-texts", ""),
        (b"application/grpcx", ""),
        (b"application/json", ""),
        (b"", ""),
    ],
)
def test_content_types_of_calls(content_type: bytes, expected: str) -> None:
    assert kind_of_call(content_type) == expected
