"""Header fields: what a peer sent (:class:`Fields`) and what we make of it (:class:`Headers`).

A peer on a kept-alive connection repeats itself, so the parser hands out the same immutable ``Fields`` again when
the bytes are the same, and everything derived from it (the index, the block to forward) is computed once. Changes
made for one request lie over it: names dropped and pairs added. An unchanged header section is forwarded as one
piece, whatever its length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import ClassVar

Pair = tuple[bytes, bytes]

NONE: frozenset[bytes] = frozenset()
_NOT_DIGESTED = (None, b"")

#: Octets that may stand in a field value: HTAB, SP, VCHAR and obs-text (RFC 9110 section 5.5).
VALUE_OCTETS = bytes([9, *range(32, 127), *range(128, 256)])
#: Turns every other octet into another one: a value is good when ``value.translate(VALUE_TABLE) == value``. Looking
#: octets up costs a third of deleting them, for which C makes a table anew each time (70 instead of 290 ns).
VALUE_TABLE = bytes(octet if octet in VALUE_OCTETS else 33 for octet in range(256))
_translate = bytes.translate  # as a function it refuses a str, which the method of str would take
#: Octets of a token (RFC 9110 section 5.6.2).
TOKEN_OCTETS = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_MOST_BLOCKS = 16  # forwarded blocks kept per Fields; one route needs one


class Around:
    """The lines around the one that changes from section to section: in a block to forward they stay the same."""

    __slots__ = ("at", "kept", "lines", "pairs")

    def __init__(self, pairs: tuple[Pair, ...], lines: list[bytes], at: int) -> None:
        self.pairs = pairs
        self.lines = lines
        self.at = at
        #: Names that are dropped → what stands before and behind the line; the latter is None when it goes as well.
        self.kept: dict[frozenset[bytes], tuple[bytes, bytes | None]] = {}

    def split(self, dropped: frozenset[bytes]) -> tuple[bytes, bytes | None]:
        """Make and remember what is to be in ``kept``."""
        at = self.at
        pieces = zip(self.lines, self.pairs, strict=True)
        kept = [b"" if pair[0] in dropped else line + b"\r\n" for line, pair in pieces]
        before, after = b"".join(kept[:at]), b"".join(kept[at + 1 :])
        split = (before, b"\r\n" + after) if kept[at] else (before + after, None)
        if len(self.kept) >= _MOST_BLOCKS:
            self.kept.clear()
        self.kept[dropped] = split
        return split


class Fields:
    """The header section of one message as it came: immutable, names in lower case, order kept."""

    __slots__ = (
        "_blocks", "_lines", "_pairs", "around", "digested", "distinct", "forwarded", "index", "line", "not_forwarded",
        "packed",
    )  # fmt: skip

    #: Names that nobody may add when these fields are forwarded: they are written elsewhere.
    ours: ClassVar[frozenset[bytes]] = NONE

    def __init__(self, pairs: Iterable[Pair], lines: list[bytes] | None = None) -> None:
        self._pairs: tuple[Pair, ...] = tuple(pairs)
        #: First value of each name.
        self.index: dict[bytes, bytes] = dict(reversed(self._pairs))
        #: Forwarded in the sender's spelling, and joining them costs a third of writing the pairs anew.
        self._lines = lines
        #: No name stands there twice.
        self.distinct = len(self.index) == len(self._pairs)
        #: Set when all lines but one, ``line``, are those of an earlier section.
        self.around: Around | None = None
        self.line = b""
        self._blocks: dict[frozenset[bytes], bytes] = {}
        #: Names that concern one connection only; parsers of whole messages fill it in.
        self.not_forwarded: frozenset[bytes] = NONE
        #: ``block(not_forwarded)``, once it has been asked for.
        self.forwarded: bytes | None = None
        #: The same as a block of HTTP/2, and the names it was made without.
        self.packed: tuple[frozenset[bytes], bytes] | None = None
        #: See :meth:`digest`.
        self.digested: tuple[bytes | None, bytes] = _NOT_DIGESTED

    def adopt(self, pairs: tuple[Pair, ...], index: dict[bytes, bytes], lines: list[bytes]) -> None:
        """Be these fields, all of different names, whose parts were made elsewhere; takes the place of ``__init__``."""
        self._pairs = pairs
        self._lines = lines
        self._blocks = {}
        self.vary(None, b"", index)

    def vary(self, around: Around | None, line: bytes, index: dict[bytes, bytes]) -> None:
        """Be the fields ``around`` a line; takes the place of ``__init__``. Pairs and lines are made when asked for."""
        self.around = around
        self.line = line
        self.index = index
        self.distinct = True
        self.not_forwarded = NONE
        self.forwarded = self.packed = None
        self.digested = _NOT_DIGESTED

    # cold: mostly nobody asks
    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Names and values, in order."""
        around = self.around
        if around is None:
            return self._pairs
        pairs = list(around.pairs)
        name = pairs[around.at][0]
        pairs[around.at] = name, self.index[name]
        return tuple(pairs)

    # cold: as above
    @property
    def lines(self) -> list[bytes] | None:
        """The checked lines as they came, one for each pair; None where there are none."""
        around = self.around
        if around is None:
            return self._lines
        lines = around.lines.copy()
        lines[around.at] = self.line
        return lines

    def all(self, name: bytes) -> list[bytes]:
        """Every value of ``name``, in order."""
        return [value for other, value in self.pairs if other == name]

    def digest(self, value: bytes) -> bytes:
        """SHA-256 of a value that stands in these fields.

        A peer shows the same credential again and again: the last one's digest is kept with the section, and with the
        next one when that has the very same value in it. Saves 1 µs.
        """
        known, digest = self.digested
        if known is not value:
            digest = sha256(value).digest()
            self.digested = value, digest
        return digest

    def block(self, dropped: frozenset[bytes]) -> bytes:
        """The lines ``name: value CRLF`` of all fields but those named in ``dropped``, as one piece."""
        around = self.around
        if around is not None:
            before, after = around.kept.get(dropped) or around.split(dropped)
            return before if after is None else b"%b%b%b" % (before, self.line, after)
        block = self._blocks.get(dropped)
        if block is None:
            block = self._write(dropped)
        return block

    def _write(self, dropped: frozenset[bytes]) -> bytes:
        if self._lines is None:
            block = b"".join([b"%b: %b\r\n" % pair for pair in self._pairs if pair[0] not in dropped])
        else:
            kept = [line for line, pair in zip(self._lines, self._pairs, strict=True) if pair[0] not in dropped]
            kept.append(b"")
            block = b"\r\n".join(kept)
        if len(self._blocks) >= _MOST_BLOCKS:
            self._blocks.clear()
        self._blocks[dropped] = block
        return block


NO_FIELDS = Fields(())


#: Fields that say where a message ends. A policy that could set them could make one message look like two.
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})

#: Names that have been checked; there are few that a configuration uses.
_GOOD_NAMES: set[bytes] = set()
_MOST_NAMES = 1024


def check_field(name: bytes, value: bytes) -> None:
    """Raise ValueError unless both may stand in a header section, and the name is not one that frames the message."""
    if _translate(value, VALUE_TABLE) != value or name not in _GOOD_NAMES:
        _check(name, value)


def _check(name: bytes, value: bytes) -> None:
    """The whole check; remembers a good name."""
    if value.translate(None, VALUE_OCTETS) or not name or name.translate(None, TOKEN_OCTETS) or name != name.lower():
        raise ValueError(f"not a header field: {name!r}: {value!r}")
    if name in _FRAMING:
        raise ValueError(f"the gateway itself frames messages: {name.decode()} may be dropped, not set")
    if len(_GOOD_NAMES) >= _MOST_NAMES:
        _GOOD_NAMES.clear()
    _GOOD_NAMES.add(name)


#: Unions that have been made: there is one for each set that the configuration's policies drop. Making and hashing one
#: costs 250 ns, finding it 70.
_UNIONS: dict[tuple[frozenset[bytes], frozenset[bytes]], frozenset[bytes]] = {}
_MOST_UNIONS = 256


def _union(one: frozenset[bytes], other: frozenset[bytes]) -> frozenset[bytes]:
    union = _UNIONS.get((one, other))
    if union is None:
        if len(_UNIONS) >= _MOST_UNIONS:
            _UNIONS.clear()
        union = _UNIONS[one, other] = one | other
    return union


class Headers:
    """A header section being edited: the fields a peer sent, less ``dropped``, plus ``added``.

    Names are bytes in lower case. Values are checked when they are set, so that no policy can split a message.
    """

    __slots__ = ("added", "dropped", "fields")

    def __init__(self, fields: Fields = NO_FIELDS) -> None:
        self.fields = fields
        self.dropped: frozenset[bytes] = NONE
        self.added: list[Pair] = []

    def get(self, name: bytes) -> bytes | None:
        """The first value of ``name``, or None."""
        if name not in self.dropped:
            value = self.fields.index.get(name)
            if value is not None:
                return value
        if self.added:
            for other, value in self.added:
                if other == name:
                    return value
        return None

    def all(self, name: bytes) -> list[bytes]:
        """Every value of ``name``, in order."""
        return [value for other, value in self if other == name]

    def __contains__(self, name: bytes) -> bool:
        return self.get(name) is not None

    def __iter__(self) -> Iterator[Pair]:
        dropped = self.dropped
        for pair in self.fields.pairs:
            if pair[0] not in dropped:
                yield pair
        yield from self.added

    def set(self, name: bytes, value: bytes) -> None:
        """Make ``value`` the only value of ``name``. Raises ValueError for octets that a value may not hold."""
        if self.added or name in self.fields.index:
            self.drop(name)
        if _translate(value, VALUE_TABLE) != value or name not in _GOOD_NAMES:
            _check(name, value)
        self.added.append((name, value))

    def add(self, name: bytes, value: bytes) -> None:
        """Add a field, whatever stands there already. Raises ValueError for a bad name or value."""
        if _translate(value, VALUE_TABLE) != value or name not in _GOOD_NAMES:
            _check(name, value)
        self.added.append((name, value))

    def drop(self, name: bytes) -> None:
        """Remove every field of that name."""
        if name in self.fields.index and name not in self.dropped:
            self.dropped |= {name}
        if self.added:
            self.added = [pair for pair in self.added if pair[0] != name]

    def write(self, out: list[bytes]) -> None:
        """Append the lines of what is to be forwarded to ``out``. Hot."""
        fields = self.fields
        dropped = self.dropped
        block = fields.forwarded
        if dropped:
            block = fields.block(_union(fields.not_forwarded, dropped))
        elif block is None:
            block = fields.forwarded = fields.block(fields.not_forwarded)
        out.append(block)
        if self.added:
            # Not not_forwarded: a client that names a field in Connection removes its own, never one that we add.
            without = fields.ours
            for name, value in self.added:
                if name not in without:
                    out += (name, b": ", value, b"\r\n")
