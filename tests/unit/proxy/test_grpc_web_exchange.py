"""gRPC-Web without the policy: what an upstream says passes, what the gateway says can be read.

The policy, and what the exchange does for it, is tested in tests/policies/test_grpc_web.py.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest

from gatewright.http.grpc_web import trailer_frame
from gatewright.sdk import Reply
from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream
from gatewright.testing.wires import Peer

QUESTION = b"\0\0\0\0\1q"
ANSWER = b"\0\0\0\0\1a" + trailer_frame([(b"grpc-status", b"0")])
WEB = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc-web+proto\r\ncontent-length: %d\r\n\r\n%b"


def call(content_type: bytes = b"application/grpc-web+proto", fields: bytes = b"") -> bytes:
    body = b64encode(QUESTION) if b"text" in content_type else QUESTION
    head = b"POST /a.B/C HTTP/1.1\r\nhost: x\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n"
    return head % (content_type, len(body), fields) + body


@pytest.fixture
def client(rig: Rig) -> Peer:
    rig.apply(upstream("a", retries=model.Retries(attempts=0)), route("all", "/*", "a"))
    return rig.client()


def frame(received: bytes) -> bytes:
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"content-length: %d" % len(body) in head
    assert b"\ngrpc-" not in head
    return body


def test_what_the_upstream_says_passes_as_it_is(rig: Rig, client: Peer) -> None:
    client.send(call(fields=b"x-grpc-web: 1\r\n"))
    origin = rig.origin("a").accept()
    assert b"content-type: application/grpc-web+proto" in origin.received
    assert b"x-grpc-web: 1" in origin.received
    assert origin.received.endswith(QUESTION)
    origin.send(WEB % (len(ANSWER), ANSWER))
    assert client.received.endswith(b"\r\n\r\n" + ANSWER)
    (record,) = rig.records
    assert (record.protocol, record.status, record.reason) == ("grpc-web", 200, "")


@pytest.mark.parametrize("text", [False, True])
def test_an_upstream_that_cannot_be_reached(rig: Rig, client: Peer, text: bool) -> None:
    kind = b"application/grpc-web-text" if text else b"application/grpc-web"
    client.send(call(kind))
    rig.origin("a").refuse()
    body = frame(client.received)
    assert b"\r\ncontent-type: %b\r\n" % kind in client.received
    body = b64decode(body) if text else body
    assert body[:4] == b"\x80\0\0\0"
    assert body[4] == len(body) - 5
    assert body[5:].startswith(b"grpc-status:14\r\ngrpc-message:upstream.connect: ")
    (record,) = rig.records
    assert (record.grpc_status, record.reason) == ("UNAVAILABLE", "upstream.connect")


def test_a_body_that_is_too_large(rig: Rig) -> None:
    listener = model.Listener("public", "127.0.0.1:0", limits=model.Limits(body=5))
    rig.apply(listener, upstream("a"), route("all", "/*", "a"))
    client = rig.client()
    client.send(call())
    assert b"grpc-status:8\r\ngrpc-message:request.body_too_large: " in frame(client.received)
    assert not rig.origin("a").waiting


def test_no_route(rig: Rig) -> None:
    rig.apply()
    client = rig.client()
    client.send(call())
    assert b"grpc-status:12\r\ngrpc-message:route.none: " in frame(client.received)


def test_what_breaks_off_is_not_completed_here(rig: Rig, client: Peer) -> None:
    client.send(call())
    origin = rig.origin("a").accept()
    origin.send(WEB % (len(ANSWER), ANSWER[:-1]))
    origin.reset()
    assert client.aborted
    assert b"grpc_web" not in client.received
    assert [(record.reason, record.grpc_status) for record in rig.records] == [("upstream.truncated", "UNAVAILABLE")]


def test_metadata_of_an_answer_stays_in_its_head_and_its_end_goes_into_the_frame(rig: Rig) -> None:
    reply = model.Respond(429, "slow down", headers={"x-own": "1", "retry-after": "7"})
    rig.apply(route("all", "/*", respond=reply))
    client = rig.client()
    client.send(call())
    body = frame(client.received)
    assert b"\r\nx-own: 1\r\n" in client.received
    assert b"\r\nretry-after: 7\r\n" in client.received
    assert b"slow down" not in client.received
    assert b"grpc-status:8\r\n" in body


def test_a_reply_may_choose_its_own_status(rig: Rig, client: Peer) -> None:
    client.send(call())
    origin = rig.origin("a").accept()
    exchange = origin.protocol.exchange  # type: ignore[attr-defined]
    exchange.answer(Reply(404, "shop.sold_out", ((b"grpc-status", b"5"), (b"grpc-message", b"sold out"))), 0)
    assert frame(client.received) == trailer_frame([(b"grpc-status", b"5"), (b"grpc-message", b"sold out")])


def test_a_request_that_cannot_carry_a_call_is_one_like_any_other(rig: Rig, client: Peer) -> None:
    client.send(call().replace(b"POST", b"PUT"))
    rig.origin("a").refuse()
    assert client.received.startswith(b"HTTP/1.1 502 ")
    assert rig.records[0].protocol == "http1"
