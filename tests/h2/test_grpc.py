"""gRPC calls, frame by frame: what goes to either side, and in which order things may happen."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.h2.actors import Bench, H2Call, H2Client, H2Serving

from gatewright.proxy import grpc
from gatewright.snapshot import model
from gatewright.testing.rig import Rig

FIELDS = ((b"content-type", b"application/grpc+proto"), (b"te", b"trailers"), (b"user-agent", b"grpc-test/1"))
ANSWER = (b"content-type", b"application/grpc")
MESSAGE = b"\0\0\0\0\2hi"
NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 0, 2, 7, 8, 11


def begin(bench: Bench, *fields: tuple[bytes, bytes], path: bytes = b"/pkg.Service/Method") -> H2Call:
    call = bench.call(b"POST", path, *FIELDS, *fields, streams=True)
    assert isinstance(call, H2Call)
    return call


def whole(bench: Bench, *fields: tuple[bytes, bytes]) -> tuple[H2Call, H2Serving]:
    """A call with its message, and where it has arrived."""
    call = begin(bench, *fields)
    call.send(MESSAGE)
    call.end()
    serving = bench.serving()
    assert isinstance(serving, H2Serving)
    return call, serving


def status(call: H2Call) -> int | None:
    """Of the call, from the trailers or the only head."""
    value = dict(call.trailers or call.fields).get(b"grpc-status")
    return None if value is None else int(value)


def bench_of(rig: Rig, **options: Any) -> Bench:
    return Bench(rig, "h2", "h2", **{"retries": model.Retries(attempts=0), **options})


def advance(bench: Bench, seconds: float) -> None:
    bench.rig.advance(seconds)
    bench.settle()


# --- what passes ------------------------------------------------------------------------------------------------------


def test_a_call_as_the_endpoint_sees_it(rig: Rig) -> None:
    bench = bench_of(rig)
    _, serving = whole(bench, (b"x-key-bin", b"AAE"), (b"x-key-bin", b"AgM"), (b"grpc-timeout", b"3S"))
    assert (serving.method, serving.target, serving.body, serving.ended) == (
        b"POST",
        b"/pkg.Service/Method",
        MESSAGE,
        True,
    )
    assert serving.get(b"te") == b"trailers"
    assert serving.get(b"content-type") == b"application/grpc+proto"
    assert serving.get(b"user-agent") == b"grpc-test/1"
    assert serving.get(b"grpc-timeout") == b"3S"
    assert serving.all(b"x-key-bin") == [b"AAE", b"AgM"]
    serving.reset()


def test_an_answer_as_the_client_sees_it(rig: Rig) -> None:
    call, serving = whole(bench_of(rig))
    serving.respond(200, ANSWER, (b"x-first", b"1"))
    assert (call.status, call.get(b"x-first")) == (200, b"1")  # the head goes before there is a message
    serving.send(MESSAGE)
    assert (call.body, call.ended) == (MESSAGE, False)
    serving.end((b"grpc-status", b"0"), (b"x-last-bin", b"AAE"))
    assert (call.trailers, call.ended) == (((b"grpc-status", b"0"), (b"x-last-bin", b"AAE")), True)
    assert rig.records[0].grpc_status == "OK"


def test_nothing_but_trailers_stays_that(rig: Rig) -> None:
    """Clients take a status in the head only when the head ends the stream."""
    call, serving = whole(bench_of(rig))
    serving.respond(200, ANSWER, (b"grpc-status", b"5"), (b"grpc-message", b"no"), body=b"")
    assert (call.get(b"grpc-status"), call.get(b"grpc-message"), call.ended) == (b"5", b"no", True)
    assert (call.body, call.trailers) == (b"", ())
    assert rig.records[0].grpc_status == "NOT_FOUND"


def test_the_gateways_own_answer_is_one_head(rig: Rig) -> None:
    bench = bench_of(rig)
    call = begin(bench, (b"grpc-timeout", b"1 S"))
    assert (call.status, call.ended, call.body, call.trailers) == (200, True, b"", ())
    assert call.get(b"grpc-status") == b"3"
    assert call.get(b"content-type") == b"application/grpc"
    assert not call.all(b"content-length")
    assert not bench.endpoint.servings


def test_a_request_with_another_method_is_no_call(rig: Rig) -> None:
    bench = bench_of(rig, timeout=1.0)
    call = bench.call(b"GET", b"/", *FIELDS)
    assert isinstance(call, H2Call)
    advance(bench, 1.2)
    assert (call.status, rig.records[0].protocol) == (504, "http2")


def test_a_call_that_cannot_be_read_is_refused_in_its_words(rig: Rig) -> None:
    """Known by its fields, or by what came before on the connection."""
    bench = bench_of(rig)
    many = tuple((b"x-%d" % n, b"") for n in range(200))
    call = begin(bench, *many)
    assert (call.get(b"grpc-status"), call.ended, call.body) == (b"8", True, b"")
    assert (call.get(b"grpc-message") or b"").startswith(b"request.headers_too_large: ")
    long = begin(bench, (b"x-long", b"x" * 70_000))
    assert (long.get(b"grpc-status"), long.ended) == (b"8", True)
    expecting = begin(bench, (b"expect", b"miracles"))
    assert (expecting.get(b"grpc-status"), expecting.ended) == (b"9", True)
    assert not bench.endpoint.servings


# --- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [False, True])
def test_a_cancelled_call_is_cancelled_at_the_endpoint(rig: Rig, begun: bool) -> None:
    call, serving = whole(bench_of(rig))
    if begun:
        serving.respond(200, ANSWER)
        serving.send(MESSAGE)
    call.cancel()
    assert serving.heard.reset == CANCEL
    assert rig.records[0].grpc_status == "CANCELLED"


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    ("code", "name"),
    [
        (INTERNAL_ERROR, "INTERNAL"),
        (CANCEL, "CANCELLED"),
        (ENHANCE_YOUR_CALM, "RESOURCE_EXHAUSTED"),
        (NO_ERROR, "INTERNAL"),
    ],
)
def test_a_reset_of_the_endpoint_is_a_status(rig: Rig, code: int, name: str, begun: bool) -> None:
    call, serving = whole(bench_of(rig))
    if begun:
        serving.respond(200, ANSWER)
        serving.send(MESSAGE)
    serving.oracle.reset(serving.heard, code)
    serving.bench.settle()
    assert (status(call), call.ended, call.heard.reset) == (grpc.NAMES.index(name), True, None)
    assert call.body == (MESSAGE if begun else b"")
    assert rig.records[0].grpc_status == name


def test_a_refused_stream_is_tried_again_and_then_unavailable(rig: Rig) -> None:
    bench = bench_of(rig, retries=model.Retries(attempts=1, on=()))
    call, serving = whole(bench)
    for _ in range(10):
        if call.ended:
            break
        serving.oracle.reset(serving.heard, REFUSED_STREAM)
        bench.settle()
        serving = bench.serving()  # type: ignore[assignment]
    assert (status(call), rig.records[0].tries) == (grpc.UNAVAILABLE, 4)


def test_a_connection_that_breaks_ends_its_calls_as_unavailable(rig: Rig) -> None:
    bench = bench_of(rig)
    first, serving = whole(bench)
    serving.respond(200, ANSWER)
    second, _ = whole(bench)
    rig.origin("a").connections[0].reset()
    bench.settle()
    assert [status(first), status(second)] == [grpc.UNAVAILABLE] * 2
    assert first.ended
    assert second.ended


def test_a_deadline_ends_both_sides(rig: Rig) -> None:
    bench = bench_of(rig)
    call, serving = whole(bench, (b"grpc-timeout", b"2S"))
    serving.respond(200, ANSWER)
    advance(bench, 2.2)
    assert (status(call), call.ended) == (grpc.DEADLINE_EXCEEDED, True)
    assert serving.heard.reset == CANCEL


def test_a_deadline_while_the_client_takes_nothing(rig: Rig) -> None:
    """The status waits behind the messages that wait for a window."""
    bench = bench_of(rig)
    call, serving = whole(bench, (b"grpc-timeout", b"2S"))
    bench.client.stall()
    serving.respond(200, ANSWER)
    serving.send(b"x" * 300_000)
    advance(bench, 2.2)
    assert serving.heard.reset == CANCEL
    assert not call.ended
    bench.client.unstall()
    bench.settle()
    assert (status(call), call.ended) == (grpc.DEADLINE_EXCEEDED, True)
    assert set(call.body) == {ord("x")}


def test_an_endpoint_that_ends_early_needs_no_more_of_the_request(rig: Rig) -> None:
    bench = bench_of(rig)
    call = begin(bench)
    call.send(MESSAGE)
    serving = bench.serving()
    serving.respond(200, ANSWER, (b"grpc-status", b"8"), body=b"")
    assert (status(call), call.ended) == (8, True)
    advance(bench, 2.0)
    assert call.heard.reset == NO_ERROR


def test_a_quiet_stream_stays_open(rig: Rig) -> None:
    """Longer than a client may take for the body of another request."""
    bench = bench_of(rig, timeouts=model.Timeouts(idle=10_000.0, first_byte=10_000.0))
    call = begin(bench)
    call.send(MESSAGE)
    serving = bench.serving()
    serving.respond(200, ANSWER)
    serving.send(MESSAGE)
    for _ in range(20):
        advance(bench, 15.0)  # asked whether they are there, both answer
    call.send(MESSAGE)
    call.end()
    serving.send(MESSAGE)
    serving.end((b"grpc-status", b"0"))
    assert (serving.body, call.body, status(call)) == (2 * MESSAGE, 2 * MESSAGE, 0)


# --- any order --------------------------------------------------------------------------------------------------------


class Calls(RuleBasedStateMachine):
    """Deadlines, answers, resets, cancellation and retries in any order.

    Each call leaves one record. A client that has not cancelled sees one end: a status, and nothing behind it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        retries = model.Retries(
            attempts=2, on=("reset", "grpc_unavailable", "grpc_cancelled"), budget=1.0, backoff=0.01
        )
        self.bench = Bench(self.rig, "h2", "h2", timeout=20.0, retries=retries)
        self.calls: list[H2Call] = []
        self.cancelled: set[int] = set()
        self.done: set[int] = set()

    def servings(self) -> list[H2Serving]:
        return [
            each
            for each in self.bench.endpoint.servings
            if isinstance(each, H2Serving) and each.heard.reset is None and not each.heard.finishing
        ]

    def open(self) -> list[H2Call]:
        return [each for each in self.calls if not each.ended and id(each) not in self.cancelled]

    @precondition(lambda self: len(self.open()) < 10)
    @rule(
        timeout=st.sampled_from([None, b"0S", b"100m", b"5S", b"1H", b"bad"]),
        size=st.sampled_from([0, 7, 70_000]),
        end=st.booleans(),
    )
    def call(self, timeout: bytes | None, size: int, end: bool) -> None:
        client = self.bench.client
        if isinstance(client, H2Client) and client.oracle.over:  # it was idle for too long
            self.bench.client = H2Client(self.bench)
        call = begin(self.bench, *([(b"grpc-timeout", timeout)] if timeout else []))
        self.calls.append(call)
        if not call.ended:
            call.send(b"x" * size)
            if end:
                self.done.add(id(call))
                call.end()

    @precondition(lambda self: any(id(each) not in self.done for each in self.open()))
    @rule(data=st.data(), end=st.booleans())
    def client_sends(self, data: st.DataObject, end: bool) -> None:
        call = data.draw(st.sampled_from([each for each in self.open() if id(each) not in self.done]))
        call.send(MESSAGE)
        if end and not call.ended:
            self.done.add(id(call))
            call.end()

    @precondition(lambda self: self.open())
    @rule(data=st.data())
    def client_cancels(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.open()))
        self.cancelled.add(id(call))
        call.cancel()

    @precondition(lambda self: any(not each.heard.out and not each.began for each in self.fresh()))
    @rule(data=st.data(), code=st.sampled_from([None, 0, 1, 5, 13, 14]), html=st.booleans())
    def endpoint_answers(self, data: st.DataObject, code: int | None, html: bool) -> None:
        serving = data.draw(st.sampled_from(self.fresh()))
        serving.began = True  # type: ignore[attr-defined]
        if code is not None:
            serving.respond(200, ANSWER, (b"grpc-status", b"%d" % code), body=b"")
        elif html:
            serving.respond(502, (b"content-type", b"text/html"), body=b"<p>")
        else:
            serving.respond(200, ANSWER)

    def fresh(self) -> list[Any]:
        found: list[Any] = self.servings()
        for each in found:
            if not hasattr(each, "began"):
                each.began = False
        return [each for each in found if not each.began]

    @precondition(lambda self: any(getattr(each, "began", False) for each in self.servings()))
    @rule(data=st.data(), size=st.sampled_from([7, 300_000]), code=st.sampled_from([None, 0, 14]))
    def endpoint_sends(self, data: st.DataObject, size: int, code: int | None) -> None:
        serving = data.draw(st.sampled_from([each for each in self.servings() if getattr(each, "began", False)]))
        serving.send(b"y" * size)
        if code is not None and serving.heard.reset is None:
            serving.end((b"grpc-status", b"%d" % code))

    @precondition(lambda self: self.servings())
    @rule(data=st.data(), code=st.sampled_from([NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL]))
    def endpoint_resets(self, data: st.DataObject, code: int) -> None:
        serving = data.draw(st.sampled_from(self.servings()))
        serving.oracle.reset(serving.heard, code)
        self.bench.settle()

    @rule(how=st.sampled_from(["stall", "unstall"]), who=st.sampled_from(["client", "endpoint"]))
    def pace(self, how: str, who: str) -> None:
        getattr(getattr(self.bench, who), how)()
        self.bench.settle()

    @rule(seconds=st.sampled_from([0.05, 0.2, 3.0, 25.0]))
    def time_passes(self, seconds: float) -> None:
        advance(self.bench, seconds)

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert not self.rig.world.bugs, self.rig.world.bugs
        seen = [id(record) for record in self.rig.records]
        assert len(seen) == len(set(seen)), "an exchange was recorded twice"
        for record in self.rig.records:
            assert record.protocol == "grpc"
            assert record.grpc_status in grpc.NAMES
            assert record.status
        for call in self.calls:
            if call.ended and call.status == 200:
                assert status(call) is not None

    def teardown(self) -> None:
        self.bench.client.unstall()
        self.bench.endpoint.unstall()
        for _ in range(4):
            advance(self.bench, 30.0)
        for call in self.calls:
            over = call.ended or call.heard.reset is not None
            assert over or id(call) in self.cancelled, "a call has no end"
        assert len(self.rig.records) == len(self.calls)
        self.nothing_is_wrong()
        self.rig.check_idle()


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
