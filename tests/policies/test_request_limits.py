from __future__ import annotations

from typing import Any

import pytest

JSON = (b"content-type", b"application/json; charset=utf-8")


def body(length: int, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", b"%d" % length), *more]


CHUNKED = (b"transfer-encoding", b"chunked")


@pytest.mark.parametrize(
    ("config", "request_", "expected"),
    [
        ({"body": "1KiB"}, {"headers": body(1024)}, None),
        ({"body": "1KiB"}, {"headers": body(1025)}, (413, "request_limits.body")),
        ({"body": "1KiB"}, {}, None),
        ({"headers": 2}, {"headers": [JSON, JSON]}, None),
        ({"headers": 2}, {"headers": [JSON, JSON, JSON]}, (431, "request_limits.headers")),
        ({"header_bytes": "10B"}, {"headers": [(b"a", b"12345")]}, None),
        ({"header_bytes": "10B"}, {"headers": [(b"a", b"123456")]}, (431, "request_limits.header_bytes")),
        ({"target_bytes": "8B"}, {"target": b"/12345?7"}, None),
        ({"target_bytes": "8B"}, {"target": b"/12345?78"}, (414, "request_limits.target_bytes")),
        ({"require_length": True}, {"headers": [CHUNKED]}, (411, "request_limits.length")),
        ({"require_length": True}, {"headers": body(5)}, None),
        ({"require_length": True}, {}, None),
        ({"content_types": ["application/json"]}, {"headers": body(5, JSON)}, None),
        ({"content_types": ["application/json"]}, {"headers": body(0)}, None),
        ({"content_types": ["application/json"]}, {}, None),
        ({"content_types": ["Application/JSON"]}, {"headers": [CHUNKED, (b"content-type", b"APPLICATION/json")]}, None),
        ({"content_types": ["image/*"]}, {"headers": body(5, (b"content-type", b"image/png"))}, None),
        (
            {"content_types": ["application/*+json"]},
            {"headers": body(5, (b"content-type", b"application/a+json"))},
            None,
        ),
        ({"content_types": ["image/*"]}, {"headers": body(5, JSON)}, (415, "request_limits.content_type")),
        ({"content_types": ["image/*"]}, {"headers": body(5)}, (415, "request_limits.content_type")),
        (
            {"content_types": ["image/*"]},
            {"headers": body(5, (b"content-type", b"image/"))},
            (415, "request_limits.content_type"),
        ),
        ({"content_types": ["application/*+json"]}, {"headers": body(5, JSON)}, (415, "request_limits.content_type")),
    ],
)
def test_limits(bench: Any, send: Any, reason: Any, config: Any, request_: Any, expected: Any) -> None:
    ex = send(bench.policy("request_limits", config), **request_)
    assert reason(ex) == expected
    if expected and expected[0] == 415:
        assert ex.sent(b"accept") == [", ".join(config["content_types"]).encode()]


@pytest.mark.parametrize(("before", "after"), [(1 << 20, 1024), (100, 100)])
def test_bodies_without_a_length_are_bounded_while_they_pass(bench: Any, send: Any, before: int, after: int) -> None:
    ex = send(bench.policy("request_limits", body="1KiB"), headers=[CHUNKED], max_body=before)
    assert ex.reply is None
    assert ex.max_body == after


@pytest.mark.parametrize("value", ["json", "application/", "*/json", "a/b*c*", "/x"])
def test_what_is_no_media_type_is_refused(bench: Any, value: str) -> None:
    with pytest.raises(ValueError, match="media type"):
        bench.policy("request_limits", content_types=[value])
