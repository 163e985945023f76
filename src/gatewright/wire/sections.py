"""Header sections of one connection, one after the other.

A peer repeats itself: mostly all of its header section, nearly always all but a field or two (a trace id, the date, a
length). HTTP/2 makes that small on the wire; here it makes it cheap to read. The same bytes give the same
:class:`Fields` object; a section with the same lines but for up to four is made from the one before, and only the lines
that differ are read and checked. Reading ten fields anew costs 4 µs, one changed field 1.5 µs, none 0.1 µs
(benchmarks/micro/bench_exchange.py).
"""

from __future__ import annotations

from operator import ne
from typing import Generic, TypeVar

from gatewright.http.headers import VALUE_OCTETS
from gatewright.wire.h1 import MOST_CHANGED, TELLING, RequestFields, ResponseFields

F = TypeVar("F", RequestFields, ResponseFields)

_LONGEST_KEPT = 4096


class Sections(Generic[F]):
    """Reads the sections of one connection. Keeps the last one, when it is not large."""

    __slots__ = ("_fields", "_kind", "_section")

    def __init__(self, kind: type[F]) -> None:
        self._kind = kind
        self._section: bytes | None = None
        self._fields: F | None = None

    def read(self, section: bytes, most: int) -> F:
        """The fields of ``section``, at most ``most``. Raises ProtocolError. Hot."""
        old = self._fields
        if old is not None:
            if section == self._section:
                return old
            fields = _follow(old, section) or self._kind(section, most)
        else:
            fields = self._kind(section, most)
        if len(section) <= _LONGEST_KEPT:
            self._section, self._fields = section, fields
        else:
            self._section = self._fields = None
        return fields


def _follow(old: F, section: bytes) -> F | None:
    """The fields of a section that differs from ``old`` in a few values; None when it differs in more than that."""
    lines = section.split(b"\r\n")
    before = old.lines
    pairs = old.pairs
    if before is None or len(lines) != len(before) or len(old.index) != len(pairs):
        return None
    differs = list(map(ne, lines, before))
    if differs.count(True) > MOST_CHANGED:
        return None
    new_pairs = list(pairs)
    index = old.index.copy()
    reframed = False
    at = -1
    for _ in range(differs.count(True)):
        at = differs.index(True, at + 1)
        line = lines[at]
        name, _, value = line.partition(b":")
        name = name.lower()
        # The same name as before is a good name; what stands in the line is checked as ever.
        if name != pairs[at][0] or name in TELLING or line.translate(None, VALUE_OCTETS):
            return None
        value = value.strip(b" \t")
        new_pairs[at] = name, value
        index[name] = value
        reframed = reframed or name == b"content-length"
    fields = object.__new__(type(old))
    fields.adopt(tuple(new_pairs), index, lines)
    fields.inherit(old, reframed=reframed)
    return fields
