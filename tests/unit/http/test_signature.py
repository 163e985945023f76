"""What is signed: the examples of RFC 9421, section by section."""

from __future__ import annotations

import pytest

from gatewright.http.head import HTTP11, RequestHead
from gatewright.http.headers import Fields, Headers
from gatewright.http.signature import identifier_of, read_signatures
from gatewright.http.structured import Malformed

FIELDS = (
    (b"host", b"www.example.com"),
    (b"date", b"Tue, 20 Apr 2021 02:07:56 GMT"),
    (b"x-ows-header", b"Leading and trailing whitespace."),
    (b"cache-control", b"max-age=60"),
    (b"cache-control", b"must-revalidate"),
    (b"example-dict", b"a=1,    b=2;x=1;y=2,   c=(a   b   c), d"),
    (b"x-empty", b""),
)


def request(
    target: bytes, method: bytes = b"POST", authority: bytes = b"www.example.com", scheme: bytes = b"https"
) -> RequestHead:
    path, mark, query = target.partition(b"?")
    headers = Headers(Fields(FIELDS))
    return RequestHead(method, target, path, query if mark else None, authority, authority, scheme, HTTP11, headers)


def base(components: str, head: RequestHead) -> list[str]:
    signature = read_signatures(f"s=({components})".encode(), b"s=:AA==:")["s"]
    return signature.base(head).decode().split("\n")


@pytest.mark.parametrize(
    ("component", "target", "value"),
    [
        ('"@method"', b"/path?param=value", "POST"),
        ('"@target-uri"', b"/path?param=value", "https://www.example.com/path?param=value"),
        ('"@authority"', b"/path?param=value", "www.example.com"),
        ('"@scheme"', b"/path?param=value", "https"),
        ('"@request-target"', b"/path?param=value", "/path?param=value"),
        ('"@request-target"', b"https://www.example.com/path?param=value", "https://www.example.com/path?param=value"),
        ('"@request-target"', b"*", "*"),
        ('"@path"', b"/path?param=value", "/path"),
        ('"@path"', b"https://www.example.com?x=/", "/"),
        ('"@path"', b"http://www.example.com/a?x", "/a"),
        ('"@query"', b"/path?param=value&foo=bar&baz=bat%2Dman", "?param=value&foo=bar&baz=bat%2Dman"),
        ('"@query"', b"/path?queryString", "?queryString"),
        ('"@query"', b"/path", "?"),
        ('"@query-param";name="baz"', b"/path?param=value&foo=bar&baz=batman&qux=", "batman"),
        ('"@query-param";name="qux"', b"/path?param=value&foo=bar&baz=batman&qux=", ""),
        ('"@query-param";name="var"', b"/p?var=this%20is%20a%20big%0Amultiline%20value", "this%20is%20a%20big%0Amultiline%20value"),
        ('"@query-param";name="bar"', b"/p?bar=with+plus+whitespace", "with%20plus%20whitespace"),
        ('"@query-param";name="fa%C3%A7ade%22%3A%20"', b"/p?fa%C3%A7ade%22%3A%20=something", "something"),
        ('"@query-param";name="t"', b"/p?t=~%7e*", "%7E%7E*"),
        ('"cache-control"', b"/", "max-age=60, must-revalidate"),
        ('"cache-control";bs', b"/", ":bWF4LWFnZT02MA==:, :bXVzdC1yZXZhbGlkYXRl:"),
        ('"example-dict"', b"/", "a=1,    b=2;x=1;y=2,   c=(a   b   c), d"),
        ('"example-dict";key="a"', b"/", "1"),
        ('"example-dict";key="d"', b"/", "?1"),
        ('"example-dict";key="b"', b"/", "2;x=1;y=2"),
        ('"example-dict";key="c"', b"/", "(a b c)"),
        ('"x-empty"', b"/", ""),
    ],
)  # fmt: skip
def test_components(component: str, target: bytes, value: str) -> None:
    assert base(component, request(target)) == [f"{component}: {value}", f'"@signature-params": ({component})']


@pytest.mark.parametrize(
    ("authority", "scheme", "value"),
    [
        (b"WWW.Example.com:443", b"https", "www.example.com"),
        (b"www.example.com:80", b"http", "www.example.com"),
        (b"www.example.com:443", b"http", "www.example.com:443"),
    ],
)
def test_the_authority_is_normal(authority: bytes, scheme: bytes, value: str) -> None:
    lines = base('"@authority" "@target-uri"', request(b"/x", authority=authority, scheme=scheme))
    assert lines[:2] == [f'"@authority": {value}', f'"@target-uri": {scheme.decode()}://{value}/x']


@pytest.mark.parametrize(
    "components",
    [
        '"x-none"', '"Date"', '"@status"', '"@signature-params"', '"@unknown"', '"@method";req', '"date";req', '"date";tr',
        '"date";sf', '"date";bs;key="a"', '"example-dict";key="none"', '"date";key="x"', '"@query-param"',
        '"@query-param";name="none"', '"@query-param";name="twice"', '"@query-param";name="a";req', '"@path";x', '""',
        '"a b"',
    ],
)  # fmt: skip
def test_what_a_request_does_not_have(components: str) -> None:
    with pytest.raises(Malformed):
        base(components, request(b"/?twice=1&twice=2&a=1"))


@pytest.mark.parametrize(
    ("inputs", "signatures"),
    [
        (b"s", b"s=:AA==:"),
        (b"s=1", b"s=:AA==:"),
        (b"s=()", b""),
        (b"s=()", b"t=:AA==:"),
        (b"s=()", b's="AA=="'),
        (b"s=()", b"s=(:AA==:)"),
        (b"s=(", b"s=:AA==:"),
        (b"s=(date)", b"s=:AA==:"),
        (b"s=(1)", b"s=:AA==:"),
        (b's=("date" "date")', b"s=:AA==:"),
        (b's=();created="now"', b"s=:AA==:"),
        (b"s=();created=1.5", b"s=:AA==:"),
        (b"s=();created", b"s=:AA==:"),
        (b"s=();created=@1", b"s=:AA==:"),
        (b"s=();keyid=token", b"s=:AA==:"),
        (b"s=();nonce=:AA==:", b"s=:AA==:"),
        (b"s=(" + b" ".join(b'"a%d"' % n for n in range(65)) + b")", b"s=:AA==:"),
    ],
)
def test_what_is_no_signature(inputs: bytes, signatures: bytes) -> None:
    with pytest.raises(Malformed):
        read_signatures(inputs, signatures)


def test_the_target_uri_covers_its_parts() -> None:
    found = read_signatures(b's=("@target-uri" "date";bs), t=("@path")', b"s=:AA==:, t=:AA==:")
    assert {b'"@path"', b'"@query"', b'"@authority"', b'"date";bs'} <= found["s"].covered()
    assert found["t"].covered() == {b'"@path"'}


def test_identifiers_as_they_are_written() -> None:
    assert identifier_of("@method") == b'"@method"'
    assert identifier_of("Content-Type") == b'"content-type"'
    assert identifier_of('@query-param;name="id"') == b'"@query-param";name="id"'
    assert identifier_of('forwarded;key="for"') == b'"forwarded";key="for"'


@pytest.mark.parametrize(
    "written", ["", "@nothing", "@query-param", "a b", "date;sf", "@method;req", 'x" "y', "@status"]
)
def test_what_cannot_be_wanted(written: str) -> None:
    with pytest.raises(Malformed):
        identifier_of(written)
