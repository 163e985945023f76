"""Counting frames of a tunnel (RFC 6455 section 5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.wire.websocket import GOING_AWAY, TOO_BIG, FrameCounter, close_frame

TEXT, CONTINUATION, PING = 1, 0, 9


def frame(size: int, opcode: int = TEXT, *, fin: bool = True, masked: bool = False) -> bytes:
    mask = 0x80 if masked else 0
    if size < 126:
        length = bytes([mask | size])
    elif size < 65536:
        length = bytes([mask | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([mask | 127]) + size.to_bytes(8, "big")
    return bytes([(0x80 if fin else 0) | opcode]) + length + (b"mask" if masked else b"") + b"\x81" * size


FRAMES = st.lists(
    st.builds(
        frame,
        st.sampled_from([0, 1, 100, 125, 126, 300]),
        st.sampled_from([TEXT, CONTINUATION, PING]),
        fin=st.booleans(),
        masked=st.booleans(),
    ),
    max_size=5,
).map(b"".join)


def follow(most: int | None, pieces: list[bytes]) -> tuple[bool, bool | None]:
    counter = FrameCounter(most)
    for piece in pieces:
        if not counter.feed(piece):
            return False, None
    return True, counter.at_boundary


@given(FRAMES | st.binary(max_size=60), st.lists(st.integers(1, 7), max_size=200), st.sampled_from([None, 0, 150, 400]))
def test_does_not_depend_on_how_the_bytes_are_cut(data: bytes, cuts: list[int], most: int | None) -> None:
    pieces, at = [], 0
    for size in cuts:
        pieces.append(data[at : at + size])
        at += size
    assert follow(most, [*pieces, data[at:]]) == follow(most, [data])


@given(FRAMES)
def test_whole_frames_end_at_a_boundary(data: bytes) -> None:
    assert follow(None, [data]) == (True, True)
    if data:
        assert follow(None, [data[:1]]) == (True, False)


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 70000])
@pytest.mark.parametrize("masked", [True, False])
def test_lengths(size: int, masked: bool) -> None:
    data = frame(size, masked=masked) + frame(3)
    assert follow(size or 3, [data]) == (True, True)
    assert follow(None, [data[:-1]]) == (True, False)
    if size > 3:
        assert follow(size - 1, [data]) == (False, None)


def test_a_message_is_all_its_fragments_and_control_frames_are_none_of_it() -> None:
    parts = [frame(5, fin=False), frame(100, PING), frame(5, CONTINUATION)]
    assert follow(10, [*parts, *parts]) == (True, True)
    assert follow(9, parts) == (False, None)


def test_a_length_of_64_bits_is_refused_before_any_of_it_comes() -> None:
    assert not FrameCounter(1_000_000).feed(b"\x82\x7f" + b"\xff" * 8)


def test_nothing_fed_changes_nothing() -> None:
    counter = FrameCounter(1)
    assert counter.feed(b"")
    assert counter.at_boundary


def test_close_frames() -> None:
    """RFC 6455 section 5.5.1; a client's is masked (section 5.3)."""
    assert close_frame(GOING_AWAY, masked=False) == b"\x88\x02\x03\xe9"
    assert close_frame(TOO_BIG, masked=True) == b"\x88\x82\0\0\0\0\x03\xf1"
    assert follow(0, [close_frame(TOO_BIG, masked=True)]) == (True, True)
