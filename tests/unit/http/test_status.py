"""Status lines (RFC 9112 section 4, RFC 9110 section 15)."""

from __future__ import annotations

from gatewright.http.status import NO_BODY, STATUS_LINE, phrase


def test_every_three_digit_status_has_a_line() -> None:
    assert set(STATUS_LINE) == set(range(100, 1000))
    assert STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"
    assert STATUS_LINE[418] == b"HTTP/1.1 418 I'm a teapot\r\n"
    assert STATUS_LINE[799] == b"HTTP/1.1 799 \r\n"
    assert all(line.count(b"\r\n") == 1 and line.isascii() for line in STATUS_LINE.values())


def test_phrases() -> None:
    assert (phrase(404), phrase(799)) == ("Not Found", "")
    assert {204, 304} == NO_BODY
