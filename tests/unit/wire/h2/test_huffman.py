"""Strings that are Huffman-coded."""

from __future__ import annotations

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import example, given
from hypothesis import strategies as st

from gatewright.wire.h2.errors import COMPRESSION_ERROR, H2Error
from gatewright.wire.h2.huffman import decode, encode

ORACLE = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


@given(st.binary(max_size=100))
@example(b"")
@example(bytes(range(256)))
def test_coded_and_decoded(text: bytes) -> None:
    coded = encode(text)
    assert coded == ORACLE.encode(text)
    assert decode(coded) == text


@given(st.binary(max_size=40) | st.text("0123456789abcdef", max_size=40).map(str.encode).map(encode))
def test_any_octets_are_a_string_or_an_error_as_the_oracle_says(coded: bytes) -> None:
    try:
        expected = bytes(decode_huffman(coded))
    except Exception:  # noqa: BLE001 - whatever it says, it refuses
        with pytest.raises(H2Error) as raised:
            decode(coded)
        assert raised.value.code == COMPRESSION_ERROR
    else:
        assert decode(coded) == expected


@pytest.mark.parametrize(
    "coded",
    [
        pytest.param(b"\xff\xff\xff\xff", id="EOS"),
        pytest.param(b"\x1f\xff\xff\xff\xff", id="EOS behind a symbol"),
        pytest.param(b"\xff\xff\xff\xfc\x00", id="EOS, and more behind it"),
        pytest.param(b"\x1f\xff", id="more than seven bits of padding"),
        pytest.param(b"\xff", id="nothing but padding"),
        pytest.param(b"\x18", id="padding that is not ones"),
        pytest.param(b"\x1e", id="padding that is not all ones"),
        pytest.param(b"\xfe", id="a code that is cut off"),
    ],
)
def test_refused(coded: bytes) -> None:
    with pytest.raises(H2Error) as raised:
        decode(coded)
    assert raised.value.code == COMPRESSION_ERROR


def test_padding_of_seven_bits_and_of_none() -> None:
    assert decode(b"\x1f") == b"a"  # 00011 111
    assert decode(encode(b"aaaaaaaa")) == b"aaaaaaaa"
    assert len(encode(b"aaaaaaaa")) == 5
    assert decode(encode(b"?;")[:3]) == b"?;"  # 10 and 8 bits, and 6 of padding
