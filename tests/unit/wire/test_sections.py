"""A section read with the help of the one before gives exactly what it gives when it is read alone."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.errors import ProtocolError
from gatewright.http import headers
from gatewright.wire import sections
from gatewright.wire.h1 import MOST_CHANGED, RequestFields, ResponseFields
from gatewright.wire.sections import Sections

MOST = 12
NAMES = st.sampled_from(
    b"Host host X-A x-a X-B Date Content-Length content-length Connection Expect Upgrade Transfer-Encoding Content-Type "
    b"Via X-Forwarded-For Cookie TE keep-alive".split()
)
VALUES = st.sampled_from(
    b" 1| 2|3| \t4 || x| close| x-a| x-b, upgrade| websocket| chunked| \xff| text/event-stream| text/plain| 100-continue|"
    b" a:b| 1\0| 1\r| 1\n| a\r\nX-C: d| 12a".split(b"|")
)
LINES = st.lists(st.tuples(NAMES, VALUES), max_size=7)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["value", "value", "value", "name", "add", "remove", "same", "big"]),
        st.integers(0, 6),
        NAMES,
        VALUES,
    ),
    max_size=3,
)
KINDS = st.sampled_from([RequestFields, ResponseFields])


def facts(fields: Any) -> dict[str, Any]:
    """Everything a section says."""
    names = ["pairs", "index", "lines", "framing", "connection", "upgrade", "not_forwarded", "ours"]
    names += ["host", "expects"] if isinstance(fields, RequestFields) else ["events"]
    found = {name: getattr(fields, name) for name in names}
    found["type"] = type(fields)
    found["forwarded"] = fields.forwarded or fields.block(fields.not_forwarded)
    found["dropped"] = fields.block(fields.not_forwarded | {b"x-a"})
    return found


def reading(read: Any, *arguments: Any) -> Any:
    try:
        return facts(read(*arguments))
    except ProtocolError as error:
        return error.reason, error.status, error.detail


@settings(max_examples=400)
@given(KINDS, LINES, st.lists(EDITS, min_size=1, max_size=8))
def test_reads_as_if_each_section_were_the_first(kind: Any, lines: list[tuple[bytes, bytes]], steps: list[Any]) -> None:
    known = Sections(kind)
    current = list(lines)
    for edits in [[], *steps]:
        for what, at, name, value in edits:
            if what == "add":
                current.insert(at, (name, value))
            elif current and what != "same":
                place = at % len(current)
                old_name, old_value = current[place]
                if what == "remove":
                    del current[place]
                elif what == "big":
                    current[place] = old_name, b" " + b"v" * 5000
                else:
                    current[place] = (name, old_value) if what == "name" else (old_name, value)
        section = b"\r\n".join(name + b":" + value for name, value in current)
        assert reading(known.read, section, MOST) == reading(kind, section, MOST)


def section(**fields: str) -> bytes:
    return "\r\n".join(f"{name}: {value}" for name, value in fields.items()).encode()


def test_the_same_bytes_give_the_same_object() -> None:
    known = Sections(RequestFields)
    first = known.read(section(host="x", a="1"), MOST)
    assert known.read(section(host="x", a="1"), MOST) is first
    assert known.read(section(host="x", a="2"), MOST) is not first


def test_one_changing_field_is_followed_with_its_block() -> None:
    known = Sections(RequestFields)
    for i in range(4):
        fields = known.read(section(host="x", a=str(i), b="c"), MOST)
        assert fields.block(fields.not_forwarded) == b"a: %d\r\nb: c\r\n" % i
        assert fields.block(fields.not_forwarded | {b"a"}) == b"b: c\r\n"
        assert fields.block(fields.not_forwarded | {b"b"}) == b"a: %d\r\n" % i
    assert fields.forwarded == b"a: 3\r\nb: c\r\n"  # who forwards it unedited finds it made
    assert fields.index == {b"host": b"x", b"a": b"3", b"b": b"c"}


def test_the_blocks_around_a_changing_field_are_bounded() -> None:
    known = Sections(RequestFields)
    for i in range(3):
        fields = known.read(section(host="x", a=str(i), b="c"), MOST)
    for i in range(100):
        assert fields.block(frozenset({b"host", b"x-%d" % i})) == b"a: 2\r\nb: c\r\n"
    assert fields.around is not None
    assert len(fields.around.kept) <= headers._MOST_BLOCKS


def test_a_changing_field_that_is_not_forwarded_is_in_no_block() -> None:
    known = Sections(RequestFields)
    for i in range(3):
        fields = known.read(section(host="x", b="c", connection="a", a=str(i)), MOST)
    assert fields.forwarded is None
    assert fields.block(fields.not_forwarded) == b"b: c\r\n"


def test_the_digest_of_a_value_stays_as_long_as_the_value() -> None:
    known = Sections(RequestFields)
    for key, trace in [("k1", "1"), ("k1", "2"), ("k1", "3"), ("k2", "3"), ("k2", "4"), ("k3", "5")]:
        fields = known.read(section(host="x", key=key, trace=trace), MOST)
        assert fields.digest(fields.index[b"key"]) == sha256(key.encode()).digest()
    again = known.read(section(host="x", key="k3", trace="6"), MOST)
    assert again.digested is fields.digested


@pytest.mark.parametrize("bad", ["x", "1, 1", "-1"])
def test_a_bad_length_is_refused_and_what_was_known_stays_right(bad: str) -> None:
    known = Sections(RequestFields)
    for length in ("1", "2", "3"):
        known.read(section(host="x", **{"content-length": length}), MOST)
    for _ in range(2):
        with pytest.raises(ProtocolError):
            known.read(section(host="x", **{"content-length": bad}), MOST)
        assert known.read(section(host="x", **{"content-length": "4"}), MOST).framing == 4


def test_after_a_section_that_was_refused_everything_is_read_anew() -> None:
    known = Sections(RequestFields)
    known.read(section(host="x"), MOST)
    with pytest.raises(ProtocolError):
        known.read(b"no field", MOST)
    assert known.read(section(host="x"), MOST).host == b"x"


def test_large_sections_are_not_kept() -> None:
    known = Sections(RequestFields)
    large = "v" * (sections._LONGEST_KEPT + 1)
    for a in (large, "1", "2", "3", large, "4"):
        fields = known.read(section(host="x", a=a), MOST)
        assert fields.index[b"a"] == a.encode()
        assert len(known._section) <= sections._LONGEST_KEPT + 64


def test_many_changes_are_read_anew() -> None:
    known = Sections(ResponseFields)
    names = [f"x{i}" for i in range(MOST_CHANGED + 1)]
    known.read(section(**dict.fromkeys(names, "1")), MOST)
    fields = known.read(section(**dict.fromkeys(names, "2")), MOST)
    assert set(fields.index.values()) == {b"2"}
