"""Our tables are those of the RFC, as others have typed them."""

from __future__ import annotations

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.table import HeaderTable

from gatewright.wire.h2.tables import CODES, EOS, FIRST_DYNAMIC, LAST_PSEUDO, STATIC


def test_static_table() -> None:
    assert STATIC[1:] == HeaderTable.STATIC_TABLE
    assert FIRST_DYNAMIC == 62
    assert all(name.startswith(b":") == (1 <= at <= LAST_PSEUDO) for at, (name, _) in enumerate(STATIC))


def test_huffman_code() -> None:
    expected = list(zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True))
    assert [CODES[symbol] for symbol in range(EOS + 1)] == expected
