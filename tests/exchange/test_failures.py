"""What happens when endpoints, clients, policies and time do not cooperate."""

from __future__ import annotations

from typing import Any

import pytest

from gatewright.http.reply import Reply
from gatewright.proxy import ports
from gatewright.sdk import ExchangeView, Outcome, Policy, PolicyConfig
from gatewright.snapshot import model
from gatewright.testing.rig import Rig, Waiting, route, upstream

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
RETRY = model.Retries(attempts=2, on=("connect", "reset", "503"))


def status(received: bytes) -> int:
    return int(received[9:12]) if received else 0


def test_refused_connection_is_502(rig: Rig) -> None:
    rig.apply(route("all", to="a", retries=model.Retries(attempts=0)), upstream("a"))
    client = rig.client()
    client.send(GET)
    rig.origin("a").refuse()
    assert status(client.received) == 502
    assert rig.records[0].reason == "upstream.connect"
    assert b'"reason":"upstream.connect"' in client.received


def test_slow_connection_is_504(rig: Rig) -> None:
    rig.apply(route("all", to="a", retries=model.Retries(attempts=0)), upstream("a"))
    client = rig.client()
    client.send(GET)
    rig.origin("a").refuse(ports.CONNECT_TIMEOUT)
    assert (status(client.received), rig.records[0].reason) == (504, "upstream.connect_timeout")


def test_connect_failure_is_retried_on_another_endpoint(rig: Rig) -> None:
    rig.apply(route("all", to="u", retries=RETRY), upstream("u", "a", "b"))
    client = rig.client()
    client.send(POST)  # nothing was sent, so any method may be tried again
    first, second = ("a", "b") if rig.origin("a").waiting else ("b", "a")
    rig.origin(first).refuse()
    rig.advance(0.1)
    origin = rig.origin(second).accept()
    assert origin.received.endswith(b"\r\n\r\nhi")
    origin.send(OK)
    assert status(client.received) == 200
    assert rig.records[0].tries == 2


def test_reset_before_a_head_is_retried_for_safe_methods(rig: Rig) -> None:
    rig.apply(route("all", to="u", retries=RETRY), upstream("u", "a", "b"))
    client = rig.client()
    client.send(GET)
    first, second = ("a", "b") if rig.origin("a").waiting else ("b", "a")
    rig.origin(first).accept().reset()
    rig.advance(0.1)
    rig.origin(second).accept().send(OK)
    assert (status(client.received), rig.records[0].tries) == (200, 2)


def test_reset_is_not_retried_for_post(rig: Rig) -> None:
    rig.apply(route("all", to="u", retries=RETRY), upstream("u", "a", "b"))
    client = rig.client()
    client.send(POST)
    first = "a" if rig.origin("a").waiting else "b"
    rig.origin(first).accept().reset()
    rig.advance(0.1)
    assert (status(client.received), rig.records[0].reason, rig.records[0].tries) == (502, "upstream.reset", 1)


def test_status_is_retried_and_the_body_sent_again(rig: Rig) -> None:
    retries = model.Retries(attempts=1, on=("503",), methods=("POST",))
    rig.apply(route("all", to="u", retries=retries), upstream("u", "a", "b"))
    client = rig.client()
    client.send(POST)
    first, second = ("a", "b") if rig.origin("a").waiting else ("b", "a")
    rig.origin(first).accept().send(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
    rig.advance(0.1)
    origin = rig.origin(second).accept()
    assert origin.received.endswith(b"\r\n\r\nhi")
    origin.send(OK)
    assert status(client.received) == 200


def test_last_failure_is_passed_on(rig: Rig) -> None:
    rig.apply(route("all", to="u", retries=model.Retries(attempts=1, on=("503",))), upstream("u", "a", "b"))
    client = rig.client()
    client.send(GET)
    for _ in range(2):
        name = "a" if rig.origin("a").waiting else "b"
        rig.origin(name).accept().send(b"HTTP/1.1 503 Nope\r\ncontent-length: 4\r\n\r\nbusy")
        rig.advance(0.1)
    assert status(client.received) == 503
    assert client.received.endswith(b"busy")


def test_stale_connection_is_replaced_at_once(rig: Rig) -> None:
    rig.apply(route("all", to="a", retries=model.Retries(attempts=0)), upstream("a"))
    client = rig.client()
    client.send(GET)
    origin = rig.origin("a").accept()
    origin.send(OK)
    client.take()
    client.send(GET)
    origin.close()  # before a byte of an answer: it had been closing when the request came
    rig.origin("a").accept().send(OK)
    assert status(client.take()) == 200


def test_stale_connection_is_not_replaced_for_post(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a"))
    client = rig.client()
    client.send(GET)
    origin = rig.origin("a").accept()
    origin.send(OK)
    client.take()
    client.send(POST)
    origin.close()
    assert status(client.take()) == 502


def test_failover_upstream_takes_over(rig: Rig) -> None:
    rig.apply(route("all", to="a", retries=model.Retries(attempts=0)), upstream("a", failover="b"), upstream("b"))
    client = rig.client()
    client.send(GET)
    rig.origin("a").refuse()
    rig.origin("b").accept().send(OK)
    assert status(client.received) == 200


def test_no_first_byte_in_time_is_504(rig: Rig) -> None:
    rig.apply(route("all", to="a", timeouts=model.Timeouts(first_byte=1.0)), upstream("a"))
    client = rig.client()
    client.send(GET)
    origin = rig.origin("a").accept()
    rig.advance(1.2)
    assert (status(client.received), rig.records[0].reason) == (504, "upstream.timeout")
    assert origin.closed


def test_total_time_is_504(rig: Rig) -> None:
    rig.apply(route("all", to="a", timeout=2.0), upstream("a"))
    client = rig.client()
    client.send(GET)
    rig.origin("a").accept()
    rig.advance(2.2)
    assert (status(client.received), rig.records[0].reason) == (504, "route.timeout")


def test_total_time_while_waiting_for_a_connection(rig: Rig) -> None:
    rig.apply(route("all", to="a", timeout=1.0), upstream("a"))
    client = rig.client()
    client.send(GET)
    rig.advance(1.2)
    assert (status(client.received), rig.records[0].reason) == (504, "route.timeout")
    rig.origin("a").accept()  # comes too late, and is kept for the next request
    client.send(GET)
    assert rig.origin("a").waiting == 0


def test_origin_that_stops_sending_truncates(rig: Rig) -> None:
    rig.apply(route("all", to="a", timeouts=model.Timeouts(idle=1.0)), upstream("a"))
    client = rig.client()
    client.send(GET)
    rig.origin("a").accept().send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab")
    rig.advance(1.2)
    assert client.aborted
    assert rig.records[0].reason == "upstream.idle_timeout"


def test_origin_that_closes_early_truncates(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a"))
    client = rig.client()
    client.send(GET)
    rig.origin("a").accept().send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab")
    rig.origin("a").connections[0].close()
    assert client.aborted
    assert rig.records[0].reason == "upstream.truncated"


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\x00b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000,
    ],
)
def test_malformed_responses_are_502(rig: Rig, response: bytes) -> None:
    rig.apply(route("all", to="a"), upstream("a"))
    client = rig.client()
    client.send(GET)
    origin = rig.origin("a").accept()
    origin.send(response)
    assert (status(client.received), rig.records[0].reason) == (502, "upstream.malformed")
    assert origin.closed


def test_malformed_chunk_truncates(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a"))
    client = rig.client()
    client.send(GET)
    rig.origin("a").accept().send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")
    assert client.aborted


def test_pool_is_bounded_and_waiting_ends(rig: Rig) -> None:
    pool = model.Pool(max_connections=1, max_waiting=1, wait_timeout=1.0)
    rig.apply(route("all", to="a"), upstream("a", pool=pool))
    clients = [rig.client() for _ in range(3)]
    for client in clients:
        client.send(GET)
    assert status(clients[2].received) in {0, 503}
    origin = rig.origin("a").accept()
    assert rig.origin("a").waiting == 0
    rig.advance(1.2)
    refused = [client for client in clients if status(client.received) == 503]
    assert len(refused) == 2
    assert {record.reason for record in rig.records} == {"upstream.overloaded"}
    origin.send(OK)


def test_waiter_gets_a_connection_that_is_given_back(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a", pool=model.Pool(max_connections=1)))
    one, two = rig.client(), rig.client()
    one.send(GET)
    two.send(b"GET /two HTTP/1.1\r\nhost: x\r\n\r\n")
    origin = rig.origin("a").accept()
    origin.take()
    origin.send(OK)
    assert origin.take().startswith(b"GET /two ")
    origin.send(OK)
    assert status(two.received) == 200


def test_slow_head_is_408(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a"))
    client = rig.client()
    client.send(b"GET / HTTP/1.1\r\nho")
    rig.advance(11)
    assert status(client.received) == 408
    rig.advance(3)  # what the client may still be sending is read first, so that it sees the answer
    assert client.closed


def test_trickled_head_is_408(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a"))
    client = rig.client()
    for octet in b"GET / HTTP/1.1\r\nhost: ":
        client.send(bytes([octet]))
        rig.advance(1)
    assert status(client.received) == 408


def test_slow_body_is_408(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a"))
    client = rig.client()
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab")
    rig.origin("a").accept()
    rig.advance(31)
    assert (status(client.received), rig.records[0].reason) == (408, "request.body_timeout")


def test_idle_connection_is_closed_without_a_word(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a"))
    client = rig.client()
    client.send(GET)
    rig.origin("a").accept().send(OK)
    client.take()
    rig.advance(80)
    assert client.closed
    assert client.take() == b""


def test_client_that_never_reads_is_given_up(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a"))
    client = rig.client()
    client.stall()
    client.send(GET)
    rig.origin("a").accept().send(b"HTTP/1.1 200 OK\r\ncontent-length: 900000\r\n\r\n" + b"x" * 100_000)
    rig.advance(80)
    assert client.closed
    assert rig.records[0].reason == "client.stalled"


class Config(PolicyConfig):
    pass


class Slow(Policy[Config]):
    """Waits for the test in both phases."""

    name, stage, config = "slow", "limit", Config
    waits: list[Waiting]

    def on_request(self, ex: ExchangeView) -> Outcome:
        return self._wait()

    def on_response(self, ex: ExchangeView) -> Outcome:
        return self._wait()

    async def _wait(self) -> Any:
        waiting = Waiting()
        self.waits.append(waiting)
        return await waiting


@pytest.fixture
def slow(rig: Rig) -> list[Waiting]:
    Slow.waits = []
    rig.add_policy(Slow)
    rig.apply(route("all", to="a", policies={"slow": {}}), upstream("a"))
    return Slow.waits


def test_policy_may_wait_in_both_phases(rig: Rig, slow: list[Waiting]) -> None:
    client = rig.client()
    client.send(POST)
    assert rig.origin("a").waiting == 0
    slow[0].complete()
    origin = rig.origin("a").accept()
    assert origin.received.endswith(b"\r\n\r\nhi")
    origin.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
    origin.send(b"k")
    assert client.received == b""
    slow[1].complete()
    rig.settle()
    assert client.received.endswith(b"\r\n\r\nok")


def test_policy_may_answer_after_waiting(rig: Rig, slow: list[Waiting]) -> None:
    client = rig.client()
    client.send(GET)
    slow[0].complete(Reply(403, "slow.no"))
    slow[1].complete()
    assert (status(client.received), rig.records[0].reason) == (403, "slow.no")


def test_client_leaves_while_a_policy_waits(rig: Rig, slow: list[Waiting]) -> None:
    client = rig.client()
    client.send(GET)
    client.reset()
    slow[0].complete()
    assert rig.records[0].reason == "client.gone"
    assert rig.origin("a").waiting == 0


def test_origin_ends_while_a_response_policy_waits(rig: Rig, slow: list[Waiting]) -> None:
    client = rig.client()
    client.send(GET)
    slow[0].complete()
    rig.origin("a").accept().send(OK)
    slow[1].complete(Reply(500, "slow.late"))
    slow[2].complete() if len(slow) > 2 else None
    assert status(client.received) == 500


class Broken(Policy[Config]):
    """Raises."""

    name, stage, config = "broken", "limit", Config

    def on_request(self, ex: ExchangeView) -> Outcome:
        raise RuntimeError("boom")


def test_bug_in_a_hook_answers_500_and_serves_on(rig: Rig) -> None:
    rig.add_policy(Broken)
    rig.registry.sources["broken"] = "test"
    rig.apply(route("bad", "/bad", to="a", policies={"broken": {}}), route("all", to="a"), upstream("a"))
    client = rig.client()
    client.send(b"GET /bad HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (status(client.take()), rig.records[0].reason) == (500, "plugin.broken.failed")
    client.send(GET)
    rig.origin("a").accept().send(OK)
    assert status(client.take()) == 200


def test_new_configuration_keeps_what_runs(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a"), upstream("b"))
    client = rig.client()
    client.send(GET)
    origin = rig.origin("a").accept()
    rig.apply(route("all", to="b"), upstream("b"))
    origin.send(OK)
    assert status(client.take()) == 200
    client.send(GET)
    rig.origin("b").accept().send(OK)
    assert status(client.take()) == 200


def test_what_a_drain_breaks_off_is_logged_as_such(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a"))
    client = rig.client()
    client.send(GET)
    origin = rig.origin("a").accept()
    for listener in rig._listeners.values():
        listener.abort()
    rig.settle()
    assert client.closed
    assert origin.closed
    assert rig.records[0].reason == "listener.draining"


def test_response_with_two_content_types_passes(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a"))
    client = rig.client()
    client.send(GET)
    rig.origin("a").accept().send(
        b"HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-type: c/d\r\ncontent-length: 2\r\n\r\nok"
    )
    assert status(client.received) == 200
