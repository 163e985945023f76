"""The examples of RFC 7541, appendix C: every one, with the dynamic table behind it."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from gatewright.wire.h2 import hpack
from gatewright.wire.h2.hpack import Decoder, read_integer
from gatewright.wire.h2.tables import FIRST_DYNAMIC


class Step(NamedTuple):
    """A block; the fields in it; names of the dynamic table after it, newest first; and the size of the table."""

    block: str
    fields: str
    table: str = ""
    size: int = 0


URL = "https://www.example.com"
COOKIE = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
AT_21, AT_22 = "Mon, 21 Oct 2013 20:13:21 GMT", "Mon, 21 Oct 2013 20:13:22 GMT"
FIRST = ":method: GET|:scheme: http|:path: /|:authority: www.example.com"
THIRD = ":method: GET|:scheme: https|:path: /index.html|:authority: www.example.com|custom-key: custom-value"
REQUESTS = (
    (FIRST, ":authority: www.example.com", 57),
    (FIRST + "|cache-control: no-cache", "cache-control: no-cache|:authority: www.example.com", 110),
    (THIRD, "custom-key: custom-value|cache-control: no-cache|:authority: www.example.com", 164),
)
RESPONSES = (
    (
        f":status: 302|cache-control: private|date: {AT_21}|location: {URL}",
        f"location: {URL}|date: {AT_21}|cache-control: private|:status: 302",
        222,
    ),
    (
        f":status: 307|cache-control: private|date: {AT_21}|location: {URL}",
        f":status: 307|location: {URL}|date: {AT_21}|cache-control: private",
        222,
    ),
    (
        f":status: 200|cache-control: private|date: {AT_22}|location: {URL}|content-encoding: gzip|set-cookie: {COOKIE}",
        f"set-cookie: {COOKIE}|content-encoding: gzip|date: {AT_22}",
        215,
    ),
)


def steps(blocks: tuple[str, str, str], expected: tuple[tuple[str, str, int], ...]) -> list[Step]:
    return [Step(block, *rest) for block, rest in zip(blocks, expected, strict=True)]


EXAMPLES = {
    "C.2.1 literal with indexing": [
        Step(
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            "custom-key: custom-header",
            "custom-key: custom-header",
            55,
        )
    ],
    "C.2.2 literal without indexing": [Step("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path")],
    "C.2.3 literal never indexed": [Step("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret")],
    "C.2.4 indexed field": [Step("82", ":method: GET")],
    "C.3 requests": steps(
        (
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ),
        REQUESTS,
    ),
    "C.4 requests with Huffman codes": steps(
        (
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ),
        REQUESTS,
    ),
    "C.5 responses, and what they push out": steps(
        (
            (
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120"
                "474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d"
            ),
            "4803 3330 37c1 c0bf",
            (
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738"
                "666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33"
                "3630 303b 2076 6572 7369 6f6e 3d31"
            ),
        ),
        RESPONSES,
    ),
    "C.6 responses with Huffman codes": steps(
        (
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718"
                "63c7 8f0b 97c8 e9ae 82ae 43d3"
            ),
            "4883 640e ffc1 c0bf",
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7"
                "b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07"
            ),
        ),
        RESPONSES,
    ),
}


def pairs(text: str) -> list[tuple[bytes, bytes]]:
    found = [
        field.rpartition(": ")[::2] if field.startswith(":") else field.split(": ", 1) for field in text.split("|")
    ]
    return [(name.encode(), value.encode()) for name, value in found] if text else []


@pytest.mark.parametrize("in_two_steps", [False, True])
@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str, in_two_steps: bool) -> None:
    decoder = Decoder(table_size=256 if name.startswith(("C.5", "C.6")) else 4096)
    for step in EXAMPLES[name]:
        block = bytes.fromhex(step.block)
        if in_two_steps:
            pseudo, at = decoder.decode_until_regular(block)
            found = pseudo + decoder.decode_from(block, at)
        else:
            found = decoder.decode(block)
        assert found == pairs(step.fields)
        assert decoder._table[FIRST_DYNAMIC:] == pairs(step.table)
        assert decoder._size == step.size


@pytest.mark.parametrize(
    ("value", "most", "octets"),
    [(10, 0x1F, b"\x0a"), (1337, 0x1F, b"\x1f\x9a\x0a"), (42, 0xFF, b"\x2a")],
    ids=["C.1.1", "C.1.2", "C.1.3"],
)
def test_integer(value: int, most: int, octets: bytes) -> None:
    assert read_integer(octets, 0, most) == (value, len(octets))
    assert hpack._write_integer(0, most, value) == octets
