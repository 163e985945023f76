"""Answers of the gateway: no policy can make one that is two."""

from __future__ import annotations

import pytest

from gatewright.http.reply import Reply


def test_a_reply_holds_what_it_is_given() -> None:
    reply = Reply(429, "rate_limit.exceeded", ((b"retry-after", b"1"),), b"slow down", b"text/plain", "Too many")
    assert (reply.status, reply.reason, reply.headers) == (429, "rate_limit.exceeded", ((b"retry-after", b"1"),))
    assert (reply.body, reply.content_type, reply.detail) == (b"slow down", b"text/plain", "Too many")
    assert Reply(204, "").body is None


@pytest.mark.parametrize("status", [0, 100, 101, 199, 600, 1000])
def test_only_final_statuses_are_answers(status: int) -> None:
    """RFC 9110 section 15: 1xx is not a final response."""
    with pytest.raises(ValueError, match="not the status of an answer"):
        Reply(status, "x")


@pytest.mark.parametrize(
    "pair",
    [
        *((b"x", b"a\r\nset-cookie: b"), (b"x\r\ny", b"a"), (b"x", b"\0"), (b"X", b"a"), (b"", b"a")),
        *((b"content-length", b"5"), (b"transfer-encoding", b"chunked")),
    ],
)
def test_fields_cannot_split_or_frame_the_response(pair: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match=r"not a header field|frames messages"):
        Reply(200, "x", ((b"good", b"value"), pair))


def test_nor_can_the_content_type() -> None:
    with pytest.raises(ValueError, match="not a content type"):
        Reply(200, "x", body=b"", content_type=b"text/html\r\n\r\n<script>")
