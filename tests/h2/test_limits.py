"""The limits of a client's connection, to the frame and to the second (attacks: tests/sockets/test_h2_attacks.py)."""

from __future__ import annotations

from itertools import count

import pytest
from tests.h2.origins import OK, listener
from tests.h2.raw import (
    ACK,
    CALM,
    CANCEL,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL,
    GOAWAY,
    INITIAL_WINDOW,
    NO_ERROR,
    PING,
    PREFACE,
    REFUSED_STREAM,
    RST_STREAM,
    RawH2,
    RigLink,
    block,
    continuation,
    data,
    headers,
    ping,
    request,
    rst,
    settings,
    window_update,
)
from tests.h2.upstreams import Script, requests

from gatewright.proxy.families import REFUSED
from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream
from gatewright.testing.wires import Peer

PATIENT = model.Timeouts(first_byte=1000.0, idle=1000.0)
GET, POST = request(), request(method=b"POST")


class Bench:
    """A client that speaks by hand; endpoints answer when the test says so."""

    def __init__(self, rig: Rig, *, greets: bool = True, **limits: object) -> None:
        rig.apply(route("all", to="a", timeout=None), upstream("a", passive=None, timeouts=PATIENT), listener(**limits))
        self.rig = rig
        self.client = rig.client()
        self.raw = RawH2(RigLink(rig, self.client))
        if greets:
            self.raw.shake_hands()
        self._streams = count(1, 2)

    def next(self) -> int:
        return next(self._streams)

    def send(self, *frames: bytes) -> bool:
        """Send them in one segment; whether the connection still stands."""
        self.raw.send(*frames)
        self.raw.read()
        return self.raw.goaway is None and not self.client.closed

    def accept(self) -> Peer:
        return self.rig.origin("a").accept()

    def refused(self) -> dict[str, float]:
        counted = self.rig.stats.counter(REFUSED).drain()
        return {key.split("\x1f")[1]: number for key, number in counted.items()}

    def is_h2_flood(self) -> bool:
        self.raw.read()
        last = self.raw.goaway
        return last is not None and last.code == CALM and self.refused() == {"h2_flood": 1}


def test_eight_continuations_are_read_and_nine_are_not(rig: Rig) -> None:
    pieces = block(GET)
    for more, reads in ((8, True), (9, False)):
        bench = Bench(rig)
        parts = [continuation(1, pieces[i : i + 1], 0) for i in range(1, more)]
        bench.send(headers(1, pieces[:1], END_STREAM), *parts, continuation(1, pieces[more:]))
        if reads:
            bench.accept().send(OK)
            bench.raw.until(lambda bench=bench: bench.raw.ended(1))
        else:
            assert bench.is_h2_flood()


def test_a_compressed_block_may_be_as_large_as_allowed(rig: Rig) -> None:
    """Larger, it is not even gathered; the answer would be that it is too large."""
    for size, code in ((4000, None), (5000, CALM)):
        bench = Bench(rig, header_bytes=4096)
        bench.send(headers(1, block(GET), END_STREAM))
        bench.send(continuation(1, b"\x00\x01x\x7f" + b"x" * size, 0))
        assert (bench.raw.goaway.code if bench.raw.goaway else None) == code
        bench.client.reset()


def test_resets_are_refilled_in_five_seconds(rig: Rig) -> None:
    bench = Bench(rig, resets=10)

    def reset() -> bool:
        stream = bench.next()
        return bench.send(headers(stream, GET), rst(stream))

    assert all(reset() for _ in range(10))
    rig.advance(1.25)
    assert [reset() for _ in range(3)] == [True, True, False]
    assert bench.is_h2_flood()
    assert rig.origin("a").waiting == 0


def test_resets_after_a_second_are_not_rapid(rig: Rig) -> None:
    bench = Bench(rig, resets=10, streams=50)
    streams = [bench.next() for _ in range(50)]
    assert bench.send(*(headers(stream, GET) for stream in streams))
    rig.advance(1.1)
    assert bench.send(*(rst(stream) for stream in streams))
    bench.raw.is_alive()


def test_idle_frames_are_refilled_in_five_seconds(rig: Rig) -> None:
    bench = Bench(rig, control_frames=10, header_timeout=100.0)
    rig.advance(10.0)
    assert bench.send(*[ping()] * 10)
    rig.advance(1.25)
    assert [bench.send(ping()) for _ in range(3)] == [True, True, False]
    assert bench.is_h2_flood()


def test_frames_that_do_something_are_set_against_idle_ones(rig: Rig) -> None:
    bench = Bench(rig, control_frames=10)
    bench.send(headers(1, POST, END_HEADERS))
    assert all(bench.send(data(1, b"x", 0), ping()) for _ in range(100))
    assert len(bench.raw.of(PING)) == 100
    bench.send(rst(1))


def test_idle_frames_of_a_client_that_does_not_read_are_not_made_up_for(rig: Rig) -> None:
    bench = Bench(rig)
    bench.send(settings((INITIAL_WINDOW, (1 << 31) - 1)), window_update(0, 1 << 30), headers(1, POST, END_HEADERS))
    origin = bench.accept()
    bench.client.stall()
    origin.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 500_000)
    sent = 0
    while bench.send(data(1, b"x", 0), ping()) and sent < 1000:
        sent += 1
    assert 150 < sent <= 200
    assert len(bench.raw.of(PING)) <= 200
    assert bench.is_h2_flood()


def test_thirty_two_settings_and_not_more(rig: Rig) -> None:
    bench = Bench(rig)
    assert bench.send(settings(*[(INITIAL_WINDOW, 1000)] * 32))
    assert not bench.send(settings(*[(INITIAL_WINDOW, 1000)] * 33))
    assert bench.is_h2_flood()


@pytest.mark.parametrize(("increment", "most"), [(255, 10), (256, 1000)])
def test_window_updates_that_are_worth_it(rig: Rig, increment: int, most: int) -> None:
    bench = Bench(rig, control_frames=10, header_timeout=100.0)
    rig.advance(10.0)
    sent = 0
    while sent < 1000 and bench.send(window_update(0, increment)):
        sent += 1
    assert sent == most


def test_a_small_window_for_a_small_piece(rig: Rig) -> None:
    """Octet by octet is no way to take a large answer, but the last few of any may come so."""
    bench = Bench(rig, control_frames=10)
    bench.send(settings((INITIAL_WINDOW, 0)), headers(1, GET))
    origin = bench.accept()
    rig.advance(10.0)
    origin.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n" + b"x" * 100)
    sent = 0
    while sent < 100 and bench.send(window_update(1, 1)):
        sent += 1
    assert sent == 10
    assert bench.is_h2_flood()


def test_a_window_of_data_for_a_stream_that_was_reset_and_no_more(rig: Rig) -> None:
    bench = Bench(rig)
    assert bench.send(headers(1, POST, END_HEADERS), window_update(1, 0))
    assert len(bench.raw.of(RST_STREAM)) == 1
    assert bench.send(*[data(1, b"x" * 16_384, 0)] * 8)
    assert not bench.send(data(1, b"x", 0))
    assert bench.raw.goaway is not None
    assert bench.raw.goaway.code == FLOW_CONTROL


# --- clients that do not listen ---------------------------------------------------------------------------------------


def test_a_client_that_does_not_read_is_given_up_whatever_it_sends(rig: Rig) -> None:
    bench = Bench(rig, idle_timeout=20.0)
    bench.send(settings((INITIAL_WINDOW, (1 << 31) - 1)), window_update(0, 1 << 30), headers(1, GET))
    origin = bench.accept()
    bench.client.stall()
    origin.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 500_000)
    for _ in range(3):
        rig.advance(6.0)
        assert bench.send(ping())
    rig.advance(3.0)
    assert bench.client.aborted
    assert [record.reason for record in rig.records] == ["client.stalled"]
    assert origin.closed


def test_a_client_that_reads_again_in_time_is_served(rig: Rig) -> None:
    bench = Bench(rig, idle_timeout=20.0)
    bench.send(settings((INITIAL_WINDOW, (1 << 31) - 1)), window_update(0, 1 << 30), headers(1, GET))
    origin = bench.accept()
    bench.client.stall()
    origin.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 500_000)
    rig.advance(15.0)
    bench.client.unstall()
    rig.advance(10.0)
    origin.send(b"x" * 500_000)
    bench.raw.read()
    assert len(bench.raw.body(1)) == 1_000_000
    assert bench.raw.ended(1)


def test_a_silent_client_with_a_request_in_flight_is_asked_and_then_given_up(rig: Rig) -> None:
    bench = Bench(rig, idle_timeout=300.0)
    bench.send(headers(1, GET))
    origin = bench.accept()
    origin.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
    rig.advance(61.0)
    bench.raw.read()
    assert len(bench.raw.of(PING)) == 1
    assert not bench.client.closed
    rig.advance(21.0)
    assert bench.client.closed
    assert [record.reason for record in rig.records] == ["client.gone"]


def test_a_silent_client_that_says_it_is_there_is_kept(rig: Rig) -> None:
    bench = Bench(rig, idle_timeout=20.0)
    bench.send(headers(1, GET))
    origin = bench.accept()
    origin.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nh")
    for asked in range(1, 5):
        rig.advance(61.0)
        bench.raw.read()
        assert len(bench.raw.of(PING)) == asked
        bench.send(ping(bench.raw.of(PING)[-1].payload, ACK))
    origin.send(b"ello")
    bench.raw.until(lambda: bench.raw.ended(1))


def test_a_client_that_never_acknowledges_the_limit_of_streams(rig: Rig) -> None:
    """Until it does, it may not have known; but that is no excuse for ever."""
    bench = Bench(rig, greets=False, streams=10)
    bench.send(PREFACE + settings())
    sent = 0
    while sent < 5000 and bench.send(headers(bench.next(), GET)):
        sent += 1
    assert {each.code for each in bench.raw.of(RST_STREAM)} == {REFUSED_STREAM}
    assert 200 < sent < 400  # 10 are taken, and make up for 10 others
    assert bench.raw.goaway is not None
    assert bench.raw.goaway.code == CALM


def test_requests_behind_goaway_are_ignored_but_not_for_ever(rig: Rig) -> None:
    bench = Bench(rig, requests=5)
    bench.send(*(headers(bench.next(), GET) for _ in range(5)))
    rig.advance(1.5)
    bench.raw.read()
    assert [(each.number, each.code) for each in bench.raw.of(GOAWAY)] == [((1 << 31) - 1, NO_ERROR), (9, NO_ERROR)]
    sent = 0
    while sent < 5000 and not bench.client.closed and bench.raw.goaway.code == NO_ERROR:
        bench.send(headers(bench.next(), GET))
        sent += 1
    assert 128 <= sent < 500
    assert bench.raw.goaway.code == CALM
    assert rig.origin("a").waiting == 5


def test_answers_to_bad_requests_that_nobody_reads_are_bounded(rig: Rig) -> None:
    bench = Bench(rig)
    bench.client.stall()
    bad = block(request(drop="authority"))
    sent = 0
    while sent < 50_000 and not bench.client.closed and not bench.client.transport.ended:
        bench.client.send(headers(bench.next(), bad))
        sent += 1
    assert sent < 12_000
    assert len(bench.client.received) < 8 << 20


def test_a_stalled_window_is_reset_in_time_and_only_that_stream(rig: Rig) -> None:
    bench = Bench(rig, body_timeout=30.0)
    bench.send(settings((INITIAL_WINDOW, 0)), headers(1, GET), headers(3, POST, END_HEADERS))
    first, second = bench.accept(), bench.accept()
    first.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
    rig.advance(29.0)
    bench.send(data(3, b"x", 0))
    assert not bench.raw.of(RST_STREAM)
    rig.advance(2.0)
    bench.raw.read()
    assert [(each.stream, each.code) for each in bench.raw.of(RST_STREAM)] == [(1, CANCEL)]
    assert [record.reason for record in rig.records] == ["client.stalled"]
    bench.send(data(3, b"x"))
    second.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    bench.raw.until(lambda: bench.raw.ended(3))


@pytest.mark.parametrize("answers", [True, False])
def test_a_silent_endpoint_is_asked_and_then_given_up(rig: Rig, answers: bool) -> None:
    script = Script(rig)
    client = script.ask(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    endpoint = script.accept()
    (asked,) = requests(endpoint)
    endpoint.send(headers(asked.stream, [(b":status", b"200"), (b"content-length", b"5")], END_HEADERS))
    rig.advance(31.0)
    endpoint.read()
    assert len(endpoint.of(PING)) == 1
    if answers:
        endpoint.send(ping(endpoint.of(PING)[0].payload, ACK))
    rig.advance(21.0)
    endpoint.send(data(asked.stream, b"hello"))
    assert client.received.endswith(b"hello") == answers
    assert client.closed != answers
