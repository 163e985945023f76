"""The chunked coding: strict, and the same however its bytes are cut (RFC 9112 section 7.1)."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatewright.errors import ProtocolError
from gatewright.reasons import REASONS
from gatewright.wire.chunked import ChunkedReader, write_chunk, write_end

CUTS = st.lists(st.integers(1, 9), max_size=60)
TRAILERS = st.lists(st.tuples(st.sampled_from([b"x", b"etag"]), st.sampled_from([b"", b"1", b"a b"])), max_size=3)
SCRAPS = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b"0", b"1", b"a", b"f" * 15, b";", b" ", b"\0", b"x: y", b"3\r\nabc\r\n"])
    | st.binary(max_size=3),
    max_size=12,
).map(b"".join)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """Pieces of the given sizes, and the rest."""
    pieces, at = [], 0
    for size in cuts:
        pieces.append(data[at : at + size])
        at += size
    return [piece for piece in [*pieces, data[at:]] if piece]


def read(pieces: list[bytes]) -> tuple[bytes, ChunkedReader]:
    """The content of all pieces, and the reader; what comes behind the end is given back as its ``rest``."""
    reader, content = ChunkedReader(), b""
    for i, piece in enumerate(pieces):
        found = reader.feed(piece)
        assert len(found) <= 1
        content += b"".join(found)
        if reader.done:
            reader.rest += b"".join(pieces[i + 1 :])
            break
    return content, reader


def outcome(pieces: list[bytes]) -> object:
    try:
        content, reader = read(pieces)
    except ProtocolError as error:
        return error.reason
    return content, reader.done, reader.trailers, reader.rest


@given(st.lists(st.binary(max_size=40), max_size=8), TRAILERS, st.binary(max_size=5), CUTS)
def test_what_is_written_is_read(
    pieces: list[bytes], trailers: list[tuple[bytes, bytes]], rest: bytes, cuts: list[int]
) -> None:
    out: list[bytes] = []
    for piece in pieces:
        write_chunk(out, piece)
    out.append(write_end(tuple(trailers)))
    content, reader = read(cut(b"".join(out) + rest, cuts))
    assert (content, reader.done, reader.trailers, reader.rest) == (b"".join(pieces), True, tuple(trailers), rest)


@given(SCRAPS, CUTS)
@example(b"0\r\n\r", [1, 1, 1, 1, 1])
@example(b"1;a\rb\r\nx\r\n", [1] * 10)
@example(b"1\r\nxx\r\n", [3, 1, 1])
def test_any_octets_are_content_or_a_protocol_error_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    whole, pieces = outcome([data] if data else []), outcome(cut(data, cuts))
    if whole != pieces:
        # What is wrong may be seen earlier or later. It is never content for one and a whole body for the other.
        refused, other = (whole, pieces) if isinstance(whole, str) else (pieces, whole)
        assert refused in REASONS
        assert other in REASONS or other[1] is False  # type: ignore[index]


@pytest.mark.parametrize(
    "data",
    [
        *(b"\r\n", b";\r\n", b" 1\r\n", b"1 \r\n", b"+1\r\n", b"-1\r\n", b"0x1\r\n", b"1_0\r\n", b"g\r\n", b"\xb9\r\n"),
        *(b"1" * 16 + b"\r\n", b"1;\n\r\n", b"1;\r\r\n", b"1;\0\r\n", b"1;" + b"x" * 300 + b"\r\n", b"1" * 300, b"1\nx", b"1\rx"),
        *(b"1\r\nxx", b"1\r\nx\n", b"1\r\nx\r\r", b"0\r\na\r\n\r\n", b"0\r\nb: \0\r\n\r\n", b"0\r\n a: b\r\n\r\n", b"0\r\na: b\n"),
    ],
)  # fmt: skip
def test_what_is_not_exactly_the_grammar(data: bytes) -> None:
    for pieces in ([data], cut(data, [1] * len(data))):
        with pytest.raises(ProtocolError) as caught:
            read(pieces)
        assert caught.value.reason == "request.malformed"


@pytest.mark.parametrize("line", [b"3", b"003", b"3;a", b'3 \t;a="b"', b"3;", b"000000000000003"])
def test_ways_to_write_a_size(line: bytes) -> None:
    content, reader = read([line + b"\r\nabc\r\n0\r\n\r\n"])
    assert (content, reader.done, reader.rest) == (b"abc", True, b"")


def test_chunks_of_one_segment_come_as_one_piece() -> None:
    assert ChunkedReader().feed(b"1\r\na\r\n" * 1000) == [b"a" * 1000]


def test_a_flood_of_extensions_is_cut_off() -> None:
    reader = ChunkedReader()
    chunk = b"1;%b\r\na\r\n" % (b"x" * 200)
    for _ in range(16 * 1024 // 200):
        reader.feed(chunk)
    with pytest.raises(ProtocolError):
        reader.feed(chunk)


def test_a_large_trailer_section_is_refused_whole_or_in_pieces() -> None:
    for pieces in ([b"0\r\n", b"a: " + b"b" * 17_000], [b"0\r\na: " + b"b" * 17_000 + b"\r\n\r\n"]):
        with pytest.raises(ProtocolError) as caught:
            read(pieces)
        assert caught.value.reason == "request.headers_too_large"


def test_trailers_that_would_change_the_message_are_dropped() -> None:
    """RFC 9110 section 6.5.1."""
    _, reader = read([b"0\r\nContent-Length: 1\r\nHost: x\r\nX-Sum: 1\r\nauthorization: y\r\n\r\nrest"])
    assert (reader.trailers, reader.rest) == (((b"x-sum", b"1"),), b"rest")
    _, reader = read([b"0\r\nClient-Cert: :AA==:\r\ncookie: a=b\r\nx-forwarded-for: 1.1.1.1\r\n\r\n"])
    assert reader.trailers == ()


def test_an_empty_piece_is_no_chunk() -> None:
    out: list[bytes] = []
    write_chunk(out, b"")
    assert out == []
    assert write_end(((b"a", b"b"),)) == b"0\r\na: b\r\n\r\n"
