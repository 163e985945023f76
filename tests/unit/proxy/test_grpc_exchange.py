"""gRPC calls through the exchange: deadlines, outcomes, retries, and what happens in which order.

The client's side is a list of what it was told; the endpoint speaks HTTP/1.1, which the exchange does not know.
"""

from __future__ import annotations

from typing import Any

import pytest

from gatewright.http.forwarding import Origin
from gatewright.http.head import HTTP2, RequestHead, ResponseHead
from gatewright.http.headers import Fields, Headers, Pair
from gatewright.proxy.families import GRPC_REQUESTS
from gatewright.proxy.grpc_exchange import GrpcExchange
from gatewright.sdk import ExchangeView, Outcome, Policy, PolicyConfig, Reply
from gatewright.snapshot import model
from gatewright.testing.rig import Rig, Waiting, route, upstream
from gatewright.wire.h1 import CHUNKED

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
ENDED = b"0\r\ngrpc-status: %d\r\nx-more: yes\r\n\r\n"
UNAVAILABLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 14\r\ncontent-length: 0\r\n\r\n"


class Caller:
    """The client's side of one call: notes what it is told."""

    def __init__(
        self, rig: Rig, timeout: bytes | None = None, path: bytes = b"/pkg.Service/Method", **fields: bytes
    ) -> None:
        assert rig.runtime is not None
        pairs = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
        if timeout is not None:
            pairs.append((b"grpc-timeout", timeout))
        pairs += [(name.replace("_", "-").encode(), value) for name, value in fields.items()]
        request = RequestHead(b"POST", path, path, None, b"x", b"x", b"http", HTTP2, Headers(Fields(pairs)))
        origin = Origin("127.0.0.1", b"http", b"")
        self.rig = rig
        self.head: ResponseHead | None = None
        self.body = b""
        self.trailers: tuple[Pair, ...] | None = None
        self.events: list[str] = []
        self.deadline: float | None = None
        self.call = GrpcExchange(rig.world, self, rig.runtime.listeners["public"], request, origin, CHUNKED)  # type: ignore[arg-type]

    def begin(self, message: bytes = b"hi", *, whole: bool = True) -> Caller:
        self.call.begin()
        if message:
            self.call.on_request_body(message)
        if whole:
            self.call.on_request_end(())
        if self.call.conn is not None:
            self.call.conn.flush()
        return self

    def advance(self, seconds: float) -> None:
        """As the client's connection does when its deadline has come."""
        self.rig.advance(seconds)
        if self.deadline is not None and self.rig.clock.now >= self.deadline and not self.call.ended:
            self.call.on_time_over()

    def field(self, name: bytes) -> bytes | None:
        """Of the head, or of the trailers."""
        found = self.head.headers.get(name) if self.head is not None else None
        return found if found is not None else dict(self.trailers or ()).get(name)

    @property
    def status(self) -> int:
        return int(self.field(b"grpc-status") or -1)

    @property
    def outcome(self) -> tuple[int, str, str]:
        """Of the record: status over HTTP, status of the call, reason."""
        assert [self.call] == [each for each in self.rig.records if each is self.call]
        return self.call.status, self.call.grpc_status, self.call.reason

    # --- what the exchange calls ----------------------------------------------------------------------------------

    def send_head(self, response: ResponseHead, framing: int) -> None:
        assert self.head is None
        self.head = response
        self.events.append("head")

    def send_body(self, data: bytes) -> None:
        assert self.trailers is None
        self.body += data

    def send_end(self, trailers: tuple[Pair, ...]) -> None:
        assert self.trailers is None
        self.trailers = trailers
        self.events.append("end")

    def abort(self) -> None:
        self.events.append("abort")

    def done(self) -> None:
        self.events.append("done")

    def limit(self, at: float) -> None:
        self.deadline = at

    def flush(self) -> None:
        pass

    def pause_request(self) -> None:
        pass

    def resume_request(self) -> None:
        pass


def serve(rig: Rig, *endpoints: str, **options: Any) -> None:
    retries = options.pop("retries", model.Retries(attempts=0))
    ups = options.pop("upstream", {})
    rig.apply(route("all", to="u", retries=retries, **options), upstream("u", *(endpoints or ("a",)), **ups))


def calls(rig: Rig) -> dict[str, float]:
    return {key.partition("\x1f")[2]: value for key, value in rig.stats.counter(GRPC_REQUESTS).drain().items()}


# --- deadlines ---------------------------------------------------------------------------------------------------------


def test_a_call_and_its_outcome(rig: Rig) -> None:
    serve(rig)
    caller = Caller(rig).begin()
    origin = rig.origin("a").accept()
    assert origin.received.endswith(b"2\r\nhi\r\n0\r\n\r\n")
    assert b"grpc-timeout" not in origin.received
    origin.send(ANSWER)
    origin.send(ENDED % 0)
    assert (caller.body, caller.trailers) == (b"hello", ((b"grpc-status", b"0"), (b"x-more", b"yes")))
    assert caller.outcome == (200, "OK", "")
    assert caller.events == ["head", "end", "done"]
    assert calls(rig) == {"all\x1f\x1fOK": 1}


def test_the_clients_deadline_goes_on_in_its_own_words(rig: Rig) -> None:
    serve(rig)
    caller = Caller(rig, b"5S").begin()
    assert b"\r\ngrpc-timeout: 5S\r\n" in rig.origin("a").accept().received
    caller.call.on_client_gone()
    assert caller.deadline == caller.call.started + 5.0


@pytest.mark.parametrize(
    ("theirs", "ours", "sent"),
    [(b"5S", 2.0, b"2000m"), (None, 2.0, b"2000m"), (b"500m", 2.0, b"500m"), (b"1H", 0.25, b"250000u")],
)
def test_the_routes_time_shortens_the_deadline(rig: Rig, theirs: bytes | None, ours: float, sent: bytes) -> None:
    serve(rig, timeout=ours)
    caller = Caller(rig, theirs).begin()
    assert b"\r\ngrpc-timeout: %b\r\n" % sent in rig.origin("a").accept().received
    caller.call.on_client_gone()


def test_the_upstreams_total_time_shortens_it_where_the_route_says_nothing(rig: Rig) -> None:
    serve(rig, upstream={"timeouts": model.Timeouts(total=2.0)})
    caller = Caller(rig, b"5S").begin()
    assert b"\r\ngrpc-timeout: 2000m\r\n" in rig.origin("a").accept().received
    caller.advance(2.1)
    assert caller.outcome == (504, "DEADLINE_EXCEEDED", "route.timeout")


def test_what_has_gone_by_is_taken_off(rig: Rig) -> None:
    serve(rig)
    caller = Caller(rig, b"5S").begin()
    rig.advance(1.0)  # the connection takes its time
    assert b"\r\ngrpc-timeout: 4000m\r\n" in rig.origin("a").accept().received
    caller.call.on_client_gone()


@pytest.mark.parametrize(("timeout", "reason"), [(b"1S", "client.deadline"), (None, "route.timeout")])
def test_the_gateway_ends_a_call_at_its_deadline(rig: Rig, timeout: bytes | None, reason: str) -> None:
    serve(rig, timeout=3.0)
    caller = Caller(rig, timeout).begin()
    origin = rig.origin("a").accept()
    caller.advance(0.9)
    assert caller.events == []
    caller.advance(3.0)
    assert caller.events == ["head", "end", "done"]
    assert (caller.status, caller.head.status if caller.head else 0) == (4, 200)
    assert caller.outcome == (504, "DEADLINE_EXCEEDED", reason)
    assert origin.aborted  # HTTP/1.1 has no other way to say that nobody waits any more
    assert rig.runtime is not None
    assert rig.runtime.upstreams["u"].endpoints[0].record.failures == 0


def test_a_deadline_that_has_passed_on_arrival_asks_nobody(rig: Rig) -> None:
    serve(rig)
    caller = Caller(rig, b"0m").begin(whole=False)
    assert caller.outcome == (504, "DEADLINE_EXCEEDED", "client.deadline")
    assert not rig.origin("a").waiting


def test_a_malformed_deadline_is_refused(rig: Rig) -> None:
    serve(rig)
    caller = Caller(rig, b"5s").begin(whole=False)
    assert caller.outcome == (400, "INVALID_ARGUMENT", "request.grpc_timeout")
    assert caller.status == 3
    assert not rig.origin("a").waiting


def test_a_deadline_in_the_middle_of_the_answer_ends_it_with_trailers(rig: Rig) -> None:
    serve(rig)
    caller = Caller(rig, b"1S").begin()
    rig.origin("a").accept().send(ANSWER)
    caller.advance(1.1)
    assert caller.body == b"hello"
    assert dict(caller.trailers or ())[b"grpc-status"] == b"4"
    assert caller.events == ["head", "end", "done"]
    assert caller.outcome == (200, "DEADLINE_EXCEEDED", "client.deadline")


def test_an_answer_at_the_last_moment_is_an_answer(rig: Rig) -> None:
    serve(rig)
    caller = Caller(rig, b"1S").begin()
    origin = rig.origin("a").accept()
    rig.advance(1.1)  # the wheel turns after the bytes have come
    origin.send(ANSWER + ENDED % 0)
    caller.call.on_time_over()
    assert caller.outcome == (200, "OK", "")
    assert caller.events == ["head", "end", "done"]


# --- what ends a call early -------------------------------------------------------------------------------------------


def test_no_route(rig: Rig) -> None:
    rig.apply(route("all", "/other", to="u"), upstream("u", "a"))
    caller = Caller(rig).begin(whole=False)
    assert caller.outcome == (404, "UNIMPLEMENTED", "route.none")
    assert (caller.status, caller.body, caller.trailers) == (12, b"", ())
    message = caller.field(b"grpc-message") or b""
    assert message.startswith(b"route.none: No route matches (request ")
    assert caller.field(b"content-type") == b"application/grpc"
    assert caller.field(b"content-length") is None


class Config(PolicyConfig):
    pass


class Wait(Policy[Config]):
    """Waits for the test, and adds a field to every answer."""

    name, stage, config = "wait", "limit", Config
    waiting: Waiting

    def on_request(self, ex: ExchangeView) -> Outcome:
        return self._wait()

    def on_response(self, ex: ExchangeView) -> Outcome:
        if ex.response is not None:
            ex.response.headers.set(b"retry-after", b"7")
        return None

    async def _wait(self) -> Any:
        Wait.waiting = Waiting()
        return await Wait.waiting


def test_a_policys_answer_tells_grpc_when_to_come_back(rig: Rig) -> None:
    rig.add_policy(Wait)
    serve(rig, policies={"wait": {}})
    caller = Caller(rig).begin()
    Wait.waiting.complete(Reply(429, "wait.no", detail="Later"))
    assert caller.outcome == (429, "RESOURCE_EXHAUSTED", "wait.no")
    assert (caller.field(b"retry-after"), caller.field(b"grpc-retry-pushback-ms")) == (b"7", b"7000")


def test_a_deadline_passes_while_a_policy_waits(rig: Rig) -> None:
    rig.add_policy(Wait)
    serve(rig, policies={"wait": {}})
    caller = Caller(rig, b"1S").begin()
    caller.advance(1.1)
    assert caller.outcome == (504, "DEADLINE_EXCEEDED", "client.deadline")
    Wait.waiting.complete(None)
    rig.settle()
    assert caller.events == ["head", "end", "done"]


@pytest.mark.parametrize("begun", [False, True])
def test_the_client_cancels(rig: Rig, begun: bool) -> None:
    serve(rig)
    caller = Caller(rig).begin()
    origin = rig.origin("a").accept()
    if begun:
        origin.send(ANSWER)
    caller.call.on_client_gone()
    assert caller.outcome == (200 if begun else 499, "CANCELLED", "client.gone")
    assert origin.aborted
    caller.call.on_time_over()
    caller.call.on_client_gone()
    assert caller.events == [*(["head"] if begun else []), "done"]


@pytest.mark.parametrize(
    ("gone", "outcome"),
    [(1.0, (499, "CANCELLED", "client.gone")), (1.95, (504, "DEADLINE_EXCEEDED", "client.deadline"))],
)
def test_a_client_that_gives_up_at_its_deadline_has_not_just_gone(
    rig: Rig, gone: float, outcome: tuple[int, str, str]
) -> None:
    serve(rig)
    caller = Caller(rig, b"2S").begin()
    rig.origin("a").accept()
    rig.advance(gone)
    caller.call.on_client_gone()
    assert caller.outcome == outcome


@pytest.mark.parametrize(("reset", "status"), [(-1, 14), (7, 14), (8, 1), (11, 8), (2, 13)])
@pytest.mark.parametrize("begun", [False, True])
def test_the_endpoint_resets(rig: Rig, reset: int, status: int, begun: bool) -> None:
    serve(rig)
    caller = Caller(rig).begin()
    origin = rig.origin("a").accept()
    if begun:
        origin.send(ANSWER)
    caller.call.reset_code = reset
    origin.reset()
    reason = "upstream.truncated" if begun else "upstream.reset"
    assert (caller.status, caller.call.reason) == (status, reason)
    assert caller.events == ["head", "end", "done"]


def test_trailers_that_say_nothing_are_unknown(rig: Rig) -> None:
    serve(rig)
    caller = Caller(rig).begin()
    rig.origin("a").accept().send(ANSWER + b"0\r\n\r\n")
    assert caller.outcome == (200, "UNKNOWN", "")
    assert caller.trailers == ()


def test_an_answer_that_is_not_grpc_passes_as_it_is(rig: Rig) -> None:
    serve(rig)
    caller = Caller(rig).begin()
    rig.origin("a").accept().send(b"HTTP/1.1 502 No\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\n<p")
    assert (caller.head.status if caller.head else 0, caller.body) == (502, b"<p")
    assert caller.outcome == (502, "UNAVAILABLE", "")


# --- bodies ------------------------------------------------------------------------------------------------------------


def test_a_stream_of_messages_has_no_end_that_a_listener_sets(rig: Rig) -> None:
    rig.apply(
        route("all", to="u"),
        upstream("u", "a"),
        model.Listener("public", "127.0.0.1:0", limits=model.Limits(body=10)),
    )
    caller = Caller(rig).begin(b"x" * 100)
    assert rig.origin("a").accept().received.endswith(b"x" * 100 + b"\r\n0\r\n\r\n")
    caller.call.on_client_gone()


def test_a_route_may_limit_it(rig: Rig) -> None:
    serve(rig, max_body=10)
    caller = Caller(rig).begin(b"x" * 11, whole=False)
    assert caller.outcome == (413, "RESOURCE_EXHAUSTED", "request.body_too_large")


# --- retries and health -----------------------------------------------------------------------------------------------

AGAIN = model.Retries(attempts=1, on=("grpc_unavailable",), backoff=0.01)


def names(rig: Rig) -> tuple[str, str]:
    return ("a", "b") if rig.origin("a").waiting else ("b", "a")


def test_a_status_is_tried_again_elsewhere(rig: Rig) -> None:
    serve(rig, "a", "b", retries=AGAIN)
    caller = Caller(rig, b"5S").begin()
    first, second = names(rig)
    rig.origin(first).accept().send(UNAVAILABLE)
    assert caller.events == []
    rig.advance(0.1)
    origin = rig.origin(second).accept()
    assert origin.received.endswith(b"2\r\nhi\r\n0\r\n\r\n")
    left = int(origin.received.partition(b"grpc-timeout: ")[2].partition(b"m\r\n")[0])
    assert 4800 <= left < 5000  # what is left, not what was asked for
    origin.send(ANSWER + ENDED % 0)
    assert caller.outcome == (200, "OK", "")
    assert caller.call.tries == 2
    assert calls(rig) == {"all\x1f\x1fOK": 1}


def test_the_last_answer_is_passed_on(rig: Rig) -> None:
    serve(rig, "a", "b", retries=AGAIN)
    caller = Caller(rig).begin()
    first, second = names(rig)
    rig.origin(first).accept().send(UNAVAILABLE)
    rig.advance(0.1)
    rig.origin(second).accept().send(UNAVAILABLE)
    assert (caller.status, caller.outcome) == (14, (200, "UNAVAILABLE", ""))
    assert caller.call.tries == 2


@pytest.mark.parametrize(
    ("on", "answer"),
    [
        (("grpc_internal",), UNAVAILABLE),
        (("reset", "503"), UNAVAILABLE),
        (("grpc_unavailable",), ANSWER + ENDED % 14),  # something has been passed on
    ],
)
def test_what_is_not_tried_again(rig: Rig, on: tuple[str, ...], answer: bytes) -> None:
    serve(rig, "a", "b", retries=model.Retries(attempts=1, on=on))
    caller = Caller(rig).begin()
    rig.origin(names(rig)[0]).accept().send(answer)
    assert caller.outcome == (200, "UNAVAILABLE", "")
    assert caller.call.tries == 1


def test_a_body_that_is_gone_is_not_sent_again(rig: Rig) -> None:
    serve(rig, "a", "b", retries=AGAIN)
    caller = Caller(rig).begin(b"", whole=False)
    origin = rig.origin(names(rig)[0]).accept()
    caller.call.on_request_body(b"x" * 70_000)
    origin.send(UNAVAILABLE)
    assert caller.outcome == (200, "UNAVAILABLE", "")


def test_a_reset_is_tried_again_as_the_status_it_stands_for(rig: Rig) -> None:
    serve(rig, "a", "b", retries=AGAIN)
    caller = Caller(rig).begin()
    first, second = names(rig)
    rig.origin(first).accept().reset()
    rig.advance(0.1)
    rig.origin(second).accept().send(ANSWER + ENDED % 0)
    assert caller.outcome == (200, "OK", "")


def test_other_requests_are_not_tried_again_by_status_of_calls(rig: Rig) -> None:
    serve(rig, "a", "b", retries=AGAIN)
    client = rig.client()
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi")
    rig.origin(names(rig)[0]).accept().send(UNAVAILABLE)
    assert b"\r\ngrpc-status: 14\r\n" in client.received
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi")
    rig.origin("a").connections[-1].reset() if rig.origin("a").connections else None
    rig.origin("b").connections[-1].reset() if rig.origin("b").connections else None
    for name in "ab":
        while rig.origin(name).waiting:
            rig.origin(name).accept().reset()
    assert rig.records[-1].tries == 1


def test_a_deadline_passes_between_two_tries(rig: Rig) -> None:
    serve(rig, "a", "b", retries=model.Retries(attempts=1, on=("grpc_unavailable",), backoff=5.0, max_backoff=5.0))
    caller = Caller(rig, b"1S").begin()
    rig.origin(names(rig)[0]).accept().send(UNAVAILABLE)
    caller.advance(1.1)
    assert caller.outcome == (504, "DEADLINE_EXCEEDED", "client.deadline")
    rig.advance(10)
    assert caller.events == ["head", "end", "done"]


@pytest.mark.parametrize(
    ("status", "timeout", "failures"),
    [
        (0, None, 0), (2, None, 1), (4, None, 1), (4, b"5S", 0), (5, None, 0), (8, None, 0), (12, None, 0), (13, None, 1),
        (14, None, 1), (15, None, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("only", [False, True])
def test_what_speaks_against_an_endpoint(
    rig: Rig, status: int, timeout: bytes | None, failures: int, only: bool
) -> None:
    """A deadline that a client has chosen says nothing: else clients could have endpoints ejected."""
    serve(rig)
    caller = Caller(rig, timeout).begin()
    answer = UNAVAILABLE.replace(b"14", b"%d" % status) if only else ANSWER + ENDED % status
    rig.origin("a").accept().send(answer)
    assert caller.call.ended
    assert rig.runtime is not None
    assert rig.runtime.upstreams["u"].endpoints[0].record.failures == failures


def test_failover_when_the_retries_are_used_up(rig: Rig) -> None:
    rig.apply(route("all", to="u"), upstream("u", "a", failover="f", retries=AGAIN), upstream("f", retries=AGAIN))
    caller = Caller(rig).begin()
    origin = rig.origin("a").accept()
    origin.send(UNAVAILABLE)
    rig.advance(0.1)
    rig.origin("a").accept().send(UNAVAILABLE)
    rig.origin("f").accept().send(ANSWER + ENDED % 0)
    assert caller.outcome == (200, "OK", "")


# --- what is counted --------------------------------------------------------------------------------------------------


def test_methods_are_counted_where_the_route_says_so(rig: Rig) -> None:
    serve(rig, grpc_methods=True)
    for status in (0, 12):
        Caller(rig).begin()
        (rig.origin("a").accept() if rig.origin("a").waiting else rig.origin("a").connections[-1]).send(
            ANSWER + ENDED % status
        )
    assert calls(rig) == {"all\x1fpkg.Service/Method\x1fOK": 1, "all\x1f_other\x1fUNIMPLEMENTED": 1}
