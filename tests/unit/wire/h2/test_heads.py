"""Header sections of HTTP/2: what is refused, what is understood, and what leaves (RFC 9113 section 8)."""

from __future__ import annotations

import pytest
from hpack import Decoder

from gatewright.errors import ProtocolError
from gatewright.http.headers import Fields, Headers, Pair
from gatewright.wire.h1 import CHUNKED, UNTIL_CLOSE
from gatewright.wire.h2 import heads
from gatewright.wire.h2.heads import H2RequestFields, H2ResponseFields, Malformed, RequestLine

GET = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":path", b"/a/%62?x=1"),
    (b":authority", b"API.example.com:8443"),
]


def decoded(block: bytes) -> list[Pair]:
    return [(bytes(name), bytes(value)) for name, value in Decoder().decode(block, raw=True)]


# --- fields -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pair",
    [
        (b"Upper", b"x"), (b"", b"x"), (b"a b", b"x"), (b"a:", b"x"), (b":path", b"/"), (b"n\xc3\xa4me", b"x"),
        (b"a", b"x\ny"), (b"a", b"x\ry"), (b"a", b"x\0y"), (b"a", b" x"), (b"a", b"x\t"), (b"a", b"\x7f"),
        (b"connection", b"close"), (b"keep-alive", b"1"), (b"proxy-connection", b"x"), (b"upgrade", b"h2c"),
        (b"transfer-encoding", b"chunked"), (b"te", b"gzip"), (b"te", b"trailers, gzip"),
        (b"content-length", b"-1"), (b"content-length", b"1x"), (b"content-length", b""),
    ],
)  # fmt: skip
def test_fields_that_no_message_may_have(pair: Pair) -> None:
    with pytest.raises(Malformed):
        H2RequestFields([pair])


@pytest.mark.parametrize("name", [b"content-length", b"host", b"content-type"])
def test_fields_that_may_stand_once(name: bytes) -> None:
    with pytest.raises(Malformed):
        H2RequestFields([(name, b"1"), (name, b"1")])


def test_what_a_request_says_of_itself() -> None:
    fields = H2RequestFields([(b"content-length", b"12"), (b"expect", b"100-continue"), (b"te", b"Trailers")])
    assert (fields.framing, fields.expects, fields.host, fields.call) == (12, True, None, "")
    assert H2RequestFields([]).framing == CHUNKED
    assert H2RequestFields([(b"content-type", b"application/grpc+proto")]).call == "grpc"


def test_cookies_are_one_field_again() -> None:
    fields = H2RequestFields([(b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")])
    assert fields.pairs == ((b"x", b"y"), (b"cookie", b"a=1; b=2"))
    assert fields.block(fields.not_forwarded) == b"x: y\r\ncookie: a=1; b=2\r\n"


def test_what_a_response_says_of_itself() -> None:
    fields = H2ResponseFields([(b"content-type", b"text/event-stream; charset=utf-8")])
    assert (fields.framing, fields.events) == (UNTIL_CLOSE, True)
    with pytest.raises(Malformed):
        H2ResponseFields([(b"content-length", b"1"), (b"content-length", b"2")])


# --- pseudo-header fields ---------------------------------------------------------------------------------------------


def test_a_request_line() -> None:
    line = RequestLine(GET, H2RequestFields([]))
    assert (line.method, line.target, line.path, line.query) == (b"GET", b"/a/%62?x=1", b"/a/b", b"x=1")
    assert (line.authority, line.host, line.websocket) == (b"API.example.com:8443", b"api.example.com", False)
    star = [(b":method", b"OPTIONS"), (b":scheme", b"http"), (b":path", b"*"), (b":authority", b"x")]
    assert RequestLine(star, H2RequestFields([])).target == b"*"


def changed(**values: bytes | None) -> list[Pair]:
    said: dict[bytes, bytes | None] = {**dict(GET), **{b":" + name.encode(): value for name, value in values.items()}}
    return [(name, value) for name, value in said.items() if value is not None]


@pytest.mark.parametrize(
    "pseudo",
    [
        changed(method=None), changed(scheme=None), changed(path=None), changed(path=b""), changed(path=b"a"),
        changed(path=b"*"), changed(path=b"http://x/"), changed(scheme=b"ht tp"), changed(path=b"/\n"),
        changed(status=b"200"), changed(protocol=b"websocket"), [*GET, (b":path", b"/")],
        [(b":method", b"CONNECT"), (b":authority", b"x"), (b":path", b"/")],
    ],
)  # fmt: skip
def test_pseudo_header_fields_that_break_the_stream(pseudo: list[Pair]) -> None:
    with pytest.raises(Malformed):
        RequestLine(pseudo, H2RequestFields([]))


@pytest.mark.parametrize(
    ("pseudo", "fields", "reason"),
    [
        (changed(authority=None), [], "request.host"),
        (changed(), [(b"host", b"other")], "request.ambiguous"),
        (changed(authority=b"a b"), [], "request.host"),
        (changed(path=b"/ /"), [], "request.malformed"),
        (changed(method=b"G ET"), [], "request.malformed"),
        ([(b":method", b"CONNECT"), (b":authority", b"x:1")], [], "request.tunnel"),
        (changed(method=b"CONNECT", protocol=b"connect-udp"), [], "request.tunnel"),
    ],
)
def test_requests_that_are_answered_with_a_refusal(pseudo: list[Pair], fields: list[Pair], reason: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        RequestLine(pseudo, H2RequestFields(fields))
    assert refused.value.reason == reason


def test_a_host_may_stand_for_the_authority() -> None:
    line = RequestLine(changed(authority=None), H2RequestFields([(b"host", b"x:1")]))
    assert (line.authority, line.host) == (b"x:1", b"x")


def test_a_websocket_is_a_get() -> None:
    line = RequestLine(changed(method=b"CONNECT", protocol=b"websocket"), H2RequestFields([]))
    assert (line.method, line.websocket) == (b"GET", True)


@pytest.mark.parametrize("value", [b"99", b"1000", b"abc", b"099", b"101", b"+20"])
def test_statuses_that_are_none(value: bytes) -> None:
    with pytest.raises(Malformed):
        heads.read_status([(b":status", value)])


def test_a_status_stands_alone() -> None:
    assert heads.read_status([(b":status", b"204")]) == 204
    for pseudo in ([], [(b":status", b"200"), (b":status", b"200")], [(b":path", b"/")]):
        with pytest.raises(Malformed):
            heads.read_status(pseudo)


# --- writing ----------------------------------------------------------------------------------------------------------


def test_unchanged_headers_are_encoded_once() -> None:
    fields = H2RequestFields([(b"x", b"1"), (b"te", b"trailers"), (b"via", b"1.1 a"), (b"y", b"2")])
    block = heads.pack(Headers(fields))
    assert decoded(block) == [(b"x", b"1"), (b"y", b"2")]
    assert heads.pack(Headers(fields)) is block


def test_changed_headers() -> None:
    fields = H2RequestFields([(b"x", b"1"), (b"y", b"2")])
    headers = Headers(fields)
    headers.drop(b"x")
    headers.set(b"z", b"3")
    headers.add(b"via", b"not ours")
    assert decoded(heads.pack(headers)) == [(b"y", b"2"), (b"z", b"3")]
    assert decoded(heads.pack(Headers(fields))) == [(b"x", b"1"), (b"y", b"2")]
    other = Headers(fields)
    other.drop(b"y")
    assert decoded(heads.pack(other)) == [(b"x", b"1")]


def test_fields_of_http1_lose_what_only_http1_has() -> None:
    fields = Fields([(b"x", b"1"), (b"connection", b"x"), (b"keep-alive", b"9")])
    fields.not_forwarded = frozenset({b"connection", b"keep-alive", b"x"})
    assert heads.pack(Headers(fields)) == b""


def test_cookies_are_split() -> None:
    fields = Fields([(b"cookie", b"a=1; b=2"), (b"set-cookie", b"c=3; d")])
    assert decoded(heads.pack(Headers(fields))) == [
        (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"set-cookie", b"c=3; d"),
    ]  # fmt: skip


def test_lines_and_trailers() -> None:
    assert decoded(heads.pack_lines(b"via: 1.1 a\r\nforwarded: for=b:c\r\n")) == [
        (b"via", b"1.1 a"), (b"forwarded", b"for=b:c"),
    ]  # fmt: skip
    assert decoded(heads.pack_trailers(((b"grpc-status", b"0"), (b"content-length", b"1")))) == [(b"grpc-status", b"0")]
    assert heads.read_trailers([(b"x", b"1"), (b"set-cookie", b"a=b")]) == ((b"x", b"1"),)
    assert heads.read_trailers([(b"client-cert", b":AA==:"), (b"cookie", b"a=b"), (b"content-type", b"x/y")]) == ()
    with pytest.raises(Malformed):
        heads.read_trailers([(b":status", b"200")])
