"""The client's connection in odd situations: slow, half-closed, greedy, gone (RFC 9112 sections 6, 9)."""

from __future__ import annotations

from typing import Any

import pytest

from gatewright.http.reply import Reply
from gatewright.sdk import ExchangeView, Policy, PolicyConfig
from gatewright.snapshot import model
from gatewright.testing.rig import Rig, Waiting, route, upstream
from gatewright.testing.wires import Peer

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
PUT = b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
CHUNKED = b"PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


class Config(PolicyConfig):
    pass


class Scripted(Policy[Config]):
    """Does what the test says, at every hook."""

    name, stage, config = "scripted", "limit", Config
    request: Any = None
    response: Any = None

    def on_request(self, ex: ExchangeView) -> Any:
        return type(self).request and type(self).request(ex)

    def on_response(self, ex: ExchangeView) -> Any:
        return type(self).response and type(self).response(ex)


@pytest.fixture
def scripted(rig: Rig) -> type[Scripted]:
    made = type("Made", (Scripted,), {"__doc__": "Made for one test."})
    made.request = made.response = None
    rig.add_policy(made)
    return made


def serve(rig: Rig, limits: model.Limits | None = None, **options: Any) -> Peer:
    pool = options.pop("pool", model.Pool())
    listener = model.Listener("public", "127.0.0.1:0", limits=limits or model.Limits())
    rig.apply(route("all", to="a", **options), upstream("a", pool=pool, passive=None), listener)
    return rig.client()


def slow_reader(peer: Peer) -> None:
    """As a real transport with unsent bytes: closing waits until they are read, aborting does not."""
    transport: Any = peer.transport

    def close() -> None:
        transport.closing = True

    def abort() -> None:
        transport.aborted = True
        transport._rig.soon(transport._lose)

    transport.close, transport.abort = close, abort


# --- time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_", [GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), b"GET / HTTP/1.0\r\n\r\n"]
)
def test_a_client_that_does_not_read_its_last_answer_loses_it_in_time(rig: Rig, request_: bytes) -> None:
    client = serve(rig, model.Limits(idle_timeout=20.0))
    slow_reader(client)
    client.send(request_)
    rig.origin("a").accept().send(OK)
    assert client.transport.closing
    rig.advance(19.0)
    assert not client.closed
    rig.advance(1.2)
    assert client.aborted


def test_an_idle_client_that_has_not_read_its_answer_goes_too(rig: Rig) -> None:
    client = serve(rig, model.Limits(idle_timeout=20.0))
    slow_reader(client)
    client.send(GET)
    rig.origin("a").accept().send(OK)
    rig.advance(41.0)
    assert client.aborted


def test_a_client_that_stalls_between_requests_is_not_waited_for(rig: Rig) -> None:
    client = serve(rig, model.Limits(idle_timeout=20.0))
    client.stall()
    client.send(GET)
    rig.origin("a").accept().send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000)
    client.send(GET[:10])
    rig.advance(20.2)
    assert client.aborted
    assert len(rig.records) == 1


def test_the_time_of_a_route_runs_while_the_request_waits_for_a_connection(rig: Rig) -> None:
    client = serve(rig, timeout=3.0, pool=model.Pool(max_connections=1, wait_timeout=60.0))
    rig.client().send(GET)
    rig.origin("a").accept()
    rig.advance(1.0)
    client.send(PUT % 500_000 + b"x" * 200_000)
    assert not client.transport.reading
    rig.advance(3.1)
    assert client.received.startswith(b"HTTP/1.1 504 ")
    assert b"route.timeout" in client.received


def test_the_time_of_a_route_runs_while_the_client_does_not_read(rig: Rig) -> None:
    client = serve(rig, timeout=3.0)
    client.stall()
    client.send(GET)
    origin = rig.origin("a").accept()
    origin.send(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n" + b"x" * 100_000)
    assert not origin.transport.reading
    rig.advance(3.1)
    assert client.aborted
    assert rig.records[0].reason == "route.timeout"


def test_a_client_that_reads_again_in_time_gets_everything(rig: Rig) -> None:
    client = serve(rig)
    client.stall()
    client.send(PUT % 10)
    origin = rig.origin("a").accept()
    origin.send(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n" + b"x" * 100_000)
    client.unstall()
    assert origin.transport.reading
    origin.send(b"x" * 200_000)
    assert client.received.endswith(b"x" * 300_000)
    client.close()


@pytest.mark.parametrize("part", [PUT % 5 + b"ab", CHUNKED + b"5\r\nab"])
def test_a_body_that_stops_coming_is_408(rig: Rig, part: bytes) -> None:
    client = serve(rig, model.Limits(body_timeout=2.0))
    client.send(part)
    origin = rig.origin("a").accept()
    rig.advance(2.1)
    assert client.received.startswith(b"HTTP/1.1 408 ")
    assert origin.aborted
    client.close()


# --- half-closed clients, RFC 9112 section 9.6 -----------------------------------------------------------------------


def test_a_half_closed_client_gets_its_answer(rig: Rig) -> None:
    client = serve(rig)
    client.send(GET)
    client.end()
    rig.origin("a").accept().send(OK)
    assert client.received.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in client.received
    assert client.closed


def test_but_it_is_not_waited_for_very_long(rig: Rig) -> None:
    client = serve(rig)
    client.send(GET)
    origin = rig.origin("a").accept()
    client.end()
    rig.advance(5.2)
    assert client.aborted
    assert origin.aborted
    assert rig.records[0].reason == "client.gone"


def test_an_answer_that_has_begun_is_finished_for_it(rig: Rig) -> None:
    client = serve(rig)
    client.send(GET)
    origin = rig.origin("a").accept()
    origin.send(OK[:-1])
    client.end()
    rig.advance(20.0)
    origin.send(b"k")
    assert client.received.endswith(b"ok")
    assert client.closed


@pytest.mark.parametrize("part", [b"", GET[:9], PUT % 5 + b"ab"])
def test_an_incomplete_request_ends_with_its_client(rig: Rig, part: bytes) -> None:
    client = serve(rig)
    client.send(part)
    client.end()
    assert client.closed
    assert client.received == b""


# --- pipelining -----------------------------------------------------------------------------------------------------


def test_pipelined_requests_with_bodies_are_taken_one_after_the_other(rig: Rig) -> None:
    client = serve(rig)
    requests = [PUT % 3 + b"one", CHUNKED + b"3\r\ntwo\r\n0\r\n\r\n", GET, PUT % 4 + b"four"]
    client.send(b"".join(requests))
    origin = rig.origin("a").accept()
    for body in (b"one", b"3\r\ntwo\r\n0\r\n\r\n", b"", b"four"):
        assert origin.take().endswith(b"\r\n\r\n" + body)
        origin.send(OK)
    assert client.received.count(b"HTTP/1.1 200 ") == 4


def test_requests_sent_ahead_are_read_up_to_a_bound(rig: Rig) -> None:
    client = serve(rig)
    client.send(GET)
    for _ in range(10):
        client.send(GET * 1000)
    assert not client.transport.reading
    assert len(client.protocol.buffer) < 100_000  # type: ignore[attr-defined]
    client.reset()


def test_after_an_answer_to_a_body_in_hand_the_next_request_is_served(rig: Rig, scripted: type[Scripted]) -> None:
    scripted.request = lambda ex: Reply(403, "no") if ex.request.method == b"PUT" else None
    client = serve(rig, policies={"scripted": {}})
    client.send(PUT % 3 + b"abc" + GET)
    rig.origin("a").accept().send(OK)
    assert client.received.count(b"HTTP/1.1 403 ") == 1
    assert client.received.count(b"HTTP/1.1 200 ") == 1


def test_after_an_answer_to_a_body_still_to_come_the_connection_closes(rig: Rig, scripted: type[Scripted]) -> None:
    scripted.request = lambda ex: Reply(403, "no")
    client = serve(rig, policies={"scripted": {}})
    client.send(PUT % 300 + b"abc" + GET)
    assert client.received.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in client.received
    assert client.transport.ended
    client.send(GET * 1000)
    rig.advance(2.2)
    assert client.closed
    assert client.received.count(b"HTTP/1.1 ") == 1


def test_who_goes_on_sending_to_a_closing_connection_is_cut_off(rig: Rig) -> None:
    client = serve(rig)
    client.send(b"bad\r\n\r\n")
    for _ in range(20):
        client.send(b"x" * 100_000)
    assert client.aborted


def test_a_broken_body_behind_an_answer_closes(rig: Rig, scripted: type[Scripted]) -> None:
    waiting = Waiting()

    async def wait() -> Any:
        return await waiting

    scripted.request = lambda ex: wait()
    client = serve(rig, policies={"scripted": {}})
    client.send(CHUNKED + b"3\r\nabc")
    client.send(b"oops")
    assert client.received.startswith(b"HTTP/1.1 400 ")
    waiting.complete()
    rig.settle()
    assert client.received.count(b"HTTP/1.1 ") == 1
    client.close()


# --- Expect, RFC 9110 section 10.1.1 --------------------------------------------------------------------------------

EXPECTING = b"PUT / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"


def test_expectations_are_the_endpoints_to_meet(rig: Rig) -> None:
    client = serve(rig)
    client.send(EXPECTING)
    origin = rig.origin("a").accept()
    assert b"expect: 100-continue" in origin.take()
    origin.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"ab")
    assert origin.take() == b"ab"
    origin.send(OK)
    assert client.take().startswith(b"HTTP/1.1 200 ")
    assert not client.closed


def test_a_refusal_instead_of_a_continue_closes_for_the_body_may_come_all_the_same(rig: Rig) -> None:
    client = serve(rig)
    client.send(EXPECTING)
    rig.origin("a").accept().send(b"HTTP/1.1 417 No\r\ncontent-length: 0\r\n\r\n")
    assert b"connection: close" in client.received
    client.send(b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n")
    assert client.received.count(b"HTTP/1.1 ") == 1
    client.close()


def test_other_expectations_are_refused(rig: Rig) -> None:
    client = serve(rig)
    client.send(EXPECTING.replace(b"100-continue", b"200-ok"))
    assert client.received.startswith(b"HTTP/1.1 417 ")
    client.close()


def test_interim_responses_carry_no_fields_of_the_connection_and_none_go_to_http_1_0(rig: Rig) -> None:
    client = serve(rig)
    client.send(GET)
    origin = rig.origin("a").accept()
    origin.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nconnection: close\r\n\r\n" + OK)
    assert client.take().startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 ")
    old = rig.client()
    old.send(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
    origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
    assert old.take().startswith(b"HTTP/1.1 200 ")
    assert b"connection: keep-alive" in old.received


# --- bugs of ours and of policies -------------------------------------------------------------------------------------


@pytest.fixture
def bugs(rig: Rig) -> Any:
    """Bugs that the test expects."""
    yield rig.world.bugs
    assert rig.world.bugs
    rig.world.bugs.clear()


def broken(*_: Any) -> Any:
    raise RuntimeError("a bug")


def test_a_bug_while_a_request_is_read(rig: Rig, bugs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(rig)
    monkeypatch.setattr("gatewright.worker.net.h1_server.RequestHead", broken)
    client.send(GET)
    assert client.aborted
    monkeypatch.undo()
    monkeypatch.setattr("gatewright.proxy.exchange.Exchange.begin", broken)
    other = rig.client()
    other.send(GET)
    assert other.received.startswith(b"HTTP/1.1 500 ")
    assert b"internal.error" in other.received
    assert other.closed


def test_a_bug_while_a_body_is_read(rig: Rig, bugs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(rig)
    client.send(PUT % 5 + b"a")
    monkeypatch.setattr("gatewright.proxy.exchange.Exchange.on_request_body", broken)
    client.send(b"b")
    assert client.received.startswith(b"HTTP/1.1 500 ")
    rig.advance(3.0)
    assert client.closed
    for _ in range(rig.origin("a").waiting):
        rig.origin("a").refuse()
