"""Decoding: what is refused, what is bounded, and what may be remembered."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.wire.h2 import hpack
from gatewright.wire.h2.errors import COMPRESSION_ERROR, H2Error
from gatewright.wire.h2.hpack import Decoder, HeadersTooLarge
from gatewright.wire.h2.huffman import encode
from gatewright.wire.h2.tables import FIRST_DYNAMIC

Pair = tuple[bytes, bytes]


def indexed(name: bytes, value: bytes) -> bytes:
    """A literal that goes into the table, its name written out."""
    return b"\x40" + integer(len(name)) + name + integer(len(value)) + value


def integer(value: int, most: int = 0x7F, start: int = 0) -> bytes:
    return hpack._write_integer(start, most, value)


MALFORMED = {
    "index 0": b"\x80",
    "index beyond both tables": b"\xbe",
    "index far beyond, of more than one octet": b"\xff\x80\x01",
    "name index beyond both tables": b"\x7e\x01a",
    "name index far beyond, of more than one octet": b"\x0f\x80\x01\x01a",
    "integer that is cut off": b"\xff",
    "integer that is cut off further on": b"\xff\x80\x80",
    "integer above 2**31": b"\x7f\xff\xff\xff\xff\x0f\x01a",
    "integer of six more octets": b"\x7f\x80\x80\x80\x80\x80\x00\x01a",
    "integer without an end": b"\x7f" + b"\xff" * 1000,
    "literal without anything": b"\x40",
    "name that is cut off": b"\x40\x05ab",
    "name and nothing behind it": b"\x40\x01a",
    "value that is cut off": b"\x40\x01a\x05bc",
    "value whose length is cut off": b"\x40\x01a\x7f",
    "value of a pseudo-field that is cut off": b"\x04\x05/b",
    "value longer than any block": b"\x40\x01a\x7f\xff\xff\xff\x07",
    "Huffman-coded value that is cut off": b"\x40\x01a\x85" + encode(b"abcdefgh")[:2],
    "Huffman-coded name with EOS": b"\x40\x84\xff\xff\xff\xff\x01a",
    "Huffman-coded value with EOS": b"\x40\x01a\x84\xff\xff\xff\xff",
    "Huffman-coded value with padding of eight bits": b"\x40\x01a\x82\x1f\xff",
    "Huffman-coded value with padding of zeros": b"\x40\x01a\x81\x18",
    "size update above what is allowed": integer(4097, 0x1F, 0x20),
    "size update that is cut off": b"\x3f\x80",
    "size update behind a field": b"\x82\x20",
    "size update behind a literal": b"\x40\x01a\x01b\x3f\xe1\x1f",
    "size update of one octet between pseudo-fields": b"\x82\x21\x84",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name: str) -> None:
    for behind in (b"", b"\x82", b"\x82\x90"):
        if behind and name.startswith("size update"):
            continue
        with pytest.raises(H2Error) as raised:
            Decoder().decode(behind + MALFORMED[name])
        assert raised.value.code == COMPRESSION_ERROR
        decoder = Decoder()
        with pytest.raises(H2Error) as raised:
            decoder.decode_from(behind + MALFORMED[name], decoder.decode_until_regular(behind + MALFORMED[name])[1])
        assert raised.value.code == COMPRESSION_ERROR


def test_a_string_that_was_kept_is_refused_when_it_is_cut_off() -> None:
    coded = encode(b"www.example.com")
    block = b"\x01" + bytes((0x80 | len(coded),)) + coded
    assert [Decoder().decode(block) for _ in range(3)] == [[(b":authority", b"www.example.com")]] * 3
    for cut in range(1, len(block)):
        with pytest.raises(H2Error):
            Decoder().decode(block[:cut])


def test_integers_of_any_length_up_to_the_largest() -> None:
    assert hpack.read_integer(b"\x7f\x81\xff\xff\xff\x07", 0, 0x7F) == (1 << 31, 6)
    assert hpack.read_integer(b"\x00\x7f\x80\x80\x00\x09", 1, 0x7F) == (127, 5)  # zeros that say nothing


def test_long_strings() -> None:
    for length in (126, 127, 128, 254, 255, 256, 20_000):
        value = b"v" * length
        coded = encode(value)
        pair = (b"n" * length, value)
        assert Decoder().decode(indexed(*pair)) == [pair]
        block = b"\x00" + integer(length) + pair[0] + integer(len(coded), 0x7F, 0x80) + coded
        assert Decoder().decode(block) == [pair]


def test_an_empty_block_and_empty_strings() -> None:
    decoder = Decoder()
    assert decoder.decode(b"") == []
    assert decoder.decode_until_regular(b"") == ([], 0)
    assert decoder.decode_from(b"", 0) == []
    assert decoder.decode(b"\x40\x00\x00\x00\x80\x80\xbe") == [(b"", b"")] * 3


# --- the dynamic table ------------------------------------------------------------------------------------------------


def test_entries_are_evicted_when_their_place_is_needed() -> None:
    decoder = Decoder(table_size=100)
    decoder.decode(indexed(b"a", b"1") + indexed(b"b", b"2"))  # 34 octets each
    assert decoder.decode(b"\xbe\xbf") == [(b"b", b"2"), (b"a", b"1")]
    decoder.decode(indexed(b"c", b"3"))
    assert decoder.decode(b"\xbe\xbf") == [(b"c", b"3"), (b"b", b"2")]
    with pytest.raises(H2Error):
        decoder.decode(b"\xc0")


def test_a_name_may_come_from_the_entry_that_is_evicted_for_it() -> None:
    decoder = Decoder(table_size=40)
    decoder.decode(indexed(b"name", b"1"))
    assert decoder.decode(b"\x7e\x012") == [(b"name", b"2")]
    assert decoder._table[FIRST_DYNAMIC:] == [(b"name", b"2")]


def test_an_entry_larger_than_the_table_empties_it() -> None:
    decoder = Decoder(table_size=100)
    decoder.decode(indexed(b"a", b"1"))
    assert decoder.decode(indexed(b"b", b"x" * 68)) == [(b"b", b"x" * 68)]
    assert (decoder._table[FIRST_DYNAMIC:], decoder._size) == ([], 0)
    decoder.decode(indexed(b"c", b"x" * 67))
    assert decoder._size == 100


def test_a_table_of_no_size() -> None:
    decoder = Decoder(table_size=0)
    assert decoder.decode(indexed(b"a", b"1")) == [(b"a", b"1")]
    with pytest.raises(H2Error):
        decoder.decode(b"\xbe")


def test_size_updates_at_the_beginning_evict() -> None:
    decoder = Decoder()
    decoder.decode(indexed(b"a", b"1") + indexed(b"b", b"2"))
    assert decoder.decode(integer(40, 0x1F, 0x20) + b"\xbe") == [(b"b", b"2")]
    assert decoder.decode(b"\x20" + integer(4096, 0x1F, 0x20) + indexed(b"c", b"3") + b"\xbe") == [(b"c", b"3")] * 2
    with pytest.raises(H2Error):
        decoder.decode(b"\xbf")


def test_a_peer_must_say_that_it_has_made_its_table_smaller() -> None:
    for block in (b"\x82", b"", integer(101, 0x1F, 0x20)):
        decoder = Decoder()
        decoder.set_table_size(100)
        with pytest.raises(H2Error):
            decoder.decode(block)
        decoder = Decoder()
        decoder.set_table_size(100)
        with pytest.raises(H2Error):
            decoder.decode_until_regular(block)


def test_the_smallest_size_between_two_blocks_counts() -> None:
    decoder = Decoder()
    for size in (100, 50, 8192):
        decoder.set_table_size(size)
    with pytest.raises(H2Error):
        decoder.decode(integer(100, 0x1F, 0x20))
    decoder = Decoder()
    for size in (100, 50, 8192):
        decoder.set_table_size(size)
    assert decoder.decode(integer(50, 0x1F, 0x20) + integer(8192, 0x1F, 0x20) + b"\x82") == [(b":method", b"GET")]
    assert decoder.decode(b"\x82") == [(b":method", b"GET")]


def test_a_larger_size_may_be_used_and_need_not() -> None:
    decoder = Decoder()
    decoder.set_table_size(8192)
    assert decoder.decode(b"\x82") == [(b":method", b"GET")]
    assert decoder.decode(integer(8192, 0x1F, 0x20)) == []
    with pytest.raises(H2Error):
        decoder.decode(integer(8193, 0x1F, 0x20))


# --- how much comes out -----------------------------------------------------------------------------------------------


def test_too_much_is_told_at_the_end_and_the_tables_stay_in_step() -> None:
    decoder = Decoder(most=200)
    with pytest.raises(HeadersTooLarge):
        decoder.decode(b"\x82" + indexed(b"a", b"x" * 200) + indexed(b"b", b"2"))
    assert decoder.decode(b"\xbe") == [(b"b", b"2")]
    with pytest.raises(HeadersTooLarge):
        decoder.decode(b"\xbf")  # 233 by itself


@pytest.mark.parametrize("in_two_steps", [False, True])
def test_exactly_as_much_as_allowed(in_two_steps: bool) -> None:
    block = b"\x82" + indexed(b"a", b"x" * 100)  # 7 + 3 + 32, and 1 + 100 + 32
    for most, fits in ((175, True), (174, False)):
        decoder = Decoder(most)
        try:
            if in_two_steps:
                decoder.decode_from(block, decoder.decode_until_regular(block)[1])
            else:
                decoder.decode(block)
        except HeadersTooLarge:
            assert not fits
        else:
            assert fits


def test_pseudo_fields_alone_can_be_too_much_and_the_rest_is_read() -> None:
    decoder = Decoder(most=100)
    with pytest.raises(HeadersTooLarge):
        decoder.decode_until_regular(b"\x04\x64" + b"/" * 100 + indexed(b"b", b"2"))
    assert decoder.decode(b"\xbe") == [(b"b", b"2")]
    with pytest.raises(H2Error):
        decoder.decode_until_regular(b"\x04\x64" + b"/" * 100 + b"\x80")


def test_what_was_too_much_does_not_count_for_the_next_block() -> None:
    decoder = Decoder(most=100)
    with pytest.raises(HeadersTooLarge):
        decoder.decode_until_regular(b"\x82" * 10)
    assert decoder.decode(b"\x82") == [(b":method", b"GET")]
    assert decoder.decode_until_regular(b"\x82\x90") == ([(b":method", b"GET")], 1)
    assert len(decoder.decode(b"\x82\x82")) == 2


@pytest.mark.parametrize("in_two_steps", [False, True])
def test_hpack_bomb(in_two_steps: bool) -> None:
    """64 KiB of indexes to an entry of 4 KiB would be 256 MiB."""
    decoder = Decoder()
    decoder.decode(indexed(b":a" if in_two_steps else b"a", b"x" * 4000))
    block = b"\xbe" * 65536
    tracemalloc.start()
    try:
        with pytest.raises(HeadersTooLarge):
            decoder.decode_until_regular(block) if in_two_steps else decoder.decode(block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
    assert len(decoder.decode(b"\xbe")) == 1


def test_huffman_bomb() -> None:
    """Nothing expands by more than 8 : 5, and it counts."""
    coded = encode(b"0" * 160_000)
    assert len(coded) == 100_000
    with pytest.raises(HeadersTooLarge):
        Decoder().decode(b"\x00\x01a" + integer(len(coded), 0x7F, 0x80) + coded)
    assert len(hpack._STRINGS) == 0


# --- two steps and generations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "pseudo", "at"),
    [
        pytest.param(
            b"\x82\x86\x84\x90", [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")], 3, id="static"
        ),
        pytest.param(b"\x90\x82", [], 0, id="pseudo-field behind a regular one"),
        pytest.param(b"\x04\x02/a\x0f\x00\x01b", [(b":path", b"/a")], 4, id="literals"),
        pytest.param(b"\x14\x02/a\x1f\x00\x01b", [(b":path", b"/a")], 4, id="never indexed"),
        pytest.param(b"\x44\x02/a\x50\x01b", [(b":path", b"/a")], 4, id="indexed"),
        pytest.param(b"\x00\x02:a\x01b\x00\x01a\x01b", [(b":a", b"b")], 6, id="names written out"),
        pytest.param(b"\x20\x82\x90", [(b":method", b"GET")], 2, id="behind a size update"),
        pytest.param(b"\x82", [(b":method", b"GET")], 1, id="no regular field"),
        pytest.param(b"\x00\x00\x00\x82", [], 0, id="a name of no length"),
    ],
)
def test_where_the_regular_fields_begin(block: bytes, pseudo: list[Pair], at: int) -> None:
    assert Decoder().decode_until_regular(block) == (pseudo, at)


@pytest.mark.parametrize(
    ("block", "at"),
    [
        pytest.param(b"\xbe\xbf\xc0", 2, id="index"),
        pytest.param(b"\xbe\xff\x06\xff\x05", 3, id="index of more octets"),
        pytest.param(b"\x7e\x013\x7f\x02\x00", 3, id="indexed literal"),
        pytest.param(b"\x0f\x76\x013\x0f\x75\x00", 4, id="literal"),
        pytest.param(b"\x1f\x76\x013\x1f\x75\x00", 4, id="literal never indexed"),
    ],
)
def test_where_the_regular_fields_begin_in_the_dynamic_table(block: bytes, at: int) -> None:
    decoder = Decoder()
    decoder.decode(indexed(b":a", b"1") + indexed(b"b", b"2") + indexed(b":c", b"3") * 67 + indexed(b"b", b"4"))
    decoder.decode(indexed(b":d", b"5") * 2)  # 62 and 63; 64 is "b", 132 the other, 133 ":a"
    pseudo, found = decoder.decode_until_regular(block)
    rest = decoder.decode_from(block, found)
    assert found == at
    assert all(name.startswith(b":") for name, _ in pseudo)
    assert [name for name, _ in rest] == [b"b"]


def test_generation_changes_with_the_table_and_only_then() -> None:
    decoder = Decoder(table_size=100)
    seen = [decoder.generation]
    for block, changes in (
        (b"\x82\x90", False),
        (b"\x04\x02/a", False),
        (b"\x10\x01a\x01b", False),
        (indexed(b"a", b"1"), True),
        (b"\xbe", False),
        (indexed(b"b", b"x" * 200), True),  # it only evicts
        (b"\x3f\x20\x82", True),
    ):
        decoder.decode(block)
        assert (decoder.generation != seen[-1]) == changes, block
        assert changes is (decoder.generation not in seen)
        seen.append(decoder.generation)


FIELDS = st.sampled_from([b"\x82", b"\x90", b"\xbe", b"\xbf", b"\xc0", b"\x7e\x011", b"\x04\x02/a", b"\x0f\x2f\x01x"])
BLOCKS = st.lists(FIELDS | st.builds(indexed, st.sampled_from([b"a", b":b"]), st.binary(max_size=40)), max_size=6)


@given(st.lists(BLOCKS.map(b"".join), max_size=12))
def test_what_is_remembered_by_generation_stays_right(blocks: list[bytes]) -> None:
    """As a connection does: a block, or its regular part, that changed nothing is decoded once for each generation."""
    plain, remembering = Decoder(table_size=128), Decoder(table_size=128)
    known: dict[tuple[int, bytes], list[Pair]] = {}
    for block in blocks:
        try:
            expected = plain.decode(block)
        except H2Error:
            return
        pseudo, at = remembering.decode_until_regular(block)
        key = (remembering.generation, block[at:])
        rest = known.get(key)
        if rest is None:
            rest = remembering.decode_from(block, at)
            if remembering.generation == key[0]:
                known[key] = rest
        assert pseudo + rest == expected
        assert remembering._table == plain._table


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_octets_are_a_list_or_a_documented_error(blocks: list[bytes]) -> None:
    decoder = Decoder(most=500)
    for block in blocks:
        try:
            found = decoder.decode(block)
        except HeadersTooLarge:
            continue
        except H2Error:
            return
        assert all(type(name) is bytes and type(value) is bytes for name, value in found)
        assert sum(len(name) + len(value) + 32 for name, value in found) <= 500
