"""gRPC-Web in front of an upstream that answers as gRPC does: a body and trailers."""

from __future__ import annotations

from base64 import b64decode, b64encode
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.http.grpc_web import trailer_frame
from gatewright.testing.rig import Rig, route, upstream
from gatewright.testing.wires import Peer

BINARY, TEXT = b"application/grpc-web+proto", b"application/grpc-web-text+proto"
OK = b"grpc-status: 0\r\n"


def message(data: bytes, flags: int = 0) -> bytes:
    return bytes([flags]) + len(data).to_bytes(4, "big") + data


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def answer(*messages: bytes, trailers: bytes = OK, head: bytes = b"") -> bytes:
    body = b"".join(chunk(message(each)) for each in messages)
    start = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc+proto\r\ntransfer-encoding: chunked\r\n%b\r\n" % head
    return start + body + b"0\r\n" + trailers + b"\r\n"


def serve(rig: Rig, **more: Any) -> None:
    rig.apply(upstream("a"), route("all", "/*", "a", policies={"grpc_web": {}, **more}))


def call(body: bytes, content_type: bytes = BINARY, fields: bytes = b"", method: bytes = b"POST") -> bytes:
    head = b"%b /shop.Orders/Get HTTP/1.1\r\nhost: x\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n"
    return head % (method, content_type, len(body), fields) + body


def asked(rig: Rig, request: bytes) -> tuple[Peer, Peer]:
    client = rig.client()
    client.send(request)
    return client, rig.origin("a").accept()


def unchunked(body: bytes) -> list[bytes]:
    """The chunks of a body; the last one must be there."""
    pieces: list[bytes] = []
    while True:
        size, _, body = body.partition(b"\r\n")
        if not int(size, 16):
            assert body == b"\r\n", "no trailers are sent to who cannot read them"
            return pieces
        pieces.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]


def parts(received: bytes) -> tuple[int, dict[bytes, bytes], list[bytes]]:
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines[1:])}
    pieces = unchunked(body) if b"transfer-encoding" in fields else [body]
    return int(lines[0].split()[1]), fields, pieces


def refusal(received: bytes, *, text: bool = False) -> bytes:
    """The frame of an answer that the gateway has made itself."""
    status, fields, (body,) = parts(received)
    assert status == 200
    assert fields[b"content-type"] == (TEXT if text else BINARY)
    return b64decode(body) if text else body


# --- calls ------------------------------------------------------------------------------------------------------------


def test_a_unary_call(rig: Rig) -> None:
    serve(rig)
    fields = (
        b"x-grpc-web: 1\r\nx-user-agent: grpc-web-javascript/0.1\r\ngrpc-timeout: 5S\r\naccept: */*\r\n"
        b"accept-encoding: gzip\r\nx-own: 1\r\n"
    )
    client, origin = asked(rig, call(message(b"question"), fields=fields))
    head, _, body = origin.received.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /shop.Orders/Get HTTP/1.1\r\n")
    assert b"\r\ncontent-type: application/grpc+proto" in head
    assert b"\r\ngrpc-timeout: " in head
    assert b"\r\nx-user-agent: grpc-web-javascript/0.1" in head
    assert b"\r\nx-own: 1" in head
    assert b"x-grpc-web" not in head
    assert b"accept" not in head
    assert body == message(b"question")
    origin.send(answer(b"answer", head=b"x-meta: 1\r\ntrailer: grpc-status\r\n", trailers=OK + b"x-cost: 7\r\n"))
    status, back, pieces = parts(client.received)
    assert (status, back[b"content-type"], back[b"x-meta"]) == (200, BINARY, b"1")
    assert b"trailer" not in back
    assert pieces == [message(b"answer"), trailer_frame([(b"grpc-status", b"0"), (b"x-cost", b"7")])]


def test_a_call_as_text(rig: Rig) -> None:
    serve(rig)
    client, origin = asked(rig, call(b64encode(message(b"question")), TEXT, b"accept: application/grpc-web-text\r\n"))
    head, _, body = origin.received.partition(b"\r\n\r\n")
    assert b"content-type: application/grpc+proto" in head
    assert b"content-length" not in head
    assert b"".join(unchunked(body)) == message(b"question")
    origin.send(answer(b"answer"))
    _, back, pieces = parts(client.received)
    assert back[b"content-type"] == TEXT
    assert [b64decode(piece) for piece in pieces] == [message(b"answer"), trailer_frame([(b"grpc-status", b"0")])]


def test_text_that_comes_octet_by_octet_in_padded_segments(rig: Rig) -> None:
    serve(rig)
    whole = message(b"first") + message(b"second one")
    text = b64encode(whole[:4]) + b64encode(whole[4:9]) + b64encode(whole[9:]).rstrip(b"=")
    client = rig.client()
    client.send(call(b"", TEXT).replace(b"content-length: 0", b"transfer-encoding: chunked"))
    origin = rig.origin("a").accept()
    sent = 0
    for number in range(len(text)):
        client.send(chunk(text[number : number + 1]))
        got = len(origin.received.partition(b"\r\n\r\n")[2])
        assert got >= sent
        sent = got
    client.send(b"0\r\n\r\n")
    assert b"".join(unchunked(origin.received.partition(b"\r\n\r\n")[2])) == whole
    origin.send(answer())
    assert parts(client.received)[0] == 200


@pytest.mark.parametrize(("content_type", "accept", "text"), [(BINARY, TEXT, True), (TEXT, BINARY, False)])
def test_what_is_accepted_decides_about_the_answer(rig: Rig, content_type: bytes, accept: bytes, text: bool) -> None:
    serve(rig)
    question = message(b"q")
    body = b64encode(question) if content_type == TEXT else question
    client, origin = asked(rig, call(body, content_type, b"accept: %b\r\n" % accept))
    assert question in origin.received
    origin.send(answer(b"a"))
    _, back, pieces = parts(client.received)
    assert back[b"content-type"] == accept
    assert (b64decode(pieces[0]) if text else pieces[0]) == message(b"a")


def test_a_stream_of_answers_comes_piece_by_piece(rig: Rig) -> None:
    serve(rig)
    client, origin = asked(rig, call(b64encode(message(b"all")), TEXT))
    start, _, _ = answer().partition(b"0\r\n")
    origin.send(start)
    client.take()
    for number in range(5):
        piece = message(b"x" * number)
        for part in (piece[:3], piece[3:]):
            origin.send(chunk(part))
            assert b64decode(unchunked(client.take() + b"0\r\n\r\n")[0]) == part, "nothing is held back"
    origin.send(b"0\r\ngrpc-status: 0\r\n\r\n")
    assert b64decode(unchunked(client.take())[0]) == trailer_frame([(b"grpc-status", b"0")])


def test_large_answers_are_not_gathered(rig: Rig) -> None:
    serve(rig)
    client, origin = asked(rig, call(message(b"all")))
    start, _, _ = answer().partition(b"0\r\n")
    origin.send(start)
    size = 1 << 20
    origin.send(chunk(b"\0" + size.to_bytes(4, "big")))
    client.stall()
    sent = 0
    while sent < size and origin.transport.reading:
        origin.send(chunk(b"x" * 16384))
        sent += 16384
    assert sent < size / 4, "the upstream waits for the client"
    client.unstall()
    origin.send(chunk(b"x" * (size - sent)) + b"0\r\ngrpc-status: 0\r\n\r\n")
    assert sum(map(len, parts(client.received)[2])) == 5 + size + len(trailer_frame([(b"grpc-status", b"0")]))


def test_an_outcome_in_the_head_becomes_a_frame(rig: Rig) -> None:
    serve(rig)
    client, origin = asked(rig, call(message(b"q")))
    origin.send(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\ngrpc-status: 5\r\n"
        b"grpc-message: none\r\nx-meta: 1\r\ndate: today\r\n\r\n"
    )
    _, back, pieces = parts(client.received)
    assert back[b"content-type"] == BINARY
    assert b"grpc-status" not in back
    assert back[b"x-meta"] == b"1"
    assert pieces == [trailer_frame([(b"grpc-status", b"5"), (b"grpc-message", b"none"), (b"x-meta", b"1")])]


def test_an_answer_that_does_not_say_how_the_call_ended(rig: Rig) -> None:
    serve(rig)
    client, origin = asked(rig, call(message(b"q")))
    origin.send(answer(b"a", trailers=b"x-cost: 7\r\n"))
    assert b"x-cost:7\r\ngrpc-status:2\r\n" in parts(client.received)[2][-1]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        call(b"{}", b"application/json"),
        call(b"not base64, not messages", b"application/grpc+proto"),
    ],
)
def test_what_is_not_grpc_web_passes_as_it_is(rig: Rig, request_: bytes) -> None:
    serve(rig)
    client, origin = asked(rig, request_)
    assert origin.received.partition(b"\r\n\r\n")[2] == request_.partition(b"\r\n\r\n")[2]
    response = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc+proto\r\ncontent-length: 2\r\n\r\nok"
    origin.send(response)
    assert client.received.endswith(b"\r\n\r\nok")


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(each % (len(data) + 1) for each in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


CUTS = st.lists(st.integers(0, 10_000), max_size=6)
MESSAGES = st.lists(st.binary(max_size=50), max_size=4)


@settings(max_examples=40)
@given(asks=MESSAGES, says=MESSAGES, up=CUTS, down=CUTS, text=st.booleans())
def test_messages_pass_however_they_are_cut(
    asks: list[bytes], says: list[bytes], up: list[int], down: list[int], text: bool
) -> None:
    rig = Rig()
    serve(rig)
    client = rig.client()
    client.send(call(b"", TEXT if text else BINARY).replace(b"content-length: 0", b"transfer-encoding: chunked"))
    origin = rig.origin("a").accept()
    asked_for = b"".join(map(message, asks))
    for piece in cut(b64encode(asked_for) if text else asked_for, up):
        client.send(chunk(piece))
    client.send(b"0\r\n\r\n")
    assert b"".join(unchunked(origin.received.partition(b"\r\n\r\n")[2])) == asked_for
    origin.send(answer().partition(b"0\r\n")[0])
    said = b"".join(map(message, says))
    for piece in cut(said, down):
        origin.send(chunk(piece))
    origin.send(b"0\r\ngrpc-status: 0\r\n\r\n")
    pieces = parts(client.received)[2]
    body = b"".join(b64decode(piece) if text else piece for piece in pieces)
    assert body == said + trailer_frame([(b"grpc-status", b"0")])
    rig.check_idle()


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"AAAA!", TEXT, b"grpc_web.base64"),
        (b"AAAAA", TEXT, b"grpc_web.base64"),
        (b64encode(message(b"question"))[:8], TEXT, b"grpc_web.cut_off"),
        (message(b"question")[:-1], BINARY, b"grpc_web.cut_off"),
        (message(b"question") + b"\0\0", BINARY, b"grpc_web.cut_off"),
        (message(b"question", flags=0x80), BINARY, b"grpc_web.message"),
        (b"{}{}{}", BINARY, b"grpc_web.message"),
    ],
)
def test_a_request_body_that_is_none(rig: Rig, body: bytes, content_type: bytes, reason: bytes) -> None:
    serve(rig)
    client, origin = asked(rig, call(b"", content_type).replace(b"content-length: 0", b"transfer-encoding: chunked"))
    client.send(chunk(body) + b"0\r\n\r\n")
    frame = refusal(client.received, text=content_type == TEXT)
    assert frame.startswith(b"\x80\0\0\0")
    assert b"grpc-status:3\r\ngrpc-message:%b: " % reason in frame
    assert origin.closed, "the upstream must not take half a request for a whole one"
    (record,) = rig.records
    assert (record.protocol, record.reason.encode(), record.grpc_status) == ("grpc-web", reason, "INVALID_ARGUMENT")


@pytest.mark.parametrize("fields", [b"", b"content-encoding: gzip\r\n"])
def test_forms_that_nobody_knows(rig: Rig, fields: bytes) -> None:
    serve(rig)
    client = rig.client()
    client.send(call(message(b"q"), BINARY if fields else b"application/grpc-web-thrift", fields))
    assert b"grpc_web.content_type" in client.received
    assert client.received.startswith(b"HTTP/1.1 200 " if fields else b"HTTP/1.1 415 ")
    assert not rig.origin("a").waiting


def test_a_call_by_another_method(rig: Rig) -> None:
    serve(rig)
    client = rig.client()
    client.send(call(message(b"q"), method=b"PUT"))
    status, fields, (body,) = parts(client.received)
    assert (status, fields[b"allow"]) == (405, b"POST")
    assert b"grpc_web.method" in body


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"404 Not Found\r\ncontent-type: text/html", 12),
        (b"401 Unauthorized\r\ncontent-type: application/json", 16),
        (b"503 Service Unavailable", 14),
        (b"200 OK\r\ncontent-type: text/html", 14),
        (b"204 No Content", 14),
        (b"302 Found\r\nlocation: /", 14),
    ],
)
def test_an_upstream_that_does_not_speak_grpc(rig: Rig, head: bytes, code: int) -> None:
    serve(rig)
    client, origin = asked(rig, call(message(b"q")))
    origin.send(b"HTTP/1.1 " + head + b"\r\ncontent-length: 0\r\n\r\n")
    assert b"grpc-status:%d\r\ngrpc-message:grpc_web.not_grpc: " % code in refusal(client.received)


def test_answers_that_are_not_messages_end_before_what_is_wrong(rig: Rig) -> None:
    serve(rig)
    client, origin = asked(rig, call(message(b"q")))
    start, _, _ = answer().partition(b"0\r\n")
    origin.send(start + chunk(message(b"a")))
    origin.send(chunk(b"<html>"))
    _, _, pieces = parts(client.received)
    assert pieces[0] == message(b"a")
    assert pieces[1].startswith(b"\x80")
    assert b"grpc-message:grpc_web.bad_answer" in pieces[1]
    assert rig.records[0].reason == "grpc_web.bad_answer"


@pytest.mark.parametrize("lost", [True, False])
def test_a_stream_that_breaks_off_says_why_where_it_can(rig: Rig, lost: bool) -> None:
    """Behind a message there is room for trailers. Within one, only the end of the connection tells."""
    serve(rig)
    for sent, told in ((message(b"whole"), True), (message(b"half of it")[:-1], False)):
        client, origin = asked(rig, call(b64encode(message(b"q")), TEXT))
        origin.send(answer().partition(b"0\r\n")[0] + chunk(sent))
        if lost:
            origin.reset()
        else:
            rig.advance(61)
        assert client.aborted is not told
        if told:
            _, _, pieces = parts(client.received)
            assert b64decode(pieces[0]) == sent
            assert b"grpc-status:14\r\n" in b64decode(pieces[1])
        assert rig.records[-1].reason == ("upstream.truncated" if lost else "upstream.idle_timeout")


def test_an_answer_cut_off_in_a_message_is_no_answer(rig: Rig) -> None:
    serve(rig)
    client, origin = asked(rig, call(message(b"q")))
    origin.send(answer().partition(b"0\r\n")[0] + chunk(message(b"abc")[:-1]))
    origin.send(b"0\r\ngrpc-status: 0\r\n\r\n")
    assert client.aborted
    assert b"\x80" not in client.received
    assert rig.records[0].reason == "grpc_web.bad_answer"


def test_the_gateways_own_answers(rig: Rig) -> None:
    serve(rig, api_key={})
    client = rig.client()
    client.send(call(message(b"q")))
    assert b"grpc-status:16\r\ngrpc-message:api_key.missing: " in refusal(client.take())
    client.send(call(b64encode(message(b"q")), TEXT))
    assert b"grpc-message:api_key.missing: " in refusal(client.take(), text=True)


def test_a_deadline(rig: Rig) -> None:
    serve(rig)
    client, origin = asked(rig, call(message(b"q"), fields=b"grpc-timeout: 2S\r\n"))
    rig.advance(2.5)
    assert b"grpc-status:4\r\ngrpc-message:client.deadline: " in refusal(client.received)
    assert origin.closed
    assert rig.records[0].grpc_status == "DEADLINE_EXCEEDED"


# --- with CORS --------------------------------------------------------------------------------------------------------

NEEDED = b"content-type,x-grpc-web,x-user-agent,grpc-timeout"


def test_a_page_of_another_origin(rig: Rig) -> None:
    serve(rig, cors={"origins": ["https://app.test"], "headers": ["x-own"], "expose": ["x-meta"], "grpc_web": True})
    client = rig.client()
    client.send(
        b"OPTIONS /shop.Orders/Get HTTP/1.1\r\nhost: x\r\norigin: https://app.test\r\n"
        b"access-control-request-method: POST\r\naccess-control-request-headers: " + NEEDED + b"\r\n\r\n"
    )
    status, fields, _ = parts(client.take())
    assert status == 204
    allowed = fields[b"access-control-allow-headers"].split(b", ")
    assert {*NEEDED.split(b","), b"x-own"} <= set(allowed)
    client.send(call(message(b"q"), fields=b"origin: https://app.test\r\n"))
    rig.origin("a").accept().send(answer(b"a", head=b"x-meta: 1\r\n"))
    _, fields, pieces = parts(client.take())
    assert fields[b"access-control-allow-origin"] == b"https://app.test"
    exposed = set(fields[b"access-control-expose-headers"].split(b", "))
    assert exposed == {b"x-meta", b"grpc-status", b"grpc-message", b"grpc-status-details-bin"}
    assert pieces[0] == message(b"a")
