"""What compressing header fields costs, next to the ``hpack`` library.

    python benchmarks/micro/bench_hpack.py

Decisions that rest on these figures: steps of the Huffman decoder are made when needed (wire/h2/huffman.py), what comes
once is written plain and what comes again is Huffman-coded and kept (wire/h2/hpack.py).
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import hpack
from hpack.huffman_table import decode_huffman

from gatewright.wire.h2 import huffman
from gatewright.wire.h2.hpack import Decoder, encode_pairs

Pairs = list[tuple[bytes, bytes]]

BROWSER: Pairs = [
    (b":method", b"GET"),
    (b":authority", b"api.example.com"),
    (b":scheme", b"https"),
    (b":path", b"/api/widgets/1?x=1"),
    (b"sec-ch-ua", b'"Chromium";v="142", "Not_A Brand";v="99"'),
    (b"sec-ch-ua-mobile", b"?0"),
    (b"sec-ch-ua-platform", b'"Linux"'),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    (b"sec-fetch-site", b"none"),
    (b"sec-fetch-mode", b"navigate"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"accept-language", b"en-US,en;q=0.9"),
    (b"cookie", b"a=b; c=d; session=0123456789abcdef"),
]
ANSWER: Pairs = [
    (b":status", b"200"),
    (b"server", b"nginx"),
    (b"date", b"Sat, 21 Nov 2026 03:54:46 GMT"),
    (b"content-type", b"application/json"),
    (b"content-length", b"32"),
    (b"cache-control", b"no-store"),
    (b"etag", b'"0123456789abcdef"'),
    (b"x-request-id", b"6f0b7ef2-90b9-4d54-8d2b-0c5a6d1a4f10"),
]
COUNT = 200


def measure(what: str, ours: Callable[[Any], Any], theirs: Callable[[Any], Any], inputs: list[Any]) -> None:
    """Print nanoseconds a call, ours and theirs; the first inputs only warm up."""

    def run(one: Callable[[Any], Any]) -> float:
        best = float("inf")
        for _ in range(9):
            start = time.process_time_ns()
            for each in inputs:
                one(each)
            best = min(best, time.process_time_ns() - start)
        return best / len(inputs)

    mine, other = run(ours), run(theirs)
    print(f"{what:44} {mine:8.0f} ns   hpack {other:8.0f} ns   1 : {other / mine:.1f}")


def new_decoders(first: bytes) -> tuple[Decoder, hpack.Decoder]:
    ours, theirs = Decoder(), hpack.Decoder()
    ours.decode(first)
    theirs.decode(first, raw=True)
    return ours, theirs


def main() -> None:
    encoder = hpack.Encoder()
    first = encoder.encode(BROWSER)
    ours, theirs = new_decoders(first)

    def their_decode(block: bytes) -> Any:
        return theirs.decode(block, raw=True)

    measure("10 indexed fields", ours.decode, their_decode, [encoder.encode(BROWSER[4:])] * COUNT)
    measure("14 indexed fields, pseudo-fields apart", lambda block: ours.decode_from(block, ours.decode_until_regular(
        block)[1]), their_decode, [encoder.encode(BROWSER)] * COUNT)  # fmt: skip
    measure("first request of a browser, strings known", lambda block: Decoder().decode(block), lambda block:
        hpack.Decoder().decode(block, raw=True), [first] * COUNT)  # fmt: skip
    literal = [b"\x04" + bytes((0x80 | len(c),)) + c for c in [huffman.encode(b"/api/widgets/17?x=1")]]
    measure("10 indexed fields, :path the same literal", ours.decode, their_decode, [
        literal[0] + encoder.encode(BROWSER[4:])] * COUNT)  # fmt: skip
    unique = [huffman.encode(b"/api/widgets/%06d?page=%05d&x=1" % (i, 7 * i)) for i in range(5_000)]
    measure("10 indexed fields, :path another literal", ours.decode, their_decode, [
        b"\x04" + bytes((0x80 | len(c),)) + c + encoder.encode(BROWSER[4:]) for c in unique])  # fmt: skip
    text = b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/14"
    coded = huffman.encode(text)
    measure(f"Huffman: decode {len(coded)} octets", huffman.decode, decode_huffman, [coded] * COUNT)
    huffman_encoder = hpack.huffman.HuffmanEncoder(
        hpack.huffman_constants.REQUEST_CODES, hpack.huffman_constants.REQUEST_CODES_LENGTH
    )
    measure(f"Huffman: encode {len(text)} octets", huffman.encode, huffman_encoder.encode, [text] * COUNT)
    measure("encode an answer of 8 fields, all known", encode_pairs, encoder.encode, [ANSWER] * COUNT)
    answers = [[*ANSWER[:-1], (b"x-request-id", b"6f0b7ef2-90b9-4d54-8d2b-%012d" % i)] for i in range(5_000)]
    measure("encode an answer of 8 fields, one new", encode_pairs, encoder.encode, answers)
    sizes = [len(encode_pairs(ANSWER)), len(hpack.Encoder().encode(ANSWER)), len(encoder.encode(ANSWER))]
    print(f"octets of that answer: {sizes[0]}; hpack: {sizes[1]} at first, {sizes[2]} when repeated")
    print(f"import {import_time():.1f} ms")


def import_time() -> float:
    """Milliseconds to import the codec, without what it needs of the package."""
    program = "import gatewright.wire.h2.errors, gatewright.http.headers, time; s = time.process_time_ns();"
    program += "import gatewright.wire.h2.hpack; print((time.process_time_ns() - s) / 1e6)"
    command = [sys.executable, "-c", program]
    return min(float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(5))


if __name__ == "__main__":
    main()
