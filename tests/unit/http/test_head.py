"""Heads hold what they are given, and nothing else: a misspelled attribute is an error."""

from __future__ import annotations

import pytest

from gatewright.http.head import HTTP11, RequestHead, ResponseHead
from gatewright.http.headers import Headers


def test_request_head() -> None:
    headers = Headers()
    head = RequestHead(b"GET", b"/A/..?q", b"/", b"q", b"X:1", b"x", b"http", HTTP11, headers)
    found = (head.method, head.target, head.path, head.query, head.authority, head.host, head.scheme, head.version)
    assert found == (b"GET", b"/A/..?q", b"/", b"q", b"X:1", b"x", b"http", 11)
    assert head.headers is headers
    with pytest.raises(AttributeError):
        head.paht = b"/"  # type: ignore[attr-defined]


def test_response_head() -> None:
    headers = Headers()
    head = ResponseHead(204, headers)
    assert (head.status, head.headers) == (204, headers)
    with pytest.raises(AttributeError):
        head.reason = "OK"  # type: ignore[attr-defined]
