"""Single cookies and query parameters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.http.headers import Fields, Headers
from gatewright.sdk.lookup import cookies, drop_cookie, drop_query, query_values


def headers(*lines: bytes) -> Headers:
    return Headers(Fields([(b"cookie", line) for line in lines]))


@pytest.mark.parametrize(
    ("lines", "found", "left"),
    [
        ([b"a=1; b=2; a=3"], [b"1", b"3"], [b"b=2"]),
        ([b"a=1"], [b"1"], []),
        ([b"b=2;a=1", b"a=2"], [b"1", b"2"], [b"b=2"]),
        ([b"ba=1; a"], [], [b"ba=1; a"]),
        ([b"a="], [b""], []),
        ([b'a="x=y"'], [b'"x=y"'], []),
        ([], [], []),
    ],
)
def test_cookies(lines: list[bytes], found: list[bytes], left: list[bytes]) -> None:
    sent = headers(*lines)
    assert cookies(sent, b"a") == found
    drop_cookie(sent, b"a")
    assert sent.all(b"cookie") == left


@pytest.mark.parametrize(
    ("query", "found", "left"),
    [
        (b"a=1&b=2&a=3", [b"1", b"3"], b"b=2"),
        (b"%61=x%20y+z", [b"x y z"], None),
        (b"a", [b""], None),
        (b"A=1&aa=2", [], b"A=1&aa=2"),
        (b"b=%zz&&c", [], b"b=%zz&&c"),
        (b"", [], b""),
        (None, [], None),
    ],
)
def test_query(query: bytes | None, found: list[bytes], left: bytes | None) -> None:
    assert query_values(query, b"a") == found
    assert drop_query(query, b"a") == left


@given(st.binary(max_size=60))
def test_nothing_is_left_of_what_was_dropped(query: bytes) -> None:
    assert query_values(drop_query(query, b"a"), b"a") == []
