"""Header sections of one connection, one after the other.

A peer repeats itself: mostly all of its header section, nearly always all but a field or two (a trace id, the date, a
length). HTTP/2 makes that small on the wire; here it makes it cheap to read:

- the same bytes give the same :class:`Fields` object;
- when the one field that changed last time is the one that changes now, only its line is read;
- a section with the same lines but for up to four is made from the one before, line by line;
- anything else is read anew.

What is read is checked, always in the same way; what stands unchanged has been. Reading ten fields anew costs 4 µs,
four changed 2 µs, the same one changed 0.7 µs, none 0.1 µs (benchmarks/micro/bench_exchange.py).
"""

from __future__ import annotations

from operator import ne
from typing import Generic, TypeVar

from gatewright.http.headers import VALUE_TABLE, Around
from gatewright.wire.h1 import MOST_CHANGED, TELLING, RequestFields, ResponseFields

F = TypeVar("F", RequestFields, ResponseFields)

_LONGEST_KEPT = 4096


class Changing:
    """The place of the one line that changes from section to section; what is around it stays."""

    __slots__ = ("after", "around", "before", "name", "start")

    def __init__(self, section: bytes, fields: RequestFields | ResponseFields, at: int) -> None:
        lines: list[bytes] = fields.lines or []
        line = lines[at]
        begin = sum(map(len, lines[:at])) + 2 * at
        #: Name of the field, and the beginning of its line up to the colon, as it is spelled.
        self.name = fields.pairs[at][0]
        self.start = line[: len(self.name) + 1]
        self.before, self.after = section[:begin], section[begin + len(line) :]
        #: The same for the block that is forwarded.
        self.around = Around(fields.pairs, lines, at)


class Sections(Generic[F]):
    """Reads the sections of one connection. Keeps the last one, when it is not large."""

    __slots__ = ("_changing", "_fields", "_kind", "_section")

    def __init__(self, kind: type[F]) -> None:
        self._kind: type[F] = kind
        self._section = b""
        self._fields: F | None = None
        self._changing: Changing | None = None

    def read(self, section: bytes, most: int) -> F:
        """The fields of ``section``, at most ``most``. Raises ProtocolError. Hot."""
        old = self._fields
        if old is None:
            return self._anew(section, most)
        if section == self._section:
            return old
        changing = self._changing
        if changing is not None and section.startswith(changing.before) and section.endswith(changing.after):
            fields = _change(old, section, changing)
            if fields is not None:
                self._section, self._fields = section, fields
                return fields
        return self._follow(old, section) or self._anew(section, most)

    def _anew(self, section: bytes, most: int) -> F:
        """Read all of it."""
        self._fields = self._changing = None  # until it has been understood
        fields = self._kind(section, most)
        if len(section) <= _LONGEST_KEPT:
            self._section, self._fields = section, fields
        return fields

    def _follow(self, old: F, section: bytes) -> F | None:
        """The fields of a section that differs from ``old`` in a few values; None when it differs in more than that."""
        lines = section.split(b"\r\n")
        before = old.lines
        pairs = old.pairs
        if before is None or len(lines) != len(before) or len(old.index) != len(pairs) or len(section) > _LONGEST_KEPT:
            return None
        differs = list(map(ne, lines, before))
        count = differs.count(True)
        if count > MOST_CHANGED:
            return None
        new_pairs = list(pairs)
        index = old.index.copy()
        reframed = False
        at = -1
        for _ in range(count):
            at = differs.index(True, at + 1)
            line = lines[at]
            name, _, value = line.partition(b":")
            name = name.lower()
            # The same name as before is a good name; what stands in the line is checked as ever.
            if name != pairs[at][0] or name in TELLING or line.translate(VALUE_TABLE) != line:
                return None
            value = value.strip(b" \t")
            new_pairs[at] = name, value
            index[name] = value
            reframed = reframed or name == b"content-length"
        fields = object.__new__(self._kind)
        fields.adopt(tuple(new_pairs), index, lines)
        fields.inherit(old, reframed=reframed)
        self._section, self._fields = section, fields
        self._changing = Changing(section, fields, at) if count == 1 else None
        return fields


def _change(old: F, section: bytes, changing: Changing) -> F | None:
    """The fields of a section in which only the one line has changed; None when that is not so. Hot."""
    begin, end = len(changing.before), len(section) - len(changing.after)
    line = section[begin:end]
    if not line.startswith(changing.start) or line.translate(VALUE_TABLE) != line or len(line) > _LONGEST_KEPT:
        return None  # another name, more than one line, not a line at all, or too much to keep
    name = changing.name
    value = line[len(changing.start) :].strip(b" \t")
    index = old.index.copy()
    index[name] = value
    fields = object.__new__(type(old))
    around = changing.around
    fields.vary(around, line, index)
    fields.inherit(old, reframed=name == b"content-length")
    split = around.kept.get(fields.not_forwarded)
    if split is not None and split[1] is not None:  # this connection forwards them unedited: saves 200 ns over asking
        fields.forwarded = b"%b%b%b" % (split[0], line, split[1])
    return fields
