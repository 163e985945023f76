"""Patterns: what they become, and where their mistakes are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.proxy.patterns import PARAM, REGEX, STATIC, PatternError, parse_host, parse_path


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("/", b"/"),
        ("/a/b", b"/a/b"),
        ("/a/", b"/a/"),
        ("/%61/%7e%2f", b"/a/~%2F"),
        ("/café au lait", b"/caf%C3%A9%20au%20lait"),
        ("/a;b=c,d", b"/a;b=c,d"),
        ("/.well-known/x", b"/.well-known/x"),
        ("/a|b", b"/a%7Cb"),
    ],
)
def test_literals(text: str, literal: bytes) -> None:
    assert parse_path(text).literal == literal


def test_segments_parameters_and_the_rest() -> None:
    pattern = parse_path("/a/{id}/{no:[0-9]{2,3}}/{x-y_1:[^]}]+|\\}}/*")
    assert [segment.kind for segment in pattern.segments] == [STATIC, PARAM, REGEX, REGEX]
    assert [segment.text for segment in pattern.segments] == [b"a", b"", b"[0-9]{2,3}", b"[^]}]+|\\}"]
    assert pattern.params == ((b"id", 2), (b"no", 3), (b"x-y_1", 4))
    assert pattern.tail == b"*"
    assert pattern.literal is None
    assert parse_path("/a/{*}").tail == b"*"
    assert parse_path("/a/{*rest}").tail == b"rest"
    assert parse_path("/*").segments == ()


def test_regular_expressions() -> None:
    pattern = parse_path(r"~^/x(\d+)/(?P<name>\w)$")
    assert pattern.regex is not None
    assert pattern.regex.search(b"/x12/y")
    assert pattern.params == ((b"1", 1), (b"name", 2))


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "starts with"),
        ("a/b", 1, "starts with"),
        ("*", 1, "starts with"),
        ("~", 2, "empty regular expression"),
        ("~^/a(", 5, "not a regular expression"),
        ("~/é", 2, "ASCII"),
        ("/a//b", 4, "empty segment"),
        ("/a/../b", 4, "dot segment"),
        ("/a/%2E/b", 4, "dot segment"),
        ("/a/..;x", 4, "hides a dot segment"),
        ("/a%2", 2, "percent"),
        ("/a%5c", 2, "backslash"),
        ("/a\tb", 2, "percent-encoded"),
        ("/a?b=c", 3, "query"),
        ("/a#b", 3, "fragment"),
        ("/a/*/b", 4, "come last"),
        ("/a*", 3, "whole last segment"),
        ("/{*rest}/b", 2, "come last"),
        ("/{*1}", 4, "not a name"),
        ("/{}", 3, "not a name"),
        ("/{1a}", 3, "not a name"),
        ("/{id:}", 6, "empty regular expression"),
        ("/{id:[}", 2, '"{" without'),
        ("/{id:*}", 6, "not a regular expression"),
        ("/{id:a(}", 7, "not a regular expression"),
        ("/{id:a/b}", 7, "slash"),
        ("/{id", 2, '"{" without'),
        ("/id}", 4, '"}" without'),
        ("/x{id}", 3, "whole segment"),
        ("/{id}x", 2, "whole segment"),
        ("/{a}{b}", 2, "whole segment"),
        ("/{id}/{id}", 8, "two parameters"),
        ("/{id}/{*id}", 9, "two parameters"),
        ("/a" * 65, 1, "more than 64"),
    ],
)
def test_mistakes_are_placed(text: str, column: int, message: str) -> None:
    with pytest.raises(PatternError) as caught:
        parse_path(text)
    assert message in str(caught.value)
    assert caught.value.column == column
    assert f"(column {column} of the pattern)" in str(caught.value)


@given(st.text("/{}*~:[]()%2Fa.;?\\|", max_size=16))
def test_any_text_is_a_pattern_or_a_mistake_with_a_place(text: str) -> None:
    try:
        pattern = parse_path(text)
    except PatternError as error:
        assert 1 <= error.column <= len(text) + 1  # noqa: PT017 - it may raise, and then only this
        return
    assert pattern.text == text
    assert sum([pattern.literal is not None, pattern.regex is not None, bool(pattern.params or pattern.tail)]) >= 1


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("*", b"*"),
        ("Example.COM", b"example.com"),
        ("example.com.", b"example.com"),
        ("*.example.com", b"*.example.com"),
        ("*.Localhost", b"*.localhost"),
        ("127.0.0.1", b"127.0.0.1"),
        ("::1", b"[::1]"),
        ("[0:0::1]", b"[::1]"),
        ("bücher.example", b"xn--bcher-kva.example"),
        ("*.bücher.example", b"*.xn--bcher-kva.example"),
    ],
)
def test_hosts(text: str, host: bytes) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 1),
        ("a b", 1),
        ("a..b", 1),
        ("*.", 1),
        ("*a.b", 1),
        ("a.*.b", 3),
        ("a.*", 3),
        ("*.*.b", 3),
        ("a:80", 2),
        ("[::1]:80", 6),
        ("http://a", 1),
        ("é" * 80, 1),
    ],
)
def test_bad_hosts(text: str, column: int) -> None:
    with pytest.raises(PatternError) as caught:
        parse_host(text)
    assert caught.value.column == column
