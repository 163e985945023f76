"""Status lines, built once."""

from __future__ import annotations

from http import HTTPStatus

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_PHRASES[418] = "I'm a teapot"

#: status → "HTTP/1.1 200 OK\r\n"; every three-digit status has a line, known or not.
STATUS_LINE: dict[int, bytes] = {
    code: b"HTTP/1.1 %d %b\r\n" % (code, _PHRASES.get(code, "").encode()) for code in range(100, 1000)
}


def phrase(status: int) -> str:
    """The reason phrase of a status, or an empty string."""
    return _PHRASES.get(status, "")


#: Final statuses whose responses never have a body (RFC 9110 section 6.4.1).
NO_BODY = frozenset({204, 304})
