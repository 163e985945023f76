"""Reasons and replies to bytes: the only place where an answer of the gateway gets its form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gatewright.http.head import HTTP2, ResponseHead
from gatewright.http.headers import Headers
from gatewright.http.reply import Reply
from gatewright.http.status import NO_BODY, phrase
from gatewright.proxy import grpc
from gatewright.reasons import REASONS

if TYPE_CHECKING:
    from gatewright.proxy.exchange import Exchange

_PROBLEM = b"application/problem+json"
_REPLIES = {reason: Reply(status, reason, detail=title) for reason, (status, title) in REASONS.items()}


def core_reply(reason: str, retry_after: float = 0.0) -> Reply:
    """The reply for a reason of :mod:`gatewright.reasons`; ``retry_after`` in seconds adds the field."""
    reply = _REPLIES[reason]
    if retry_after > 0:
        seconds = b"%d" % max(1, -int(-retry_after // 1))
        return Reply(reply.status, reason, ((b"retry-after", seconds),), detail=reply.detail)
    return reply


def problem(status: int, reason: str, detail: str, request_id: bytes) -> bytes:
    """An RFC 9457 document. ``reason`` and ``request_id`` are what an operator needs to find the rest in the log."""
    document = {"title": phrase(status) or "Error", "status": status, "reason": reason}
    if detail:
        document["detail"] = detail
    if request_id:
        document["request_id"] = request_id.decode("latin-1")
    return msgspec.json.encode(document)


def compose(ex: Exchange, reply: Reply) -> tuple[ResponseHead, bytes]:
    """Head and body of a reply. A body of None becomes a problem document, and a reply to a gRPC call trailers."""
    if not ex.request_id:
        ex.request_id = ex.world.new_id()
    if ex.protocol in grpc.PROTOCOLS:
        return _end_call(ex, reply), b""
    headers = Headers()
    added = headers.added
    body = reply.body
    if reply.status in NO_BODY:
        body = b""
    if body is None:
        body = problem(reply.status, reply.reason, reply.detail, ex.request_id) if reply.status >= 400 else b""
        content_type = _PROBLEM
    else:
        content_type = reply.content_type
    if body:
        added.append((b"content-type", content_type))
    if reply.status not in NO_BODY:
        added.append((b"content-length", b"%d" % len(body)))
    added.extend(reply.headers)
    return ResponseHead(reply.status, headers), body


def _end_call(ex: Exchange, reply: Reply) -> ResponseHead:
    head = grpc.trailers_only(reply, ex.protocol, ex.reset_code, ex.request_id)
    if ex.request.version != HTTP2:
        head.headers.added.append((b"content-length", b"0"))
    return head
