"""Every combination of versions carries the same messages (RFC 9110, RFC 9113 section 8)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.h2.actors import HOP_BY_HOP, VERSIONS, Bench, Fields, H2Client

from gatewright.testing.rig import Rig

pytestmark = pytest.mark.parametrize("up", VERSIONS, ids=[f"to-{each}" for each in VERSIONS])

MakeBench = Callable[..., Bench]


@pytest.fixture(params=VERSIONS, ids=[f"from-{each}" for each in VERSIONS])
def bench(request: pytest.FixtureRequest, rig: Rig, up: str) -> Bench:
    return Bench(rig, request.param, up)


def ours(fields: Fields) -> Fields:
    return tuple(pair for pair in fields if pair[0].startswith(b"x-test"))


def assert_hop_by_hop_stayed(fields: Fields, version: str) -> None:
    names = {name for name, _ in fields}
    allowed = {b"transfer-encoding", b"connection", b"te", b"keep-alive"} if version == "http1" else {b"te"}
    assert not names & (HOP_BY_HOP - allowed), fields
    assert not any(name.startswith(b"x-hop") for name in names), fields
    if version == "h2":
        assert {value for name, value in fields if name == b"te"} <= {b"trailers"}
        assert b"host" not in names


def test_request_and_response_without_content(bench: Bench) -> None:
    call = bench.call(b"GET", b"/a/b?c=d&e=%20", (b"x-test", b"1"), (b"x-test", b"2"), (b"x-test-empty", b""))
    serving = bench.serving()
    assert (serving.method, serving.target, serving.authority) == (b"GET", b"/a/b?c=d&e=%20", b"x")
    assert ours(serving.fields) == ((b"x-test", b"1"), (b"x-test", b"2"), (b"x-test-empty", b""))
    assert (serving.ended, serving.body) == (True, b"")
    serving.respond(404, (b"x-test", b"3"), (b"x-test", b"4"), body=b"gone")
    assert (call.status, call.body, call.ended, call.broken) == (404, b"gone", True, False)
    assert ours(call.fields) == ((b"x-test", b"3"), (b"x-test", b"4"))
    assert call.get(b"content-length") == b"4"
    assert_hop_by_hop_stayed(serving.fields, bench.up)
    assert_hop_by_hop_stayed(call.fields, bench.down)
    (record,) = bench.rig.records
    assert (record.status, record.reason, record.bytes_out) == (404, "", 4)
    assert record.protocol == ("http1" if bench.down == "http1" else "http2")


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"BREW"])
def test_methods_with_content(bench: Bench, method: bytes) -> None:
    call = bench.call(method, b"/", (b"content-length", b"6"), streams=True)
    call.send(b"abc")
    serving = bench.serving()
    assert (serving.method, serving.body, serving.ended) == (method, b"abc", False)
    call.send(b"def")
    call.end()
    assert (serving.body, serving.ended, serving.get(b"content-length")) == (b"abcdef", True, b"6")
    serving.respond(201, body=b"made")
    assert (call.status, call.body, call.ended) == (201, b"made", True)
    assert bench.rig.records[0].bytes_in == 6


def test_content_of_unknown_length_and_trailers_both_ways(bench: Bench) -> None:
    call = bench.call(b"POST", b"/", (b"te", b"trailers"), streams=True)
    serving = bench.serving()
    call.send(b"one ")
    assert serving.body == b"one "
    call.send(b"two")
    call.end((b"x-test-sum", b"7"))
    assert (serving.body, serving.ended, serving.trailers) == (b"one two", True, ((b"x-test-sum", b"7"),))
    assert serving.get(b"content-length") is None
    serving.respond(200, (b"x-test", b"1"))
    assert (call.status, call.ended) == (200, False)
    serving.send(b"three ")
    assert call.body == b"three "
    serving.send(b"four")
    serving.end((b"x-test-sum", b"10"))
    assert (call.body, call.ended, call.trailers) == (b"three four", True, ((b"x-test-sum", b"10"),))
    assert call.get(b"content-length") is None


def test_an_empty_post(bench: Bench) -> None:
    call = bench.call(b"POST", b"/", (b"content-length", b"0"))
    serving = bench.serving()
    assert (serving.ended, serving.body, serving.get(b"content-length")) == (True, b"", b"0")
    serving.respond(200, (b"content-length", b"0"), body=b"")
    assert (call.status, call.body, call.ended) == (200, b"", True)


@pytest.mark.parametrize(
    ("method", "status", "fields"),
    [
        (b"HEAD", 200, ((b"content-length", b"1000"),)),
        (b"HEAD", 200, ()),
        (b"GET", 204, ()),
        (b"GET", 304, ((b"etag", b'"x"'),)),
    ],
)
def test_responses_that_have_no_content(bench: Bench, method: bytes, status: int, fields: Fields) -> None:
    for _ in range(2):  # the connection can be used again
        call = bench.call(method)
        bench.serving().respond(status, *fields, body=b"")
        assert (call.status, call.body, call.ended, call.broken) == (status, b"", True, False)
        assert call.get(b"content-length") == dict(fields).get(b"content-length")


def test_informational_responses_pass(bench: Bench) -> None:
    call = bench.call()
    serving = bench.serving()
    serving.inform(103, (b"link", b"</a.css>"))
    assert [status for status, _ in call.informational] == [103]
    assert (b"link", b"</a.css>") in call.informational[0][1]
    assert call.status == 0
    serving.inform(103, (b"link", b"</b.css>"))
    serving.respond(200, body=b"ok")
    assert [status for status, _ in call.informational] == [103, 103]
    assert (call.status, call.body, call.ended) == (200, b"ok", True)


def test_expect_100_continue(bench: Bench) -> None:
    call = bench.call(b"POST", b"/", (b"expect", b"100-continue"), (b"content-length", b"3"), streams=True)
    serving = bench.serving()
    assert (serving.get(b"expect"), serving.ended) == (b"100-continue", False)
    assert call.informational == []
    serving.inform(100)
    assert [status for status, _ in call.informational] == [100]
    call.send(b"abc")
    call.end()
    assert (serving.body, serving.ended) == (b"abc", True)
    serving.respond(200, body=b"ok")
    assert (call.status, call.body, call.ended) == (200, b"ok", True)


def test_expect_100_continue_refused(bench: Bench) -> None:
    call = bench.call(b"POST", b"/", (b"expect", b"100-continue"), (b"content-length", b"3"), streams=True)
    bench.serving().respond(417, body=b"no")
    assert (call.status, call.body, call.ended, call.informational) == (417, b"no", True, [])


def test_cookies_are_one_field_for_http1(bench: Bench) -> None:
    crumbs = (b"a=1", b"b=2", b"c=3")
    split = bench.down == "h2"
    call = bench.call(b"GET", b"/", *((b"cookie", each) for each in (crumbs if split else [b"; ".join(crumbs)])))
    serving = bench.serving()
    found = serving.all(b"cookie")
    assert b"; ".join(found) == b"a=1; b=2; c=3"
    assert bench.up == "h2" or len(found) == 1
    serving.respond(200, (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), body=b"ok")
    assert call.all(b"set-cookie") == [b"a=1", b"b=2"]


def test_fields_of_one_connection_do_not_cross(bench: Bench) -> None:
    hop: Fields = ()
    if bench.down == "http1":
        hop = ((b"connection", b"x-hop, keep-alive"), (b"keep-alive", b"timeout=5"), (b"proxy-connection", b"close"))
        hop += ((b"x-hop", b"1"), (b"te", b"trailers, deflate"), (b"upgrade", b"h2c"))
    else:
        hop = ((b"te", b"trailers"),)
    call = bench.call(b"GET", b"/", *hop, (b"x-test", b"1"))
    serving = bench.serving()
    assert_hop_by_hop_stayed(serving.fields, bench.up)
    assert serving.get(b"upgrade") is None
    assert serving.get(b"proxy-connection") is None
    assert ours(serving.fields) == ((b"x-test", b"1"),)
    hop = ()
    if bench.up == "http1":
        hop = ((b"connection", b"x-hop"), (b"keep-alive", b"timeout=5"), (b"proxy-connection", b"close"))
        hop += ((b"x-hop", b"1"), (b"upgrade", b"h2c"))
    serving.respond(200, *hop, (b"x-test", b"2"), body=b"ok")
    assert_hop_by_hop_stayed(call.fields, bench.down)
    assert call.get(b"keep-alive") is None
    assert call.get(b"upgrade") is None
    assert (ours(call.fields), call.body, call.ended) == (((b"x-test", b"2"),), b"ok", True)


def test_large_request_waits_for_the_endpoint(bench: Bench) -> None:
    size, piece = 8 << 20, 64 << 10
    call = bench.call(b"POST", b"/", (b"content-length", b"%d" % size), streams=True)
    serving = bench.serving()
    bench.endpoint.stall()
    sent = bytes(range(256)) * (piece // 256)
    for _ in range(size // piece):
        call.send(sent)
    call.end()
    assert not serving.ended
    inside = taken_from_client(bench, size) - len(serving.body)
    assert inside < 1 << 20, f"{inside} octets are inside"
    bench.endpoint.unstall()
    bench.settle()
    assert serving.ended
    assert serving.body == sent * (size // piece)
    serving.respond(200, body=b"ok")
    assert (call.status, call.ended) == (200, True)


def taken_from_client(bench: Bench, size: int) -> int:
    """Octets of content that the gateway has read."""
    client = bench.client
    if isinstance(client, H2Client):
        return size - sum(len(piece) for call in client.calls for piece in call.heard.out)
    return size - sum(len(piece) for call in client.calls for piece in call.wire.peer.transport.unread)


def test_large_response_waits_for_the_client(bench: Bench) -> None:
    size, piece = 8 << 20, 64 << 10
    call = bench.call()
    serving = bench.serving()
    bench.client.stall()
    serving.respond(200, (b"content-length", b"%d" % size))
    sent = bytes(range(256)) * (piece // 256)
    for _ in range(size // piece):
        serving.send(sent)
    serving.end()
    inside = size - waiting_at_endpoint(bench) - len(call.body)
    stalled = bench.down == "http1"  # there what was written counts as received, but not as taken
    assert stalled or not call.ended
    assert waiting_at_endpoint(bench) > size // 2, "the endpoint could send nearly everything"
    assert inside < 1 << 20, f"{inside} octets are inside"
    bench.client.unstall()
    bench.settle()
    assert call.ended
    assert call.body == sent * (size // piece)


def waiting_at_endpoint(bench: Bench) -> int:
    """Octets of content that the gateway has not read."""
    waiting = 0
    for serving in bench.endpoint.servings:
        if hasattr(serving, "heard"):
            waiting += sum(len(each) for each in serving.heard.out)
        elif hasattr(serving, "wire"):
            waiting += sum(len(each) for each in serving.wire.peer.transport.unread)
    return waiting


def test_an_early_response_ends_the_exchange(bench: Bench) -> None:
    call = bench.call(b"POST", b"/", (b"content-length", b"100000"), streams=True)
    call.send(b"x" * 1000)
    serving = bench.serving()
    serving.respond(403, (b"x-test", b"1"), body=b"no")
    assert (call.status, call.body, call.ended) == (403, b"no", True)
    if bench.down == "h2":
        assert isinstance(bench.client, H2Client)
        assert bench.client.calls[0].heard.reset in {None, 0}, "the response is complete: only NO_ERROR may follow"
    (record,) = bench.rig.records
    assert record.status == 403


def test_a_response_that_breaks_off_is_not_complete(bench: Bench) -> None:
    call = bench.call()
    serving = bench.serving()
    serving.respond(200, (b"x-test", b"1"))
    serving.send(b"half")
    serving.reset()
    assert (call.status, call.ended, call.broken) == (200, False, True)
    (record,) = bench.rig.records
    assert record.reason


def test_a_response_shorter_than_its_length_is_not_complete(bench: Bench) -> None:
    call = bench.call()
    serving = bench.serving()
    serving.respond(200, (b"content-length", b"10"))
    serving.send(b"half")
    serving.reset()
    assert (call.ended, call.broken) == (False, True)


def test_an_endpoint_that_resets_before_its_response_is_a_502(bench: Bench) -> None:
    call = bench.call(b"POST", b"/", (b"content-length", b"3"), streams=True)
    call.send(b"abc")
    call.end()
    bench.serving().reset()
    assert (call.status, call.ended) == (502, True)


def test_a_client_that_gives_up_is_felt_by_the_endpoint(bench: Bench) -> None:
    first, second = bench.call(b"GET", b"/1"), bench.call(b"GET", b"/2")
    serving = next(each for each in bench.endpoint.servings if each.target == b"/1")
    other = next(each for each in bench.endpoint.servings if each.target == b"/2")
    serving.respond(200, (b"x-test", b"1"))
    first.cancel()
    bench.settle()
    if bench.up == "h2":
        assert serving.heard.reset is not None  # type: ignore[attr-defined]
    else:
        assert serving.wire.peer.closed  # type: ignore[attr-defined]
    other.respond(200, body=b"ok")
    assert (second.status, second.body, second.ended) == (200, b"ok", True)
    assert sorted(record.status for record in bench.rig.records) == [200, 200]
    assert sorted(record.reason for record in bench.rig.records) == ["", "client.gone"]


def test_responses_in_another_order(bench: Bench) -> None:
    calls = [bench.call(b"GET", b"/%d" % i) for i in range(5)]
    servings = {each.target: each for each in bench.endpoint.servings}
    for i in (3, 0, 4, 2, 1):
        servings[b"/%d" % i].respond(200, body=b"%d" % i)
    assert [(call.status, call.body, call.ended) for call in calls] == [(200, b"%d" % i, True) for i in range(5)]
    if bench.up == "h2":
        assert len(bench.endpoint.oracles) == 1, "the requests have not shared a connection"  # type: ignore[union-attr]


def test_options_of_the_server_itself_has_no_route(bench: Bench) -> None:
    call = bench.call(b"OPTIONS", b"*")
    assert (call.status, call.ended, bench.endpoint.servings) == (404, True, [])


def test_time_over_is_told(bench: Bench) -> None:
    call = bench.call()
    bench.rig.advance(100)
    bench.settle()
    assert (call.status, call.ended) == (504, True)
    (record,) = bench.rig.records
    assert record.status == 504


def test_a_new_connection_takes_the_place_of_one_that_broke(bench: Bench) -> None:
    call = bench.call()
    bench.serving().respond(200, body=b"ok")
    assert call.status == 200
    bench.rig.origin("a").connections[0].reset()
    bench.settle()
    call = bench.call(b"GET", b"/again")
    bench.serving().respond(200, body=b"ok")
    assert (call.status, call.body, call.ended) == (200, b"ok", True)
