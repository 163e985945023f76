"""Values of header fields."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.errors import ProtocolError
from gatewright.http.fields import connection_tokens, http_date, parse_content_length, parse_qualities, split_list


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


@pytest.mark.parametrize(("value", "length"), [(b"0", 0), (b"42", 42), (b"007", 7), (b"9" * 18, int("9" * 18))])
def test_content_length(value: bytes, length: int) -> None:
    assert parse_content_length([value]) == length


@pytest.mark.parametrize("values", [[], [b"1", b"1"], [b"1", b"2"], [b"1,1"], [b"1, 2"]])
def test_repeated_content_length(values: list[bytes]) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_content_length(values)
    assert caught.value.reason == "request.ambiguous"


@pytest.mark.parametrize("value", [b"", b" ", b"+1", b"-1", b"1 ", b" 1", b"0x1", b"1_0", b"1.0", b"\xb2", b"9" * 19])
def test_odd_content_length(value: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_content_length([value])
    assert caught.value.reason == "request.malformed"


def test_connection_tokens() -> None:
    assert connection_tokens([]) == frozenset()
    assert connection_tokens([b"Keep-Alive, X-A", b" upgrade ,"]) == {b"keep-alive", b"x-a", b"upgrade"}


@pytest.mark.parametrize("value", [b"a b", b'"close"', b"a;b", b"\xff"])
def test_connection_holds_tokens_only(value: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        connection_tokens([value])
    assert caught.value.reason == "request.malformed"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", []),
        (b"text/html", [(b"text/html", 1.0)]),
        (b"a;q=0.5, B, c;q=0", [(b"b", 1.0), (b"a", 0.5), (b"c", 0.0)]),
        (b"a;v=1;Q=0.25", [(b"a;v=1", 0.25)]),
        (b"a;v=1", [(b"a;v=1", 1.0)]),
        (b"a ; q = 0.1", [(b"a", 0.1)]),
        (b"a;q=2, b;q=-1, c;q=x, d;q=0.1234, e;q=1.000", [(b"e", 1.0), (b"a", 0), (b"b", 0), (b"c", 0), (b"d", 0)]),
    ],
)
def test_qualities(value: bytes, expected: list[tuple[bytes, float]]) -> None:
    assert parse_qualities(value) == expected


def test_date_of_the_rfc() -> None:
    assert http_date(784111777) == b"Sun, 06 Nov 1994 08:49:37 GMT"
    assert http_date(784111777.99) == b"Sun, 06 Nov 1994 08:49:37 GMT"


@given(st.integers(0, 253402300799))
def test_dates_agree_with_the_standard_library(wall: int) -> None:
    assert http_date(wall) == formatdate(wall, usegmt=True).encode()
