"""Structured fields: examples of RFC 9651, what is refused, and there and back again."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.http.structured import (
    Date,
    DisplayString,
    InnerList,
    Item,
    Malformed,
    Token,
    parse_dictionary,
    parse_item,
    write_bare,
    write_parameters,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"42", 42),
        (b"-0", 0),
        (b"999999999999999", 999999999999999),
        (b"4.5", Decimal("4.5")),
        (b"-1.125", Decimal("-1.125")),
        (b'"hello world"', "hello world"),
        (b'"a \\"b\\" \\\\"', 'a "b" \\'),
        (b'""', ""),
        (b"foo123/456", Token("foo123/456")),
        (b"*x", Token("*x")),
        (b":cHJldGVuZCB0aGlzIGlzIGJpbmFyeSBjb250ZW50Lg==:", b"pretend this is binary content."),
        (b":cGFk:", b"pad"),
        (b":cGE:", b"pa"),  # padding may be left out
        (b"::", b""),
        (b"?1", True),
        (b"?0", False),
        (b"@1659578233", Date(1659578233)),
        (b"@-1", Date(-1)),
        (b'%"This is intended for display to %c3%bcsers."', DisplayString("This is intended for display to üsers.")),
        (b"  7  ", 7),
    ],
)
def test_bare_items(text: bytes, value: Any) -> None:
    found = parse_item(text).value
    assert (found, type(found)) == (value, type(value))
    assert parse_item(write_bare(found)).value == value


@pytest.mark.parametrize(
    "text",
    [
        b"", b"1.", b"1.1234", b"1234567890123456", b"1234567890123.1", b"--1", b"-", b"+1", b"1 2", b"1,2",
        b'"open', b'"tab\t"', b'"a\\b"', b'"\xc3\xa9"', b"'x'", b":a:", b":ab c:", b":a=b:", b":YQ", b"?2", b"?",
        b"@", b"@1.5", b"@x", b'%"%C3%BC"', b'%"%ff"', b'%"x', b"%x", b"a;", b"a;B", b"a;b=", b"a; =1", b"(1)", b"\x00",
    ],
)  # fmt: skip
def test_what_is_no_item(text: bytes) -> None:
    with pytest.raises(Malformed):
        parse_item(text)


def test_dictionaries() -> None:
    found = parse_dictionary(b'a=1;x;y="z",\tb , c=(1  "two" t;q=0.5 );p=?0,a=2')
    assert list(found) == ["a", "b", "c"]
    assert found["a"].write() == b"2"
    assert found["b"].write() == b"?1"
    assert found["c"].write() == b'(1 "two" t;q=0.5);p=?0'
    assert isinstance(found["c"], InnerList)
    assert found["c"].parameters == {"p": False}
    assert parse_dictionary(b"") == {}
    assert parse_dictionary(b"a=();b=1;c;b=2")["a"].write() == b"();b=2;c"


@pytest.mark.parametrize(
    "text",
    [
        b"a=",
        b"a=1,",
        b",a=1",
        b"a=1,,b",
        b"A=1",
        b"a=1 b=2",
        b"a=(1",
        b"a=(1,2)",
        b"a=(1)x",
        b"a=(1\t2)",
        b"a = 1",
        b"1",
    ],
)
def test_what_is_no_dictionary(text: bytes) -> None:
    with pytest.raises(Malformed):
        parse_dictionary(text)


ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
BARE = st.one_of(
    st.integers(-999_999_999_999_999, 999_999_999_999_999),
    st.decimals(-999_999_999_999, 999_999_999_999, places=3),
    ASCII,
    st.from_regex(r"\A[A-Za-z*][A-Za-z0-9:/!#$%&'*+.^_`|~-]{0,8}\Z").map(Token),
    st.binary(max_size=12),
    st.booleans(),
    st.integers(-(10**14), 10**14).map(Date),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(DisplayString),
)
KEY = st.from_regex(r"\A[a-z*][a-z0-9_.*-]{0,6}\Z")
PARAMETERS = st.dictionaries(KEY, BARE, max_size=3)
ITEM = st.builds(Item, BARE, PARAMETERS)


@given(st.dictionaries(KEY, ITEM | st.builds(InnerList, st.lists(ITEM, max_size=3), PARAMETERS), max_size=4))
def test_there_and_back(members: dict[str, Item | InnerList]) -> None:
    text = b", ".join(key.encode() + b"=" + member.write() for key, member in members.items())
    found = parse_dictionary(text)
    assert list(found) == list(members)
    assert [member.write() for member in found.values()] == [member.write() for member in members.values()]
    for key, member in found.items():
        assert member.parameters == members[key].parameters
        assert write_parameters(member.parameters) == write_parameters(members[key].parameters)


@given(st.binary(max_size=40) | st.text('a=1;,()":?@%\\ -.', max_size=30).map(str.encode))
def test_anything_is_a_dictionary_or_malformed(text: bytes) -> None:
    try:
        found = parse_dictionary(text)
    except Malformed:
        return
    again = parse_dictionary(b", ".join(key.encode() + b"=" + member.write() for key, member in found.items()))
    assert [member.write() for member in again.values()] == [member.write() for member in found.values()]
