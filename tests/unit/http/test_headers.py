"""Header sections: order, edits laid over them, and that no value can split a message (RFC 9110 section 5)."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.http import headers as module
from gatewright.http.headers import NO_FIELDS, Fields, Headers, check_field
from gatewright.wire.h1 import RequestFields, ResponseFields

NAMES = st.sampled_from([b"a", b"b", b"c"])
VALUES = st.sampled_from([b"", b"1", b"2"])
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=5)
EDITS = st.lists(st.tuples(st.sampled_from(["set", "add", "drop"]), NAMES, VALUES), max_size=8)


def written(headers: Headers) -> bytes:
    out: list[bytes] = []
    headers.write(out)
    return b"".join(out)


def test_fields_know_the_first_value_of_each_name() -> None:
    fields = Fields([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    assert fields.index == {b"a": b"1", b"b": b"2"}
    assert fields.all(b"a") == [b"1", b"3"]
    assert fields.all(b"c") == []


def test_blocks_are_made_once_and_bounded() -> None:
    fields = Fields([(b"a", b"1"), (b"b", b"2")])
    block = fields.block(frozenset({b"a"}))
    assert block == b"b: 2\r\n"
    assert fields.block(frozenset({b"a"})) is block
    for i in range(100):
        fields.block(frozenset({b"x%d" % i}))
        assert len(fields._blocks) <= module._MOST_BLOCKS
    assert fields.block(frozenset({b"a"})) == block


def test_digests_are_those_of_the_value_at_hand() -> None:
    fields = Fields([(b"a", b"one"), (b"b", b"two")])
    for name in (b"a", b"a", b"b", b"a"):
        value = fields.index[name]
        assert fields.digest(value) == sha256(value).digest()
    assert fields.digest(b"") == sha256(b"").digest()


def test_lines_are_forwarded_in_the_spelling_of_their_sender() -> None:
    assert RequestFields(b"X-Abc:1\r\nY:  2", 5).block(frozenset()) == b"X-Abc:1\r\nY:  2\r\n"
    assert RequestFields(b"X-Abc:1", 5).block(frozenset({b"x-abc"})) == b""


@given(PAIRS, EDITS)
def test_edits_do_what_they_do_to_a_list(
    pairs: list[tuple[bytes, bytes]], edits: list[tuple[str, bytes, bytes]]
) -> None:
    section = b"\r\n".join(b"%b: %b" % pair for pair in pairs)
    parsed, plain, model = Headers(RequestFields(section, 10)), Headers(Fields(pairs)), list(pairs)
    for what, name, value in edits:
        if what != "add":
            model = [pair for pair in model if pair[0] != name]
        if what != "drop":
            model.append((name, value))
        for headers in (parsed, plain):
            getattr(headers, what)(*((name,) if what == "drop" else (name, value)))
    for headers in (parsed, plain):
        assert list(headers) == model
        assert written(headers) == b"".join(b"%b: %b\r\n" % pair for pair in model)
        for name in (b"a", b"b", b"c", b"d"):
            values = [value for other, value in model if other == name]
            assert headers.all(name) == values
            assert headers.get(name) == (values[0] if values else None)
            assert (name in headers) is bool(values)


@pytest.mark.parametrize("change", [Headers.set, Headers.add])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((b"a", b"1\r\nb: 2"), (b"a", b"\r"), (b"a", b"\n"), (b"a", b"\0"), (b"a", b"\x7f"), (b"a", b"\x1b")),
        *((b"", b"1"), (b"A", b"1"), (b"a b", b"1"), (b"a:", b"1"), (b"a\r\n", b"1"), (b"\xe4", b"1")),
    ],
)
def test_nothing_that_splits_a_message_can_be_set(change: object, name: bytes, value: bytes) -> None:
    headers = Headers(Fields([(b"b", b"0")]))
    headers.set(b"a", b"good name")
    with pytest.raises(ValueError, match="not a header field"):
        change(headers, name, value)  # type: ignore[operator]
    with pytest.raises(ValueError, match="not a header field"):
        check_field(name, value)
    assert b"1" not in written(headers)


@pytest.mark.parametrize("name", [b"content-length", b"transfer-encoding"])
def test_what_frames_a_message_can_be_dropped_but_not_set(name: bytes) -> None:
    """RFC 9112 section 6.3: a second opinion on where a message ends makes two messages of one."""
    headers = Headers(Fields([(name, b"5")]))
    for change in (headers.set, headers.add):
        with pytest.raises(ValueError, match="may be dropped, not set"):
            change(name, b"7")
    headers.drop(name)
    assert written(headers) == b""


def test_a_client_cannot_have_removed_what_we_add() -> None:
    """RFC 9110 section 7.6.1: Connection speaks of the sender's own fields."""
    headers = Headers(RequestFields(b"connection: x-user, close\r\nx-user: mallory\r\nhost: x", 5))
    headers.set(b"x-user", b"alice")
    headers.add(b"x-other", b"1")
    assert written(headers) == b"x-user: alice\r\nx-other: 1\r\n"


@pytest.mark.parametrize("name", [b"connection", b"host", b"via", b"upgrade", b"x-forwarded-for"])
def test_what_we_write_ourselves_is_not_written_twice(name: bytes) -> None:
    headers = Headers(RequestFields(b"a: b", 5))
    headers.add(name, b"close")
    assert written(headers) == b"a: b\r\n"


def test_responses_may_say_via_but_not_connection() -> None:
    headers = Headers(ResponseFields(b"Via: 1.1 x\r\nConnection: close", 5))
    headers.add(b"via", b"1.1 y")
    headers.add(b"connection", b"close")
    assert written(headers) == b"Via: 1.1 x\r\nvia: 1.1 y\r\n"


def test_the_forwarded_block_is_made_once() -> None:
    fields = RequestFields(b"a: b\r\nhost: x", 5)
    assert written(Headers(fields)) == b"a: b\r\n"
    fields.forwarded = b"kept"
    assert written(Headers(fields)) == b"kept"


def test_memos_are_bounded() -> None:
    for i in range(module._MOST_NAMES + 50):
        Headers().set(b"name-%d" % i, b"")
        assert len(module._GOOD_NAMES) <= module._MOST_NAMES
    for i in range(module._MOST_UNIONS + 50):
        assert module._union(frozenset({b"%d" % i}), frozenset({b"a"})) == {b"%d" % i, b"a"}
        assert len(module._UNIONS) <= module._MOST_UNIONS


def test_no_fields_are_shared_and_empty() -> None:
    assert Headers().fields is NO_FIELDS
    assert written(Headers()) == b""
