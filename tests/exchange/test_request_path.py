"""What goes upstream and what comes back, in order and under back-pressure."""

from __future__ import annotations

import pytest

from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream
from gatewright.testing.wires import Peer

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture
def plain(rig: Rig) -> Rig:
    rig.apply(route("all", to="a"), upstream("a"))
    return rig


def body_of(received: bytes) -> bytes:
    return received.partition(b"\r\n\r\n")[2]


def head_of(received: bytes) -> bytes:
    return received.partition(b"\r\n\r\n")[0]


def exchange(rig: Rig, request: bytes, response: bytes) -> tuple[Peer, Peer]:
    client = rig.client()
    client.send(request)
    origin = rig.origin("a").accept()
    origin.send(response)
    return client, origin


def test_connection_is_used_again(plain: Rig) -> None:
    client, origin = exchange(plain, GET, OK)
    origin.take()
    client.send(GET)
    assert origin.take().startswith(b"GET / HTTP/1.1\r\n")
    origin.send(OK)
    assert client.received.count(b"200 OK") == 2
    assert plain.origin("a").waiting == 0


def test_every_split_of_both_sides_gives_the_same(plain: Rig) -> None:
    client, origin = exchange(plain, GET, OK)
    whole = client.take(), origin.take()
    for size in (1, 2, 3, 7):
        client.send_split(GET, size)
        origin.send_split(OK, size)
        assert (client.take(), origin.take()) == whole


def test_pipelined_requests_are_answered_in_order(plain: Rig) -> None:
    client = plain.client()
    client.send(
        b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\n\r\nGET /3 HTTP/1.1\r\nhost: x\r\n\r\n"
    )
    origin = plain.origin("a").accept()
    for number in (b"1", b"2", b"3"):
        assert origin.take().startswith(b"GET /" + number + b" ")
        origin.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n" + number)
        assert client.take().endswith(b"\r\n\r\n" + number)


def test_pipelining_is_bounded(plain: Rig) -> None:
    client = plain.client()
    client.send(GET)
    client.send(GET * 4000)
    assert not client.transport.reading
    origin = plain.origin("a").accept()
    for _ in range(4001):
        origin.send(OK)
    assert client.received.count(b"200 OK") == 4001


def test_body_of_known_length_streams(plain: Rig) -> None:
    client = plain.client()
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nab")
    origin = plain.origin("a").accept()
    assert body_of(origin.received) == b"ab"
    client.send(b"cd")
    assert body_of(origin.received) == b"abcd"
    client.send(b"ef")
    assert body_of(origin.received) == b"abcdef"
    assert b"content-length: 6\r\n" in origin.received
    origin.send(OK)
    assert body_of(client.received) == b"ok"
    assert plain.records[0].bytes_in == 6


def test_chunked_body_and_trailers_pass(plain: Rig) -> None:
    client = plain.client()
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n")
    origin = plain.origin("a").accept()
    client.send_split(b"3;ext=1\r\nabc\r\n0\r\nx-sum: 9\r\ncontent-length: 4\r\n\r\n", 1)
    assert body_of(origin.received).endswith(b"0\r\nx-sum: 9\r\n\r\n")
    assert b"transfer-encoding: chunked\r\n" in head_of(origin.received) + b"\r\n"
    origin.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-t: 1\r\n\r\n")
    assert body_of(client.received) == b"2\r\nhi\r\n0\r\nx-t: 1\r\n\r\n"


def test_response_until_close_becomes_chunked(plain: Rig) -> None:
    client, origin = exchange(plain, GET, b"HTTP/1.0 200 OK\r\n\r\nabc")
    origin.end()
    assert b"transfer-encoding: chunked" in head_of(client.received)
    assert body_of(client.received) == b"3\r\nabc\r\n0\r\n\r\n"
    assert not client.closed


def test_http10_client_gets_until_close(plain: Rig) -> None:
    client = plain.client()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    origin = plain.origin("a").accept()
    origin.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
    assert b"connection: close" in head_of(client.received)
    assert b"transfer-encoding" not in client.received
    assert body_of(client.received) == b"hi"
    assert client.closed


def test_http10_keep_alive(plain: Rig) -> None:
    client, _ = exchange(plain, b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", OK)
    assert b"connection: keep-alive" in head_of(client.received)
    assert not client.closed


@pytest.mark.parametrize(
    ("method", "response", "body"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", b""),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n", b""),
        (b"HEAD", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b""),
        (b"GET", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
    ],
)
def test_responses_without_a_body(plain: Rig, method: bytes, response: bytes, body: bytes) -> None:
    client, origin = exchange(plain, method + b" / HTTP/1.1\r\nhost: x\r\n\r\n", response)
    assert body_of(client.received) == body
    client.send(GET)
    origin.send(OK)
    assert client.received.endswith(b"\r\n\r\nok")


def test_expect_continue_is_answered_by_the_upstream(plain: Rig) -> None:
    client = plain.client()
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    origin = plain.origin("a").accept()
    assert b"expect: 100-continue\r\n" in origin.received
    assert client.received == b""
    origin.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"hi")
    origin.send(OK)
    assert client.received.endswith(b"ok")
    assert not client.closed


def test_early_hints_pass(plain: Rig) -> None:
    client, _ = exchange(plain, GET, b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK)
    assert client.received.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_informational_is_kept_from_http10(plain: Rig) -> None:
    client, _ = exchange(plain, b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
    assert client.received.startswith(b"HTTP/1.1 200 OK")


def test_slow_client_pauses_the_origin(plain: Rig) -> None:
    client, origin = exchange(plain, GET, b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    client.stall()
    for _ in range(5):
        origin.send(b"x" * 40_000)
    assert not origin.transport.reading
    assert len(client.received) < 200_000
    client.unstall()
    assert origin.transport.reading
    origin.send(b"x" * 800_000)
    assert len(body_of(client.received)) == 1_000_000


def test_slow_origin_pauses_the_client(plain: Rig) -> None:
    client = plain.client()
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
    origin = plain.origin("a").accept()
    origin.stall()
    client.send(b"x" * 100_000)
    assert not client.transport.reading
    origin.unstall()
    assert client.transport.reading
    client.send(b"x" * 900_000)
    origin.send(OK)
    assert client.received.endswith(b"ok")


def test_body_before_a_connection_is_held_and_bounded(plain: Rig) -> None:
    client = plain.client()
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n" + b"x" * 100_000)
    assert not client.transport.reading
    origin = plain.origin("a").accept()
    assert client.transport.reading
    client.send(b"y" * 100_000)
    assert body_of(origin.received) == b"x" * 100_000 + b"y" * 100_000
    origin.send(OK)
    assert client.received.endswith(b"ok")


def test_answer_before_the_body_is_complete_closes(plain: Rig) -> None:
    client = plain.client()
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc")
    origin = plain.origin("a").accept()
    origin.send(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
    assert b"connection: close" in head_of(client.received)
    assert client.received.endswith(b"no")
    assert origin.closed
    client.send(b"more of it")
    plain.advance(3)
    assert client.closed


def test_client_that_closes_its_side_gets_its_answer(plain: Rig) -> None:
    client = plain.client()
    client.send(GET)
    client.end()
    origin = plain.origin("a").accept()
    origin.send(OK)
    assert client.received.endswith(b"ok")
    assert client.closed


def test_client_that_is_gone_frees_the_endpoint(plain: Rig) -> None:
    client = plain.client()
    client.send(GET)
    origin = plain.origin("a").accept()
    client.reset()
    assert origin.closed
    assert (plain.records[0].status, plain.records[0].reason) == (499, "client.gone")


def test_sse_events_leave_at_once(plain: Rig) -> None:
    client, origin = exchange(
        plain, GET, b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    assert head_of(client.take())
    for number in range(3):
        origin.send(b"b\r\ndata: %d\n\n..\r\n" % number)
        assert client.take() == b"b\r\ndata: %d\n\n..\r\n" % number
    origin.send(b"0\r\n\r\n")
    assert client.take() == b"0\r\n\r\n"
    assert plain.records[0].protocol == "sse"


def test_hop_by_hop_fields_of_the_response_stay(plain: Rig) -> None:
    client, _ = exchange(
        plain,
        GET,
        b"HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nx-end: 2\r\ncontent-length: 0\r\n\r\n",
    )
    assert b"x-hop" not in client.received
    assert b"keep-alive" not in client.received
    assert b"x-end: 2\r\n" in client.received


def test_unasked_bytes_behind_a_response_end_the_connection(plain: Rig) -> None:
    client, origin = exchange(plain, GET, OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    assert body_of(client.received) == b"ok"
    assert origin.closed
    client.send(GET)
    assert plain.origin("a").waiting == 1
    plain.origin("a").accept().send(OK)
    assert client.received.count(b"evil") == 0


def test_unasked_bytes_on_an_idle_connection_end_it(plain: Rig) -> None:
    _, origin = exchange(plain, GET, OK)
    origin.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    assert origin.closed


def test_body_over_the_limit_is_refused_before_the_upstream(rig: Rig) -> None:
    rig.apply(route("all", to="a", max_body=5), upstream("a"))
    client = rig.client()
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\n")
    assert client.received.startswith(b"HTTP/1.1 413 ")
    assert rig.origin("a").waiting == 0
    assert rig.records[0].reason == "request.body_too_large"


def test_chunked_body_over_the_limit_is_cut(rig: Rig) -> None:
    rig.apply(route("all", to="a", max_body=5), upstream("a"))
    client = rig.client()
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n")
    origin = rig.origin("a").accept()
    client.send(b"4\r\nefgh\r\n")
    assert client.received.startswith(b"HTTP/1.1 413 ")
    assert origin.closed


def test_trusted_proxies_name_the_client(rig: Rig) -> None:
    listener = model.Listener("public", "127.0.0.1:0", trusted_proxies=("127.0.0.0/8", "10.0.0.0/8"))
    rig.apply(route("all", to="a"), upstream("a"), listener)
    client = rig.client()
    client.send(
        b"GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 1.1.1.1, 9.9.9.9, 10.0.0.1\r\nx-forwarded-proto: https\r\n\r\n"
    )
    origin = rig.origin("a").accept()
    assert b"x-forwarded-for: 1.1.1.1, 9.9.9.9, 10.0.0.1, 127.0.0.1\r\n" in origin.received
    assert b"x-forwarded-proto: https\r\n" in origin.received
    origin.send(OK)
    assert rig.records[0].client_addr == "9.9.9.9"


def test_untrusted_forwarding_fields_are_removed(plain: Rig) -> None:
    _, origin = exchange(
        plain,
        b"GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 1.1.1.1\r\nforwarded: for=1.1.1.1\r\nx-forwarded-host: evil\r\n\r\n",
        OK,
    )
    assert b"1.1.1.1" not in origin.received
    assert b"evil" not in origin.received


def test_websocket_tunnel(plain: Rig) -> None:
    client = plain.client()
    client.send(
        b"GET /ws HTTP/1.1\r\nhost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nsec-websocket-key: k\r\n\r\n"
    )
    origin = plain.origin("a").accept()
    assert b"connection: upgrade\r\nupgrade: websocket\r\n" in origin.received
    origin.take()
    origin.send(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: a\r\n\r\n\x81\x01a"
    )
    assert client.take().endswith(b"\r\n\r\n\x81\x01a")
    client.send(b"\x81\x82\0\0\0\0hi")
    assert origin.take() == b"\x81\x82\0\0\0\0hi"
    assert plain.records == []
    client.close()
    assert origin.closed
    record = plain.records[0]
    assert (record.status, record.protocol, record.bytes_in, record.bytes_out) == (101, "websocket", 8, 3)


def test_idle_websocket_is_told_to_go(plain: Rig) -> None:
    client = plain.client()
    client.send(b"GET /ws HTTP/1.1\r\nhost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    origin = plain.origin("a").accept()
    origin.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n")
    client.take(), origin.take()
    plain.advance(3700)
    assert client.take() == b"\x88\x02\x03\xe9"
    assert origin.take() == b"\x88\x82\0\0\0\0\x03\xe9"
    assert client.closed
    assert origin.closed


def tunnel(rig: Rig) -> tuple[Peer, Peer]:
    client = rig.client()
    client.send(b"GET /ws HTTP/1.1\r\nhost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    origin = rig.origin("a").accept()
    origin.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n")
    client.take(), origin.take()
    return client, origin


def test_tunnel_is_over_when_both_sides_have_closed(plain: Rig) -> None:
    client, origin = tunnel(plain)
    origin.end()
    client.send(b"\x88\x80....")
    assert origin.take() == b"\x88\x80...."
    assert not client.closed
    client.end()
    assert client.closed
    assert origin.closed
    assert [record.status for record in plain.records] == [101]


def test_nothing_is_said_to_a_side_that_was_told_the_end(plain: Rig) -> None:
    client, origin = tunnel(plain)
    origin.end()
    plain.advance(3700)
    assert client.take() == b"", "its end has been passed on: no frame can follow"
    assert origin.take() == b"\x88\x82\0\0\0\0\x03\xe9"
    assert client.closed
    assert origin.closed


def test_switch_that_nobody_asked_for(plain: Rig) -> None:
    client, origin = exchange(plain, GET, b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n")
    assert client.received.startswith(b"HTTP/1.1 502 ")
    assert origin.closed


def test_other_upgrades_are_not_passed_on(plain: Rig) -> None:
    _, origin = exchange(
        plain,
        b"GET / HTTP/1.1\r\nhost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
        OK,
    )
    assert b"pgrade" not in origin.received
    assert b"HTTP2" not in origin.received


def test_no_route(rig: Rig) -> None:
    rig.apply(route("one", "/one", to="a", match=model.Match(paths=("/one",), methods=("GET",))), upstream("a"))
    client = rig.client()
    client.send(GET)
    assert client.take().startswith(b"HTTP/1.1 404 ")
    client.send(b"DELETE /one HTTP/1.1\r\nhost: x\r\n\r\n")
    received = client.take()
    assert received.startswith(b"HTTP/1.1 405 ")
    assert b"allow: GET" in received
    assert [record.reason for record in rig.records] == ["route.none", "route.method"]


def test_client_that_does_not_read_begins_no_further_requests(plain: Rig) -> None:
    client, origin = exchange(plain, GET, OK)
    client.stall()
    served = 0
    for _ in range(100):
        client.send(GET)
        if origin.take():
            origin.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n" + b"x" * 10_000)
            served += 1
    assert served < 10
    assert len(client.received) < 100_000
    client.unstall()
    while origin.take():
        origin.send(OK)
        served += 1
    assert served == 100


def test_content_length_of_a_204_is_dropped(plain: Rig) -> None:
    client, _ = exchange(plain, GET, b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n")
    assert b"content-length" not in client.received


def test_silent_stream_of_events_is_kept_alive(rig: Rig) -> None:
    timeouts = model.Timeouts(idle=10.0)
    rig.apply(route("all", to="a", sse_heartbeat=2.0, timeouts=timeouts), upstream("a"))
    client, origin = exchange(
        rig, GET, b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    client.take()
    rig.advance(2.2)
    assert client.take() == b"3\r\n:\n\n\r\n"
    origin.send(b"9\r\ndata: 1\n\n\r\n")
    client.take()
    origin.send(b"5\r\ndata:\r\n")  # an event under way is not torn apart
    client.take()
    rig.advance(4.5)
    assert client.take() == b""
    origin.send(b"3\r\n2\n\n\r\n")
    client.take()
    rig.advance(4.5)
    assert client.take() == b"3\r\n:\n\n\r\n" * 2
    rig.advance(8)  # heartbeats are no sign of life of the endpoint
    assert rig.records[0].reason == "upstream.idle_timeout"


def test_websocket_may_be_switched_off(rig: Rig) -> None:
    rig.apply(route("all", to="a", websocket=False), upstream("a"))
    client, origin = exchange(
        rig, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", OK
    )
    assert b"upgrade" not in origin.received
    assert client.received.endswith(b"ok")


def test_total_time_of_the_upstream(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a", timeouts=model.Timeouts(total=1.0)))
    client = rig.client()
    client.send(GET)
    rig.origin("a").accept()
    rig.advance(1.2)
    assert client.received.startswith(b"HTTP/1.1 504 ")
    assert rig.records[0].reason == "route.timeout"


def test_peer_without_an_address(plain: Rig) -> None:
    client = plain.client(address=None)
    client.send(GET)
    origin = plain.origin("a").accept()
    assert b"x-forwarded-for" not in origin.received
    assert b"forwarded: for=unknown;host=x;proto=http\r\n" in origin.received
    origin.send(OK)
    assert plain.records[0].client_addr == ""
