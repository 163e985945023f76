"""Huffman-coded strings (RFC 7541 section 5.2).

The decoder is a state machine that takes one octet at a time. A state is a place in the tree of codes where an octet
may end; its row says for each next octet which octets come out and which row follows. There are 256 states of 256
steps; a step is worked out when it is first needed, so that little is computed at import and what real strings never
use takes no memory. At most all 65,536 are made once, about 5 MiB.

Measured by benchmarks/micro/bench_hpack.py.
"""

from __future__ import annotations

from typing import Any

from gatewright.wire.h2.errors import COMPRESSION_ERROR, H2Error
from gatewright.wire.h2.tables import CODES, EOS


class _State:
    """A place in the tree of codes."""

    __slots__ = ("final", "row", "sides", "symbol")

    def __init__(self, *, final: bool) -> None:
        #: Where a 0 and a 1 lead; made with the tree.
        self.sides: list[_State | None] = [None, None]
        #: What the code that ends here stands for; None inside the tree.
        self.symbol: int | None = None
        #: Whether a string may end here: at the root, or after at most seven ones (the beginning of EOS).
        self.final = final
        #: Octet → (next row, octets that come out), None until it is needed; at last the state itself.
        self.row: list[Any] = [*[None] * 256, self]


def _tree() -> _State:
    """The tree of all codes."""
    root = _State(final=True)
    for symbol, (code, length) in CODES.items():
        state = root
        for depth in range(1, length + 1):
            prefix = code >> (length - depth)
            following = state.sides[prefix & 1]
            if following is None:
                following = state.sides[prefix & 1] = _State(final=depth < 8 and prefix == (1 << depth) - 1)
            state = following
        state.symbol = symbol
    return root


def _make_step(row: list[Any], octet: int) -> tuple[list[Any], bytes]:
    """Walk the tree for the eight bits of ``octet``, and keep what came of it."""
    state: _State = row[256]
    out = bytearray()
    for shift in range(7, -1, -1):
        following = state.sides[octet >> shift & 1]
        if following is None or following.symbol == EOS:
            state = _NOWHERE
            break
        if following.symbol is not None:
            out.append(following.symbol)
            following = _ROOT
        state = following
    step = row[octet] = (state.row, bytes(out))
    return step


_ROOT = _tree()
#: After EOS: no way leads out of it.
_NOWHERE = _State(final=False)
#: Octet → its code as a string of 0 and 1.
_BITS = [f"{code:0{length}b}" for code, length in (CODES[octet] for octet in range(256))]


def decode(coded: bytes) -> bytes:
    """The string that was coded. Hot: runs for each string that is new.

    Raises:
        H2Error: EOS, or padding that is longer than seven bits or not all ones.
    """
    row = _ROOT.row
    out: list[bytes] = []
    append = out.append
    for octet in coded:
        try:  # costs nothing while it does not fail; asking for None costs a third more
            row, piece = row[octet]
        except TypeError:
            row, piece = _make_step(row, octet)
        append(piece)
    if not row[256].final:
        raise H2Error(COMPRESSION_ERROR, "a Huffman-coded string with EOS in it or with wrong padding")
    return b"".join(out)


def encode(plain: bytes) -> bytes:
    """The coded form, padded with ones; it may be longer than ``plain``."""
    bits = "".join([_BITS[octet] for octet in plain])
    size = (len(bits) + 7) // 8
    return int(bits + "1" * (size * 8 - len(bits)), 2).to_bytes(size, "big") if size else b""
