"""Answers of the gateway's own (RFC 9457 problem documents) always are one whole response."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from gatewright.http.reply import Reply
from gatewright.proxy.respond import compose, core_reply, problem
from gatewright.reasons import REASONS


def exchange(request_id: bytes = b"") -> Any:
    return SimpleNamespace(protocol="http1", request_id=request_id, world=SimpleNamespace(new_id=lambda: b"fresh"))


def composed(reply: Reply, request_id: bytes = b"id") -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    head, body = compose(exchange(request_id), reply)
    return head.status, list(head.headers), body


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_of_the_core_has_its_reply(reason: str) -> None:
    reply = core_reply(reason)
    assert (reply.status, reply.reason, reply.detail) == (*REASONS[reason][:1], reason, REASONS[reason][1])
    assert core_reply(reason) is reply


@pytest.mark.parametrize(("seconds", "said"), [(0.2, b"1"), (1.0, b"1"), (1.01, b"2"), (30.0, b"30")])
def test_retry_after_is_whole_seconds_rounded_up(seconds: float, said: bytes) -> None:
    assert core_reply("upstream.none", seconds).headers == ((b"retry-after", said),)
    assert core_reply("upstream.none", -1.0).headers == ()


def test_a_problem_document_says_what_an_operator_needs() -> None:
    assert json.loads(problem(503, "upstream.none", "No endpoint", b"abc")) == {
        "title": "Service Unavailable",
        "status": 503,
        "reason": "upstream.none",
        "detail": "No endpoint",
        "request_id": "abc",
    }
    assert json.loads(problem(599, "x", "", b"")) == {"title": "Error", "status": 599, "reason": "x"}


def test_a_body_of_none_becomes_a_problem_from_400_on() -> None:
    status, headers, body = composed(Reply(403, "acl.no", ((b"x", b"y"),)))
    assert json.loads(body)["request_id"] == "id"
    assert (status, headers) == (
        403,
        [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body)), (b"x", b"y")],
    )
    assert composed(Reply(302, "", ((b"location", b"/"),))) == (
        302,
        [(b"content-length", b"0"), (b"location", b"/")],
        b"",
    )


def test_a_body_is_sent_as_it_is() -> None:
    status, headers, body = composed(Reply(200, "", body=b"{}", content_type=b"application/json"))
    assert (status, headers, body) == (200, [(b"content-type", b"application/json"), (b"content-length", b"2")], b"{}")


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body_have_none(status: int) -> None:
    """RFC 9110 section 6.4.1: what came behind the head would be the beginning of the next response."""
    assert composed(Reply(status, "", body=b"HTTP/1.1 200 OK\r\n\r\n")) == (status, [], b"")


def test_an_answer_has_a_request_id_and_keeps_the_one_there_is() -> None:
    ex = exchange()
    compose(ex, Reply(400, "x"))
    assert ex.request_id == b"fresh"
    ex.request_id = b"theirs"
    compose(ex, Reply(400, "x"))
    assert ex.request_id == b"theirs"
