"""Any octets are a header block, or refused; in two steps it is the same; and what came out can be encoded again.

An input is a sequence of blocks on one connection, each behind its length (two octets).

``fuzz_hpack.py tests/corpus/hpack`` fuzzes with atheris; ``--replay`` only runs the files, and needs no atheris.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gatewright.wire.h2.errors import COMPRESSION_ERROR, H2Error
from gatewright.wire.h2.hpack import Decoder, HeadersTooLarge, encode_pairs

MOST = 8192


def one_input(data: bytes) -> None:
    """H2Error and HeadersTooLarge are the only exceptions that are documented, and both decoders raise the same."""
    whole, halves = Decoder(MOST), Decoder(MOST)
    while data:
        size = int.from_bytes(data[:2], "big")
        block, data = data[2 : 2 + size], data[2 + size :]
        results = [read_whole(whole, block), read_halves(halves, block)]
        if results[0] != results[1] or whole.generation != halves.generation:
            raise AssertionError(f"it depends on the steps: {results}")
        if isinstance(results[0], int):
            return
        if isinstance(results[0], list):
            again = Decoder(2 * MOST).decode(encode_pairs(results[0]))
            if again != results[0]:
                raise AssertionError("what was encoded is not what was decoded")


def read_whole(decoder: Decoder, block: bytes) -> object:
    """Its pairs, None when they are too large, the code of the error when it is malformed."""
    try:
        return decoder.decode(block)
    except HeadersTooLarge:
        return None
    except H2Error as error:
        return check(error)


def read_halves(decoder: Decoder, block: bytes) -> object:
    try:
        pseudo, at = decoder.decode_until_regular(block)
        if not all(name.startswith(b":") for name, _ in pseudo):
            raise AssertionError(pseudo)
        rest = decoder.decode_from(block, at)
        if rest and rest[0][0].startswith(b":"):
            raise AssertionError(rest)
        return pseudo + rest
    except HeadersTooLarge:
        return None
    except H2Error as error:
        return check(error)


def check(error: H2Error) -> int:
    if error.code != COMPRESSION_ERROR or not error.detail:
        raise AssertionError(error)
    return error.code


if __name__ == "__main__":
    if sys.argv[1:2] == ["--replay"]:
        for file in sorted(file for folder in sys.argv[2:] for file in Path(folder).rglob("*") if file.is_file()):
            one_input(file.read_bytes())
    else:
        import atheris

        atheris.Setup(sys.argv, one_input)
        atheris.Fuzz()
