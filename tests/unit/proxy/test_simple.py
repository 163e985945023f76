"""The part of CEL that needs no library: what belongs to it. That its results are right is test_expression's."""

from __future__ import annotations

import pytest

from gatewright.proxy.simple import parse_simple


@pytest.mark.parametrize(
    "source",
    [
        "true",
        " ( request.method=='GET' ) ",
        'request\n.method\t== "GET"',
        "!!true || !(false) && !has(request.query.a)",
        "request.path in []",
        "response.status != 0",
        "'a' in request.params",
    ],
)
def test_belongs(source: str) -> None:
    assert parse_simple(source) is not None


@pytest.mark.parametrize(
    "source",
    [
        "",
        "request.method",
        "'a'",
        "'a' == 'a'",
        "request.method == request.path",
        "request.method == 'a' == true",
        "!request.method == 'a'",
        "!response.status == 1",
        "!'a' in request.headers",
        "request.method == 'a\\n'",
        "request.method == 'a\ufffd'",
        "request.method == r'a'",
        "request.method == '''a'''",
        "request.method in ['a', 1]",
        "request.method in ['a',]",
        "request.headers.in == 'a'",
        "has(request.headers.true)",
        "response.status == 01",
        "response.status == 1u",
        "response.status == -1",
        "response.status == 1.0",
        "200 == response.status",
        "request.path.size() == 1",
        "request.path.startsWith('a').x",
        "request.path.startsWith('a', 'b')",
        "request.path.startsWith(request.method)",
        "request.nope == 'a'",
        "request.method.nope == 'a'",
        "request.headers == 'a'",
        "request.headers['a']['b'] == 'c'",
        "'a' in identity.groups",
        "has(request.method)",
        "has(request.headers)",
        "true ? true : false",
        "true true",
        "(true",
        "true)",
        "true &&",
        "true // comment",
        ".request.method == 'a'",
    ],
)
def test_belongs_to_the_library(source: str) -> None:
    assert parse_simple(source) is None
