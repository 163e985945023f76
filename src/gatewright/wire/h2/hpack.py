"""Compressing header fields (RFC 7541): a decoder for each connection, one encoder for all.

The decoder keeps the dynamic table of the peer. What it reads is bounded: integers by 2**31, the table by what we
announce, what comes out by ``most``. Whatever is malformed ends the connection (COMPRESSION_ERROR), because after it
the two tables may differ.

The encoder has no dynamic table. A field is encoded the same on every connection, so encoding is one look-up, encoded
blocks can be shared, and no secret of one peer is ever in a table that another's fields are compared with (CRIME,
RFC 7541 section 7.1). The price is on the wire: a field that is repeated costs its Huffman-coded text each time instead
of one or two octets. Fields of the static table cost one octet as with anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gatewright.http.headers import Pair
from gatewright.wire.h2 import huffman
from gatewright.wire.h2.errors import COMPRESSION_ERROR, H2Error
from gatewright.wire.h2.memo import Memo
from gatewright.wire.h2.tables import ENTRY_OVERHEAD, FIRST_DYNAMIC, LAST_PSEUDO, STATIC

#: Integers that are larger, or take more octets, are refused: nothing we accept is as long (RFC 7541 section 5.1).
_MOST_INTEGER = 1 << 31
_SHIFTS = (0, 7, 14, 21, 28)
_NOTHING: tuple[Pair, ...] = ()
#: Stands for index 0 where tables are looked into: it is in none of them.
_NO_INDEX = 1 << 40
#: Octets as strings of one.
_OCTETS = [bytes((octet,)) for octet in range(256)]

_LARGEST_STATIC = max(len(name) + len(value) for name, value in STATIC) + ENTRY_OVERHEAD

#: What the first octet of a literal says about its name.
_REGULAR, _PSEUDO, _UNSURE = 0, 1, 2


def _kinds() -> bytes:
    """First octet of a literal → _REGULAR or _PSEUDO where the name is in the static table, else _UNSURE."""
    kinds = bytearray([_UNSURE]) * 256
    for start, most in ((0x40, 0x3F), (0x10, 0x0F), (0x00, 0x0F)):
        for index in range(1, min(most, FIRST_DYNAMIC)):
            kinds[start | index] = _PSEUDO if index <= LAST_PSEUDO else _REGULAR
    return bytes(kinds)


_KINDS = _kinds()

#: Strings that came Huffman-coded, of all connections.
_STRINGS: Memo[bytes, bytes] = Memo(1 << 20, 2048)
_known_string = _STRINGS.get


class HeadersTooLarge(Exception):
    """A header section is larger than allowed; the tables are in step, so the connection can go on."""


class Decoder:
    """The receiving side of one direction of one connection.

    ``most`` bounds a header section: octets of its names and values, and 32 for each field (RFC 9113 section 6.5.2).
    ``table_size`` is the SETTINGS_HEADER_TABLE_SIZE that the peer has been told.

    A block is decoded with :meth:`decode`, or in two steps with :meth:`decode_until_regular` and :meth:`decode_from`.
    """

    __slots__ = ("_allowed", "_before", "_capacity", "_largest", "_most", "_owed", "_size", "_table", "generation")

    def __init__(self, most: int = 65536, table_size: int = 4096) -> None:
        self._most = most
        #: What :meth:`decode_until_regular` gave, which counts together with what :meth:`decode_from` will give.
        self._before: Sequence[Pair] = _NOTHING
        #: Both tables, as indexes count: the newest dynamic entry stands at FIRST_DYNAMIC.
        self._table: list[Pair] = list(STATIC)
        #: No entry is, or has been, larger.
        self._largest = _LARGEST_STATIC
        self._size = 0
        self._capacity = self._allowed = table_size
        #: The peer must begin its next block with a size update to no more than this; -1 when it need not.
        self._owed = -1
        #: Changes whenever the dynamic table does. Octets that were decoded without a change of it mean the same fields
        #: as long as it stays.
        self.generation = 0

    def set_table_size(self, size: int) -> None:
        """The peer has acknowledged this SETTINGS_HEADER_TABLE_SIZE (RFC 7541 section 4.2)."""
        self._allowed = size
        if size < self._capacity and (self._owed < 0 or size < self._owed):
            self._owed = size

    def decode(self, block: bytes) -> list[Pair]:
        """All fields of a block, in order. Hot.

        Raises:
            H2Error: malformed; the connection cannot go on.
            HeadersTooLarge: more than ``most``; the connection can go on.
        """
        self._before = _NOTHING
        if self._owed >= 0 or (block and 0x20 <= block[0] < 0x40):
            return self.decode_from(block, self._read_updates(block))
        return self.decode_from(block, 0)

    def decode_until_regular(self, block: bytes) -> tuple[list[Pair], int]:
        """The fields before the first whose name does not begin with a colon, and where in the block that one is.

        The place is ``len(block)`` when there is none. Raises what :meth:`decode` does; when the fields are too large,
        the rest of the block has been read as well.
        """
        out: list[Pair] = []
        at, end = 0, len(block)
        if self._owed >= 0 or (block and 0x20 <= block[0] < 0x40):
            at = self._read_updates(block)
        table = self._table
        try:
            while at < end:
                first = block[at]
                if 0x80 < first < 0xFF:
                    pair = table[first - 0x80]
                    if pair[0][:1] != b":":
                        break
                    out.append(pair)
                    at += 1
                else:
                    kind = _KINDS[first]
                    if kind == _REGULAR or (kind == _UNSURE and not self._is_pseudo(block, at)):
                        break
                    at = self._read_field(block, at, out)
        except IndexError:
            raise _malformed() from None
        if at > end:
            raise _malformed()
        self._before = out
        if len(out) * self._largest + 2 * at > self._most and _size_of(out) > self._most:
            self.decode_from(block, at)  # which raises, as too much has come before
        return out, at

    def decode_from(self, block: bytes, at: int) -> list[Pair]:
        """The fields from the place on that :meth:`decode_until_regular` gave for this block. Raises the same. Hot."""
        table, end = self._table, len(block)
        out: list[Pair] = []
        append = out.append
        try:
            while at < end:
                first = block[at]
                if 0x80 < first < 0xFF:
                    append(table[first - 0x80])
                    at += 1
                else:
                    at = self._read_field(block, at, out)
        except IndexError:
            raise _malformed() from None
        if at > end:
            raise _malformed()
        # Nearly always it is known without counting that this is not too much: no field comes out larger than an entry
        # of the table and its own octets, of which Huffman codes take five bits at least.
        if (len(self._before) + len(out)) * self._largest + 2 * end > self._most:
            self._check_size(out)
        return out

    def _read_field(self, block: bytes, at: int, out: list[Pair]) -> int:
        """A literal, or an index of more than one octet. Gives the place behind it. Hot.

        A string that is cut off gives a place behind the end of the block, which whoever calls finds out.
        """
        first = block[at]
        if first >= 0x80:
            index, at = read_integer(block, at, 0x7F)
            out.append(self._table[index or _NO_INDEX])
            return at
        if 0x20 <= first < 0x40:
            raise H2Error(COMPRESSION_ERROR, "a table size update that is not at the beginning of a block")
        most = 0x3F if first >= 0x40 else 0x0F
        index = first & most
        if index == most:
            index, at = read_integer(block, at, most)
        else:
            at += 1
        if index:
            name = self._table[index][0]
        else:
            name, at = _read_string(block, at)
        length = block[at]
        size = length & 0x7F
        if size != 0x7F:  # the same as _read_string does, without its two calls
            begin = at + 1
            at = begin + size
            value = block[begin:at]
            if length >= 0x80:
                value = _known_string(value) or _new_string(value)
        else:
            value, at = _read_string(block, at)
        pair = (name, value)
        out.append(pair)
        if first >= 0x40:
            self._insert(pair)
        elif first >= 0x10:
            _never_index(name)
        return at

    def _insert(self, pair: Pair) -> None:
        """Put a field into the dynamic table (RFC 7541 section 4.4)."""
        name, value = pair
        size = len(name) + len(value) + ENTRY_OVERHEAD
        self.generation += 1
        if self._size + size > self._capacity:
            self._evict(self._capacity - size)
            if size > self._capacity:
                return
        self._table.insert(FIRST_DYNAMIC, pair)
        self._size += size
        if size > self._largest:  # noqa: PLR1730 - max() takes 70 ns
            self._largest = size

    def _evict(self, room: int) -> None:
        """Remove the oldest entries until no more than ``room`` is taken, or none is left."""
        table = self._table
        while self._size > room and self._size:
            name, value = table.pop()
            self._size -= len(name) + len(value) + ENTRY_OVERHEAD

    def _read_updates(self, block: bytes) -> int:
        """The table size updates at the beginning of a block (RFC 7541 section 6.3). Gives the place behind them."""
        at = 0
        while at < len(block) and 0x20 <= block[at] < 0x40:
            try:
                size, at = read_integer(block, at, 0x1F)
            except IndexError:
                raise _malformed() from None
            if size > self._allowed or 0 <= self._owed < size:
                raise H2Error(COMPRESSION_ERROR, "a table size update above what is allowed")
            self._owed = -1
            self._capacity = size
            self.generation += 1
            self._evict(size)
        if self._owed >= 0:
            raise H2Error(COMPRESSION_ERROR, "no table size update after the table was made smaller")
        return at

    def _is_pseudo(self, block: bytes, at: int) -> bool:
        """Whether the name of the field at ``at`` begins with a colon, where the first octet does not say."""
        first = block[at]
        most = 0x7F if first >= 0x80 else 0x3F if first >= 0x40 else 0x0F
        index, at = read_integer(block, at, most)
        if index or first >= 0x80:
            name = self._table[index or _NO_INDEX][0]
        else:
            name, at = _read_string(block, at)
        return name.startswith(b":")

    def _check_size(self, out: list[Pair]) -> None:
        """Count what has come out of this block."""
        if _size_of(self._before) + _size_of(out) > self._most:
            raise HeadersTooLarge


def read_integer(block: bytes, at: int, most: int) -> tuple[int, int]:
    """An integer whose prefix has the bits of ``most`` (RFC 7541 section 5.1), and the place behind it.

    Raises:
        H2Error: more than 2**31 or five more octets.
        IndexError: it is cut off.
    """
    value = block[at] & most
    at += 1
    if value < most:
        return value, at
    for shift in _SHIFTS:
        octet = block[at]
        at += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80 and value <= _MOST_INTEGER:
            return value, at
    raise H2Error(COMPRESSION_ERROR, "an integer that is too large")


def _read_string(block: bytes, at: int) -> tuple[bytes, int]:
    """A string (RFC 7541 section 5.2), and the place behind it, which is behind the block when it is cut off. Hot."""
    first = block[at]
    length, at = read_integer(block, at, 0x7F)
    end = at + length
    text = block[at:end]
    if first < 0x80:
        return text, end
    return _known_string(text) or _new_string(text), end


def _new_string(coded: bytes) -> bytes:
    """Decode what is not known; keep it when it comes for the second time."""
    plain = huffman.decode(coded)
    if _STRINGS.again(coded):
        _STRINGS.keep(coded, plain, len(coded) + len(plain))
    return plain


def _malformed() -> H2Error:
    """The error for whatever led out of a table or out of the block."""
    return H2Error(COMPRESSION_ERROR, "an index that is in neither table, or a field that is cut off")


def _size_of(pairs: Sequence[Pair]) -> int:
    """The size of a header section as SETTINGS_MAX_HEADER_LIST_SIZE counts it (RFC 9113 section 6.5.2)."""
    return sum([len(name) + len(value) for name, value in pairs]) + ENTRY_OVERHEAD * len(pairs)


#: Names whose values are not to be compared with guesses anywhere on the way (RFC 7541 section 7.1.3), by their hashes.
_NEVER_INDEXED = {hash(name) for name in (b"authorization", b"cookie", b"proxy-authorization", b"set-cookie")}
_MOST_NEVER_INDEXED = 64

#: Index of each pair of the static table, and the first of each name.
_EXACT = {pair: index for index, pair in enumerate(STATIC) if pair[1]}
_NAMES = {name: index for index, (name, _) in reversed(list(enumerate(STATIC))) if name}

#: Encoded fields, for all connections.
_FIELDS: Memo[Pair, bytes] = Memo(1 << 20, 4096)
_known_field = _FIELDS.get


def encode_pairs(pairs: Iterable[Pair]) -> bytes:
    """A block of these fields; names are in lower case. Hot: what comes again and again costs a look-up a field."""
    return b"".join([_known_field(pair) or _new_field(pair) for pair in pairs])


def encode_pair(name: bytes, value: bytes) -> bytes:
    """One field; a block is nothing but encoded fields, one after the other. Hot."""
    pair = (name, value)
    return _known_field(pair) or _new_field(pair)


def _new_field(pair: Pair) -> bytes:
    """Encode a field that is not known: plain, which is fast; Huffman-coded, and kept, from the second time on."""
    again = _FIELDS.again(pair)
    index = _EXACT.get(pair)
    encoded = _write_integer(0x80, 0x7F, index) if index else _write_literal(pair, coded=again)
    if again:
        _FIELDS.keep(pair, encoded, len(pair[0]) + len(pair[1]) + len(encoded))
    return encoded


def _write_literal(pair: Pair, *, coded: bool) -> bytes:
    """A literal that the peer does not put into its table (RFC 7541 sections 6.2.2 and 6.2.3)."""
    name, value = pair
    never = hash(name) in _NEVER_INDEXED or len(_NEVER_INDEXED) >= _MOST_NEVER_INDEXED
    start = 0x10 if never else 0x00
    index = _NAMES.get(name)
    if index:
        return _write_integer(start, 0x0F, index) + _write_string(value, coded=coded)
    return _OCTETS[start] + _write_string(name, coded=coded) + _write_string(value, coded=coded)


def _write_string(text: bytes, *, coded: bool) -> bytes:
    """A string; Huffman-coded when asked for and shorter."""
    if coded:
        short = huffman.encode(text)
        if len(short) < len(text):
            return _write_integer(0x80, 0x7F, len(short)) + short
    return _write_integer(0x00, 0x7F, len(text)) + text


def _write_integer(start: int, most: int, value: int) -> bytes:
    """An integer behind the bits of ``start``, with a prefix that has the bits of ``most``."""
    if value < most:
        return _OCTETS[start | value]
    out = bytearray((start | most,))
    value -= most
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _never_index(name: bytes) -> None:
    """A peer wants this name never indexed, and whoever passes it on must pass that on (RFC 7541 section 6.2.3).

    It holds for the name from now on, whoever sends it. After 64 names it holds for all: that costs nobody more than
    some compression behind the next proxy, and it is as much as there is to remember.
    """
    code = hash(name)
    if code not in _NEVER_INDEXED and len(_NEVER_INDEXED) < _MOST_NEVER_INDEXED:
        _NEVER_INDEXED.add(code)
        _FIELDS.clear()


def size_update(size: int) -> bytes:
    """A table size update, for the beginning of a block (RFC 7541 section 6.3).

    A connection sends ``size_update(0)`` once, when its peer first makes the table smaller; our table is empty anyway.
    """
    return _write_integer(0x20, 0x1F, size)


#: ``:status`` of each number below 1000, encoded.
STATUS = [
    _write_integer(0x80, 0x7F, _EXACT[b":status", b"%03d" % status])
    if (b":status", b"%03d" % status) in _EXACT
    else _write_literal((b":status", b"%03d" % status), coded=True)
    for status in range(1000)
]
