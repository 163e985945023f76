"""Encoding: the form of each field, and what is kept."""

from __future__ import annotations

import hpack as oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.wire.h2 import hpack
from gatewright.wire.h2.hpack import STATUS, Decoder, encode_pair, encode_pairs, size_update
from gatewright.wire.h2.huffman import encode
from gatewright.wire.h2.tables import STATIC


def test_fields_of_the_static_table_take_one_octet() -> None:
    for index, (name, value) in enumerate(STATIC):
        if value:
            assert encode_pair(name, value) == bytes((0x80 | index,))


@pytest.mark.parametrize(
    ("pair", "first", "then"),
    [
        ((b":path", b"/aaa"), b"\x04\x04/aaa", b"\x04\x83" + encode(b"/aaa")),
        ((b"server", b"aaaaaaaa"), b"\x0f\x27\x08aaaaaaaa", b"\x0f\x27\x85" + encode(b"aaaaaaaa")),
        ((b"x-new", b"{}"), b"\x00\x05x-new\x02{}", b"\x00\x84" + encode(b"x-new") + b"\x02{}"),
        ((b"set-cookie", b"a=bb"), b"\x1f\x28\x04a=bb", b"\x1f\x28\x83" + encode(b"a=bb")),
        ((b"authorization", b""), b"\x1f\x08\x00", b"\x1f\x08\x00"),
    ],
    ids=["name in the first 14", "name in the table", "another name", "never indexed", "empty"],
)
def test_plain_once_and_then_kept_in_the_shorter_form(pair: tuple[bytes, bytes], first: bytes, then: bytes) -> None:
    assert [encode_pairs([pair]), encode_pair(*pair), encode_pairs([pair])] == [first, then, then]


@pytest.mark.parametrize("name", [b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"])
def test_secrets_are_never_indexed(name: bytes) -> None:
    for _ in range(3):
        (field,) = oracle.Decoder().decode(encode_pair(name, b"secret"), raw=True)
        assert isinstance(field, oracle.NeverIndexedHeaderTuple)


def test_what_came_never_indexed_is_passed_on_so() -> None:
    """RFC 7541 section 6.2.3, for whoever forwards it."""
    for _ in range(3):
        assert encode_pair(b"x-token", b"secret")[0] == 0x00
    Decoder().decode(b"\x10\x07x-token\x01a")
    for _ in range(3):
        assert encode_pair(b"x-token", b"secret")[0] == 0x10
    assert encode_pair(b"x-other", b"secret")[0] == 0x00


def test_names_that_are_never_indexed_are_bounded() -> None:
    for i in range(200):
        Decoder().decode(b"\x10\x03%03d\x01a" % i)
    assert len(hpack._NEVER_INDEXED) == hpack._MOST_NEVER_INDEXED
    for i in (199, 999):
        assert encode_pair(b"%03d" % i, b"")[0] == 0x10


@pytest.mark.parametrize("length", [0, 1, 126, 127, 128, 254, 255, 16_383, 70_000])
def test_strings_of_any_length(length: int) -> None:
    pair = (b"x" * length, b"{" * length)
    for _ in range(3):
        assert oracle.Decoder(max_header_list_size=1 << 20).decode(encode_pairs([pair]), raw=True) == [pair]


def test_status() -> None:
    assert len(STATUS) == 1000
    for status in (100, 200, 204, 206, 299, 302, 304, 400, 404, 500, 599, 999):
        assert Decoder().decode(STATUS[status]) == [(b":status", b"%d" % status)]
    assert STATUS[200] == b"\x88"
    assert all(len(encoded) <= 5 for encoded in STATUS)


@pytest.mark.parametrize("size", [0, 30, 31, 32, 4096])
def test_size_update(size: int) -> None:
    decoder = oracle.Decoder()
    decoder.max_allowed_table_size = 4096
    decoder.decode(size_update(size) + encode_pair(b":method", b"GET"), raw=True)
    assert decoder.header_table_size == size


def test_a_size_update_of_nothing_is_what_a_smaller_table_of_the_peer_asks_for() -> None:
    decoder = oracle.Decoder()
    decoder.max_allowed_table_size = 100
    with pytest.raises(oracle.InvalidTableSizeError):
        decoder.decode(encode_pair(b":method", b"GET"))
    decoder = oracle.Decoder()
    decoder.max_allowed_table_size = 100
    assert decoder.decode(size_update(0) + encode_pair(b":method", b"GET"), raw=True) == [(b":method", b"GET")]
    decoder.max_allowed_table_size = 0
    assert decoder.decode(encode_pair(b":method", b"GET"), raw=True) == [(b":method", b"GET")]


PAIRS = st.tuples(
    st.sampled_from([name for name, _ in STATIC] + [b"x-request-id"]) | st.binary(max_size=30), st.binary(max_size=60)
)


@given(st.lists(PAIRS, max_size=10))
def test_encoded_and_decoded_each_time_the_same(pairs: list[tuple[bytes, bytes]]) -> None:
    for _ in range(3):
        block = encode_pairs(pairs)
        assert Decoder().decode(block) == pairs
        assert b"".join([encode_pair(*pair) for pair in pairs]) == encode_pairs(pairs)


def test_fields_that_come_once_leave_nothing() -> None:
    for i in range(5000):
        encode_pair(b"x-request-id", b"%d" % i)
    assert len(hpack._FIELDS) == 0
