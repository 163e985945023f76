"""HTTP/1 heads: what is read, what is refused, and that nothing but ProtocolError ever comes out (RFC 9112)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatewright.errors import ProtocolError
from gatewright.http.forwarding import HOP_BY_HOP, NOT_FORWARDED
from gatewright.reasons import REASONS
from gatewright.wire import h1
from gatewright.wire.h1 import CHUNKED, UNTIL_CLOSE, RequestFields, ResponseFields

#: Octets with which heads are made and broken, more often than chance would bring them.
PIECES = st.sampled_from(
    b"\r\n|\r|\n|\0|:| |\t|a|Host|content-length|transfer-encoding|1|chunked|connection|close|\xff|\x7f|,|upgrade|"
    b"GET / HTTP/1.1|HTTP/1.1 200 OK".split(b"|")
)
SCRAPS = st.lists(PIECES | st.binary(max_size=3), max_size=12).map(b"".join)


def refusal(section: bytes, kind: type[RequestFields | ResponseFields] = RequestFields, most: int = 10) -> str:
    with pytest.raises(ProtocolError) as caught:
        kind(section, most)
    assert caught.value.reason in REASONS
    return caught.value.reason


def reading(read: Any, *arguments: Any) -> Any:
    """What is read, or the reason why not."""
    try:
        return read(*arguments)
    except ProtocolError as error:
        return error.reason


# --- request line, RFC 9112 section 3 -------------------------------------------------------------------------------


def test_request_line_is_taken_apart() -> None:
    line = b"GET /a/../b?c=d HTTP/1.1"
    assert h1.read_request_line(line) == (b"GET", b"/a/../b?c=d", b"/b", b"c=d", b"", 11)
    assert h1.read_request_line(line) is h1.read_request_line(line)


def test_request_line_of_the_absolute_form() -> None:
    assert h1.read_request_line(b"GET http://Ex.org/ HTTP/1.0") == (
        b"GET",
        b"http://Ex.org/",
        b"/",
        None,
        b"Ex.org",
        10,
    )


@pytest.mark.parametrize("method", [b"PROPFIND", b"x", b"!#$%&'*+-.^_`|~", b"M" * 32])
def test_any_token_is_a_method(method: bytes) -> None:
    assert h1.parse_request_line(method + b" / HTTP/1.1")[0] == method


@pytest.mark.parametrize(
    ("line", "reason", "status"),
    [
        (b"", "request.malformed", 400),
        (b"GET /", "request.malformed", 400),
        (b"GET  HTTP/1.1", "request.malformed", 400),
        (b"GET / a HTTP/1.1", "request.malformed", 400),
        (b"GET /  HTTP/1.1", "request.malformed", 400),
        (b" / HTTP/1.1", "request.method", 400),
        (b"G\xc4T / HTTP/1.1", "request.method", 400),
        (b"GET\t/ / HTTP/1.1", "request.method", 400),
        (b"M" * 33 + b" / HTTP/1.1", "request.method", 400),
        (b"GET / HTTP/2.0", "request.version", 505),
        (b"GET / HTTP/0.9", "request.version", 505),
        (b"GET / HTTP/1.2", "request.version", 505),
        (b"GET / HTTP/11", "request.malformed", 400),
        (b"GET / HTTP/1.10", "request.malformed", 400),
        (b"GET / HTTP/a.1", "request.malformed", 400),
        (b"GET / HTTP/1.1\r", "request.malformed", 400),
        (b"GET / http/1.1", "request.malformed", 400),
        (b"GET / FTP/1.1", "request.malformed", 400),
        (b"CONNECT a:80 HTTP/1.1", "request.tunnel", 501),
        (b"GET a HTTP/1.1", "request.target", 400),
        (b"GET /\0 HTTP/1.1", "request.target", 400),
    ],
)
def test_bad_request_lines(line: bytes, reason: str, status: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        h1.read_request_line(line)
    assert (caught.value.reason, caught.value.status) == (reason, status)


def test_kept_request_lines_are_bounded() -> None:
    h1._REQUEST_LINES.clear()
    for i in range(h1._MOST_KEPT_LINES + 10):
        h1.read_request_line(b"GET /%d HTTP/1.1" % i)
        assert len(h1._REQUEST_LINES) <= h1._MOST_KEPT_LINES
    long = b"GET /%b HTTP/1.1" % (b"a" * 300)
    assert h1.read_request_line(long)[2] == b"/" + b"a" * 300
    assert long not in h1._REQUEST_LINES


# --- status line, RFC 9112 section 4 --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "understood"),
    [
        (b"HTTP/1.1 200 OK", (11, 200)),
        (b"HTTP/1.0 404 ", (10, 404)),
        (b"HTTP/1.1 999", (11, 999)),
        (b"HTTP/1.1 200 caf\xe9 \t!", (11, 200)),
    ],
)
def test_status_lines(line: bytes, understood: tuple[int, int]) -> None:
    assert h1.parse_status_line(line) == understood
    assert h1.parse_status_line(line) == understood


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 20", b"HTTP/1.1 2000", b"HTTP/1.1 +20 OK", b"HTTP/1.1  200 OK"),
        *(b"HTTP/2.0 200 OK", b"HTTP/1.1\t200 OK", b"HTTP/1.1 200\tOK", b"HTTP/1.1 099 OK", b"HTTP/1.1 200 O\0K"),
        *(b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 O\nK", b"http/1.1 200 OK", b"ICY 200 OK"),
    ],
)
def test_bad_status_lines(line: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        h1.parse_status_line(line)
    assert (caught.value.reason, caught.value.status) == ("upstream.malformed", 502)


def test_kept_status_lines_are_bounded() -> None:
    h1._STATUS_LINES.clear()
    for i in range(h1._MOST_KEPT_STATUS_LINES + 10):
        h1.parse_status_line(b"HTTP/1.1 200 %d" % i)
        assert len(h1._STATUS_LINES) <= h1._MOST_KEPT_STATUS_LINES
    long = b"HTTP/1.1 200 " + b"a" * 60_000
    assert h1.parse_status_line(long) == (11, 200)
    assert long not in h1._STATUS_LINES


# --- fields, RFC 9112 section 5 -------------------------------------------------------------------------------------


def test_fields_keep_their_order_and_lose_outer_white_space() -> None:
    pairs, lines = h1.parse_fields(b"B: \t x y \t\r\na:\r\nB:\xff:2", 3)
    assert pairs == [(b"b", b"x y"), (b"a", b""), (b"b", b"\xff:2")]
    assert lines == [b"B: \t x y \t", b"a:", b"B:\xff:2"]
    assert h1.parse_fields(b"", 0) == ([], [])


@pytest.mark.parametrize(
    "section",
    [
        *(b"a", b": b", b"a : b", b" a: b", b"a: b\r\n c", b"a: b\r\n\tc: d", b"a: b\r\n\r\nc: d", b"\r\na: b", b"a: b\r\n"),
        *(b"a: b\rc: d", b"a: b\nc: d", b"a: \0", b"a: \x7f", b"\xe4: b", b"a: b\r\r\n", b"a: b\n\r\nc: d", b"(a): b", b"a\t: b"),
    ],
)  # fmt: skip
def test_malformed_sections(section: bytes) -> None:
    assert refusal(section) == "request.malformed"


def test_too_many_fields_are_refused_before_they_are_read() -> None:
    assert refusal(b"a:\r\n" * 10 + b"b", most=10) == "request.headers_too_large"


@given(SCRAPS, st.sampled_from([RequestFields, ResponseFields]))
@example(b"content-length: " + b"9" * 19, RequestFields)
@example(b"Connection: ,\r\nconnection: \xff", RequestFields)
def test_any_octets_are_fields_or_a_protocol_error(section: bytes, kind: type[RequestFields]) -> None:
    found = reading(kind, section, 8)
    if isinstance(found, str):
        assert found in REASONS
    else:
        assert b"\r\n".join(found.lines) == section
        assert [name for name, _ in found.pairs] == [name.lower() for name, _ in found.pairs]


@given(SCRAPS)
def test_any_octets_are_a_line_or_a_protocol_error(line: bytes) -> None:
    for read in (h1.read_request_line, h1.parse_status_line):
        found = reading(read, line)
        assert isinstance(found, tuple) or found in REASONS


# --- framing, RFC 9112 section 6.3 ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "framing"),
    [
        (b"a: b", 0),
        (b"Content-Length: 0", 0),
        (b"content-length:\t007 ", 7),
        (b"content-length: " + b"9" * 18, 10**18 - 1),
        (b"Transfer-Encoding: Chunked", CHUNKED),
    ],
)
def test_framing_of_requests(section: bytes, framing: int) -> None:
    assert RequestFields(section, 10).framing == framing


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        (b"content-length: ", "request.ambiguous"),
        (b"content-length: +1", "request.ambiguous"),
        (b"content-length: -1", "request.ambiguous"),
        (b"content-length: 1_0", "request.ambiguous"),
        (b"content-length: 0x1", "request.ambiguous"),
        (b"content-length: 1 1", "request.ambiguous"),
        (b"content-length: 1,1", "request.ambiguous"),
        (b"content-length: \xb2", "request.ambiguous"),
        (b"content-length: 1" + b"0" * 18, "request.ambiguous"),
        (b"content-length: 1\r\nContent-Length: 1", "request.ambiguous"),
        (b"content-length: 1\r\ntransfer-encoding: chunked", "request.ambiguous"),
        (b"transfer-encoding: chunked\r\ntransfer-encoding: chunked", "request.ambiguous"),
        (b"transfer-encoding: chunked, chunked", "request.ambiguous"),
        (b"transfer-encoding: gzip, chunked", "request.ambiguous"),
        (b"transfer-encoding: identity", "request.ambiguous"),
        (b"transfer-encoding: ", "request.ambiguous"),
        (b"transfer-encoding: xchunked", "request.ambiguous"),
        (b"transfer-encoding: gzip", "request.transfer_coding"),
        (b"host: a\r\nhost: a", "request.host"),
        (b"content-type: a\r\ncontent-type: b", "request.ambiguous"),
    ],
)
def test_framing_that_two_readers_could_understand_differently(section: bytes, reason: str) -> None:
    assert refusal(section) == reason


@pytest.mark.parametrize(
    ("section", "framing"),
    [(b"", UNTIL_CLOSE), (b"content-length: 5", 5), (b"transfer-encoding: CHUNKED", CHUNKED)],
)
def test_framing_of_responses(section: bytes, framing: int) -> None:
    assert ResponseFields(section, 10).framing == framing


@pytest.mark.parametrize(
    "section",
    [b"content-length: x", b"content-length: 1\r\ntransfer-encoding: chunked", b"transfer-encoding: gzip, chunked"],
)
def test_bad_framing_of_responses(section: bytes) -> None:
    assert refusal(section, ResponseFields).startswith("request.")


# --- connection, RFC 9110 sections 7.6.1 and 7.8 --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "tokens"),
    [
        (b"a: b", set()),
        (b"connection: close", {b"close"}),
        (b"connection: Close", {b"close"}),
        (b"connection: keep-alive\r\nConnection: close", {b"close", b"keep-alive"}),
        (b"connection: , X-a ,\tupgrade,,", {b"x-a", b"upgrade"}),
        (b"connection:", set()),
    ],
)
def test_options_of_all_connection_fields_count(section: bytes, tokens: set[bytes]) -> None:
    assert RequestFields(section, 10).connection == tokens
    assert ResponseFields(section, 10).connection == tokens


def test_connection_names_what_is_not_forwarded_but_never_what_frames() -> None:
    fields = RequestFields(b"Connection: x-a, content-length, host\r\nx-a: 1\r\nhost: h\r\ncontent-length: 3", 10)
    assert fields.not_forwarded == NOT_FORWARDED | {b"x-a"}
    assert fields.block(fields.not_forwarded) == b"content-length: 3\r\n"
    assert ResponseFields(b"connection: keep-alive", 10).not_forwarded is HOP_BY_HOP


def test_upgrade_counts_when_connection_confirms_it() -> None:
    assert RequestFields(b"upgrade: WebSocket\r\nconnection: Upgrade", 10).upgrade == b"websocket"
    assert RequestFields(b"upgrade: websocket", 10).upgrade == b""
    assert RequestFields(b"connection: upgrade", 10).upgrade == b""


def test_what_else_a_section_says() -> None:
    request = RequestFields(b"Host: h\r\nExpect: 100-continue", 10)
    assert (request.host, request.expects) == (b"h", True)
    assert ResponseFields(b"content-type: Text/Event-Stream; charset=utf-8", 10).events
    assert not ResponseFields(b"content-type: text/plain", 10).events
