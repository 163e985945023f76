"""Frames as octets (RFC 9113 sections 4 and 6), read back by hyperframe."""

from __future__ import annotations

import pytest
from hyperframe import frame as hyper

from gatewright.wire.h2 import errors, frames


def read(data: bytes) -> list[hyper.Frame]:
    found = []
    while data:
        each, length = hyper.Frame.parse_frame_header(memoryview(data[:9]))
        each.parse_body(memoryview(data[9 : 9 + length]))
        found.append(each)
        data = data[9 + length :]
    return found


@pytest.mark.parametrize("length", [0, 1, 16_384, 65_535, 65_536, 16_777_215])
def test_head_of_a_frame(length: int) -> None:
    head = frames.frame_head(frames.DATA, frames.END_STREAM, 0x7FFFFFFF, length)
    assert len(head) == frames.HEAD_SIZE
    parsed, parsed_length = hyper.Frame.parse_frame_header(memoryview(head))
    assert (type(parsed), parsed.stream_id, parsed_length) == (hyper.DataFrame, 0x7FFFFFFF, length)
    assert parsed.flags == {"END_STREAM"}


def test_control_frames() -> None:
    (settings,) = read(frames.settings({frames.MAX_CONCURRENT_STREAMS: 7, frames.ENABLE_CONNECT_PROTOCOL: 1}))
    assert dict(settings.settings) == {3: 7, 8: 1}
    assert read(frames.SETTINGS_ACK)[0].flags == {"ACK"}
    (ping,) = read(frames.ping(b"12345678"))
    assert (ping.opaque_data, set(ping.flags)) == (b"12345678", set())
    (pong,) = read(frames.ping_ack(b"12345678"))
    assert (pong.opaque_data, pong.flags) == (b"12345678", {"ACK"})
    (gone,) = read(frames.goaway(5, errors.ENHANCE_YOUR_CALM, b"why"))
    assert (gone.last_stream_id, gone.error_code, gone.additional_data) == (5, 11, b"why")
    (reset,) = read(frames.rst_stream(3, errors.CANCEL))
    assert (reset.stream_id, reset.error_code) == (3, 8)
    (update,) = read(frames.window_update(3, 9))
    assert (update.stream_id, update.window_increment) == (3, 9)


@pytest.mark.parametrize(("size", "most"), [(0, 10), (10, 10), (11, 10), (20, 10), (25, 10)])
def test_a_large_block_is_continued(size: int, most: int) -> None:
    block = bytes(range(size))
    found = read(frames.headers(1, block, frames.END_STREAM, most))
    assert b"".join(each.data for each in found) == block
    assert len(found) == max(1, -(-size // most))
    assert ["END_HEADERS" in each.flags for each in found] == [False] * (len(found) - 1) + [True]
    assert "END_STREAM" in found[0].flags
    assert all(isinstance(each, hyper.ContinuationFrame) for each in found[1:])


def test_the_preface_begins_like_a_head_of_http1() -> None:
    assert frames.PREFACE.startswith(frames.PREFACE_LINE)
    assert frames.PREFACE_LINE.endswith(b"\r\n\r\n")
