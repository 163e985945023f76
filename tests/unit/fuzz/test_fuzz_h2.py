"""The harness of HTTP/2 connections runs over its corpus, and over what Hypothesis makes of good frames."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]
CORPUS = ROOT / "tests" / "corpus" / "h2_connection"


def harness() -> Any:
    spec = importlib.util.spec_from_file_location("fuzz_h2_connection", ROOT / "fuzz" / "fuzz_h2_connection.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


H2 = harness()
FILES = [file for file in sorted(CORPUS.iterdir()) if file.is_file()]


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_the_corpus(file: Path) -> None:
    H2.one_input(file.read_bytes())


def test_the_corpus_is_there() -> None:
    assert len(FILES) > 20


@pytest.mark.parametrize(
    "sent",
    [
        b"\0\0\0\1\5\0\0\0\1",  # HEADERS before SETTINGS
        H2.SETTINGS + b"\0\0\1\1\4\0\0\0\1\x80",  # index 0
        H2.SETTINGS + b"\0\0\0\1\0\0\0\0\1" + H2.SETTINGS,  # a block that is interrupted
        H2.SETTINGS + b"\0\0\0\x09\4\0\0\0\1",  # CONTINUATION of nothing
        H2.SETTINGS + b"\0\0\3\6\0\0\0\0\0abc",  # PING of three octets
    ],
)
def test_a_second_opinion_would_notice(sent: bytes) -> None:
    with pytest.raises(Exception, match=r"SETTINGS|index|block|length"):
        H2.check(sent)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


REQUEST = b"\x82\x86\x84\x01\x01x"  # GET http / with :authority x
POST = b"\x83\x86\x84\x01\x01x"
BLOCKS = st.sampled_from(
    [REQUEST, POST, POST + b"\x0f\x0d\x013", b"\x88", b"\x88\x0f\x0d\x012", b"\0\1x\1y", b"\x20\x88", b"\xbe"]
)
STREAMS = st.sampled_from([0, 1, 1, 1, 3, 3, 5, 2, 7])
FRAMES = st.one_of(
    st.builds(frame, st.just(1), st.sampled_from([4, 5, 5, 0, 1, 0xC, 0x25]), STREAMS, BLOCKS),
    st.builds(frame, st.just(0), st.sampled_from([0, 1, 8]), STREAMS, st.sampled_from([b"", b"ok", b"x" * 200])),
    st.builds(frame, st.just(9), st.sampled_from([0, 4]), STREAMS, st.sampled_from([b"", b"\x84", b"\x88"])),
    st.builds(frame, st.just(3), st.just(0), STREAMS, st.sampled_from([b"\0\0\0\7", b"\0\0\0\0", b"\0\0\0\x08"])),
    st.builds(
        frame, st.just(8), st.just(0), STREAMS, st.sampled_from([b"\0\0\0\1", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\1\0\0"])
    ),
    st.builds(
        lambda name, value: frame(4, 0, 0, struct.pack(">HI", name, value)),
        st.sampled_from([1, 2, 3, 4, 5, 6, 8, 9]),
        st.sampled_from([0, 1, 100, 16_384, 65_535, 1 << 31]),
    ),
    st.builds(frame, st.just(7), st.just(0), st.just(0), st.sampled_from([bytes(8), b"\0\0\0\1" + bytes(4), b"\x7f\xff\xff\xff" + bytes(4)])),
    st.builds(frame, st.sampled_from([2, 5, 6, 10]), st.sampled_from([0, 1]), STREAMS, st.sampled_from([bytes(8), bytes(5), bytes(4)])),
)  # fmt: skip


@st.composite
def inputs(draw: st.DrawFn) -> bytes:
    """Frames of both sides, some of them damaged, cut anywhere and woven together."""
    streams = {}
    for who in (b"c", b"o"):
        stream = bytearray(b"".join(draw(st.lists(FRAMES, max_size=8))))
        if not draw(st.integers(0, 3)):
            at = draw(st.integers(0, len(stream)))
            stream[at : at + draw(st.integers(0, 3))] = draw(st.sampled_from([b"", b"\0", b"\xff", b"\1"]))
        streams[who] = bytes(stream)
    out = draw(st.sampled_from([b"\0", b"\1"]))
    while streams:
        who = draw(st.sampled_from(sorted(streams)))
        size = draw(st.sampled_from([1, 9, 15, 60, 255]))
        piece, streams[who] = streams[who][:size], streams[who][size:]
        out += who + bytes([len(piece)]) + piece
        if not streams[who]:
            del streams[who]
        if not draw(st.integers(0, 9)):
            steps = [b"e\0", b"E\0", b"r\0", b"R\0", b"s\0", b"S\0", b"u\0", b"U\0", b"t\x10", b"t\xff"]
            out += draw(st.sampled_from(steps))
    return out


@settings(max_examples=150, deadline=None)
@given(inputs() | st.binary(max_size=200))
@example(b"\0c\x0f" + frame(1, 5, 1, REQUEST) + b"t\xff")
def test_any_connection(data: bytes) -> None:
    H2.one_input(data)
