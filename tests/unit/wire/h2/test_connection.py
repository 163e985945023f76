"""The codec alone: two ends that talk to each other, whatever the windows and wherever the octets are cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.wire.h2 import errors, frames
from gatewright.wire.h2.connection import H2Connection
from gatewright.wire.h2.errors import H2Error
from gatewright.wire.h2.frames import END_STREAM
from gatewright.wire.h2.hpack import encode_pairs
from gatewright.wire.h2.stream import WINDOW, Stream

HEAD = encode_pairs([(b"x", b"y")])


class End(Stream):
    """A stream that keeps what comes."""

    def __init__(self, conn: H2Connection[Any], stream_id: int) -> None:
        super().__init__(conn, stream_id)
        self.got = b""
        self.events: list[str] = []

    def on_data(self, data: bytes) -> None:
        self.got += data

    def on_end(self) -> None:
        self.events.append("end")

    def on_reset(self, code: int) -> None:
        self.events.append(f"reset {code}")

    def on_error(self, code: int) -> None:
        self.events.append(f"error {code}")

    def on_stuck(self) -> None:
        self.events.append("stuck")

    def on_moving(self) -> None:
        self.events.append("moving")


class Side(H2Connection[End]):
    """One end; every header block opens a stream or ends one."""

    blocked_writing = dirty = False

    def __init__(self, window: int = 1 << 20, **limits: int) -> None:
        values = {"header_bytes": 65_536, "resets": 10, "control_frames": 20} | limits
        super().__init__(0.0, window=window, **values)
        self.all: dict[int, End] = {}
        self.blocks: list[bytes] = []
        self.gone: tuple[int, int] | None = None
        self.out.append(frames.settings({frames.INITIAL_WINDOW_SIZE: WINDOW}))
        self._credit_connection()

    def open(self, number: int) -> End:
        stream = self.streams[number] = self.all[number] = End(self, number)
        return stream

    def on_block(self, stream_id: int, block: bytes, end: int) -> None:
        self.blocks.append(block)
        stream = self.streams.get(stream_id)
        if stream is None:
            stream = self.open(stream_id)
        if end:
            stream.remote_done = True
            stream.events.append("end")
            if stream.local_done:
                self.forget(stream)

    def on_goaway(self, last: int, code: int) -> None:
        self.gone = last, code

    def on_setting(self, name: int, value: int) -> None:
        self.all.setdefault(-name, End(self, value))

    def on_pong(self, payload: bytes) -> None:
        self.blocks.append(payload)

    def on_forgotten(self, stream: End) -> None:
        stream.events.append("over")

    def was_opened(self, stream_id: int) -> bool:
        return stream_id in self.all

    def touch(self) -> None:
        pass


def talk(one: Side, other: Side) -> None:
    """Carry octets until nobody has anything to say."""
    while one.out or other.out:
        for sender, receiver in ((one, other), (other, one)):
            data, sender.out = b"".join(sender.out), []
            receiver.feed(data)


def pair() -> tuple[Side, Side]:
    one, other = Side(), Side()
    talk(one, other)
    return one, other


def ready(side: Side, data: bytes) -> None:
    """Feed an end whose peer has said SETTINGS already."""
    side.feed(frames.settings({}) + data)


@given(st.lists(st.binary(max_size=40_000), max_size=8), st.integers(1, 3))
def test_what_is_sent_arrives_whatever_the_windows(pieces: list[bytes], streams: int) -> None:
    one, other = pair()
    for number in range(1, 2 * streams, 2):
        stream = one.open(number)
        one.send_headers(number, HEAD, 0)
        for piece in pieces:
            one.send_data(stream, piece, 0)
        one.send_data(stream, b"", END_STREAM)
    talk(one, other)
    for number in range(1, 2 * streams, 2):
        assert other.all[number].got == b"".join(pieces)
        assert other.all[number].events == ["end"]
        assert one.all[number].waiting is None
    for number in range(1, 2 * streams, 2):
        other.send_data(other.all[number], b"", END_STREAM)
        other.all[number].finish_sending()
    assert not other.streams


@given(st.lists(st.integers(1, 300), max_size=100))
def test_it_does_not_matter_where_octets_are_cut(sizes: list[int]) -> None:
    one, _ = pair()
    stream = one.open(1)
    one.send_headers(1, HEAD, 0)
    one.send_data(stream, bytes(20_000), 0)
    one.send_trailers(stream, HEAD)
    data = frames.settings({}) + b"".join(one.out)
    other = Side()
    for size in [*sizes, len(data)]:
        other.feed(data[:size])
        data = data[size:]
    assert other.all[1].got == bytes(20_000)
    assert other.blocks == [HEAD, HEAD]
    assert other.all[1].events == ["end"]


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_refused(data: bytes) -> None:
    side = Side()
    side.open(1)
    try:
        ready(side, data)
    except H2Error:
        return


def test_a_paused_stream_gets_no_credit_and_a_going_one_does() -> None:
    one, other = pair()
    for number in (1, 3):
        one.send_headers(number, HEAD, 0)
        one.open(number)
    talk(one, other)
    other.all[1].pause()
    for number in (1, 3):
        one.send_data(one.all[number], bytes(WINDOW), 0)
        one.send_data(one.all[number], b"more", 0)
    talk(one, other)
    assert len(other.all[1].got) == WINDOW
    assert len(other.all[3].got) == WINDOW + 4
    assert one.all[1].events[-1] == "stuck"
    waiting = one.all[1].waiting
    assert waiting is not None
    assert waiting.size == 4
    other.all[1].resume()
    talk(one, other)
    assert len(other.all[1].got) == WINDOW + 4
    assert one.all[1].events[-2:] == ["stuck", "moving"]


def test_what_waits_of_a_large_piece_is_not_copied_for_each_frame() -> None:
    one = Side()
    ready(one, b"")
    stream = one.open(1)
    piece = bytes(1_000_000)
    one.send_data(stream, piece, 0)
    assert stream.waiting is not None
    rest = stream.waiting.pieces[0]
    assert isinstance(rest, memoryview)
    assert rest.obj is piece
    assert len(rest) == 1_000_000 - 65_535


def test_of_windows_that_are_set_twice_in_a_frame_the_last_counts() -> None:
    one = Side()
    ready(one, frames.window_update(0, 100_000))
    stream = one.open(1)
    one.send_data(stream, bytes(70_000), 0)
    one.out = []
    large = frames.INITIAL_WINDOW_SIZE.to_bytes(2, "big") + (200_000).to_bytes(4, "big")
    small = frames.INITIAL_WINDOW_SIZE.to_bytes(2, "big") + (10).to_bytes(4, "big")
    one.feed(frames.frame_head(frames.SETTINGS, 0, 0, 12) + large + small)
    assert one.out == [frames.SETTINGS_ACK]
    assert stream.send_window == 10 - 65_535
    one.feed(frames.window_update(1, 100_000))
    assert stream.waiting is None


def test_the_window_of_the_connection_is_shared_in_turns() -> None:
    one = Side()
    ready(one, b"")  # the connection's window is the default, the streams' are too
    first, second = one.open(1), one.open(3)
    one.send_data(first, bytes(60_000), 0)
    one.send_data(second, bytes(60_000), 0)
    one.out = []
    one.send_window = 0
    one.feed(frames.window_update(1, 100_000) + frames.window_update(3, 100_000))
    one.send_data(first, bytes(60_000), 0)
    assert one.out == []
    one.feed(frames.window_update(0, 4 * 16_384))
    sent = [frames.HEAD.unpack(piece)[4] for piece in one.out[::2]]
    assert sent[:4] == [3, 1, 3, 1]


def test_a_stream_that_is_forgotten_gives_its_credit_back() -> None:
    one, other = Side(), Side(window=300_000)
    talk(one, other)
    one.open(1)
    one.send_headers(1, HEAD, 0)
    talk(one, other)
    other.all[1].pause()
    one.send_data(one.all[1], bytes(90_000), 0)
    talk(one, other)
    assert (other.recv_left, other.unread) == (210_000, 0)
    other.stream_error(1, errors.CANCEL)
    assert (other.recv_left, other.unread) == (210_000, 90_000)
    assert other.all[1].events == ["over", "error 8"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frames.frame_head(frames.DATA, 0, 1, 16_385), errors.FRAME_SIZE_ERROR),
        (frames.frame_head(frames.CONTINUATION, 4, 1, 0), errors.PROTOCOL_ERROR),
        (frames.frame_head(frames.HEADERS, 0, 1, 0) + frames.ping(b"12345678"), errors.PROTOCOL_ERROR),
        (frames.frame_head(frames.PING, 0, 0, 7) + b"1234567", errors.FRAME_SIZE_ERROR),
        (frames.window_update(0, 0), errors.PROTOCOL_ERROR),
        (frames.window_update(0, 0x7FFFFFFF), errors.FLOW_CONTROL_ERROR),
        (frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 31}), errors.FLOW_CONTROL_ERROR),
        (frames.settings({frames.MAX_FRAME_SIZE: 1}), errors.PROTOCOL_ERROR),
        (frames.frame_head(frames.PUSH_PROMISE, 4, 1, 4) + bytes(4), errors.PROTOCOL_ERROR),
        (frames.ping(b"12345678") * 30, errors.ENHANCE_YOUR_CALM),
    ],
)
def test_what_ends_a_connection(data: bytes, code: int) -> None:
    side = Side()
    with pytest.raises(H2Error) as raised:
        ready(side, data)
    assert raised.value.code == code


def test_frames_that_do_something_pay_for_those_that_do_not() -> None:
    side = Side(control_frames=3)
    ready(side, b"")
    side.open(1)
    for _ in range(20):  # a client that measures the way with a ping for each piece of data
        side.feed(frames.frame_head(frames.DATA, 0, 1, 5) + b"abcde" + frames.ping(b"12345678"))
    with pytest.raises(H2Error):
        side.feed(frames.ping(b"12345678") * 4)


def test_resets_are_rapid_or_they_are_not() -> None:
    side = Side(resets=2)
    ready(side, b"")
    for number in range(1, 21, 2):
        side.now += 0.001
        stream = side.open(number)
        side.now += 1.5  # whoever gives up after that has waited
        side.feed(frames.rst_stream(number, errors.CANCEL))
        assert stream.events == ["over", "reset 8"]
    side.open(21)
    side.open(23)
    side.open(25)
    with pytest.raises(H2Error) as raised:
        side.feed(b"".join(frames.rst_stream(number, errors.CANCEL) for number in (21, 23, 25)))
    assert raised.value.code == errors.ENHANCE_YOUR_CALM


def test_no_more_is_remembered_than_is_good() -> None:
    side = Side(resets=10_000)
    ready(side, b"")
    for number in range(1, 2001, 2):
        side.reset(number, errors.CANCEL)
    assert len(side.ours_reset) == 256
    assert 1999 in side.ours_reset
