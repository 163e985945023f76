from __future__ import annotations

from base64 import b64decode, b64encode
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.http.grpc_web import (
    Messages,
    TextReader,
    read_type,
    trailer_frame,
    wanted_type,
    write_text,
    write_type,
)
from gatewright.http.headers import Fields


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        (b"application/grpc-web", (False, b"")),
        (b"application/grpc-web+proto", (False, b"+proto")),
        (b"application/grpc-web+json", (False, b"+json")),
        (b"Application/gRPC-Web-Text", (True, b"")),
        (b"application/grpc-web-text+proto; charset=utf-8", (True, b"+proto")),
        (b" application/grpc-web ;a=b", (False, b"")),
        (b"application/grpc-webs", None),
        (b"application/grpc-web+", None),
        (b"application/grpc-web+a b", None),
        (b"application/grpc-web-texts", None),
        (b"application/grpc", None),
        (b"application/grpc+proto", None),
        (b"", None),
    ],
)
def test_content_types(content_type: bytes, form: tuple[bool, bytes] | None) -> None:
    assert read_type(content_type) == form
    if form is not None:
        assert read_type(write_type(form)) == form


@pytest.mark.parametrize(
    ("sent", "accepts", "wanted"),
    [
        (b"application/grpc-web+proto", None, b"application/grpc-web+proto"),
        (b"application/grpc-web-text", b"*/*", b"application/grpc-web-text"),
        (b"application/grpc-web+proto", b"application/grpc-web-text", b"application/grpc-web-text+proto"),
        (b"application/grpc-web-text", b"text/html, application/grpc-web+json", b"application/grpc-web+json"),
        (b"application/json", b"application/grpc-web-text", b"application/grpc-web-text"),
        (b"application/json", None, b"application/grpc-web"),
    ],
)
def test_the_answer_has_the_form_that_is_accepted_or_else_the_one_that_was_sent(
    sent: bytes, accepts: bytes | None, wanted: bytes
) -> None:
    pairs = [(b"content-type", sent)] + ([(b"accept", accepts)] if accepts is not None else [])
    assert write_type(wanted_type(Fields(pairs))) == wanted


def test_a_frame_of_trailers() -> None:
    frame = trailer_frame([(b"grpc-status", b"5"), (b"grpc-message", b"no such thing")])
    assert frame == b"\x80\x00\x00\x00+grpc-status:5\r\ngrpc-message:no such thing\r\n"
    assert trailer_frame(()) == b"\x80\x00\x00\x00\x00"


# --- the text form ----------------------------------------------------------------------------------------------------


def read(pieces: list[bytes]) -> bytes:
    reader = TextReader()
    return b"".join([*(reader.feed(piece, last=False) for piece in pieces), reader.feed(b"", last=True)])


@given(st.lists(st.binary(max_size=40), max_size=6), st.booleans(), st.lists(st.integers(0, 300), max_size=8))
def test_text_is_read_however_it_is_cut(segments: list[bytes], padded: bool, cuts: list[int]) -> None:
    text = b"".join(map(b64encode, segments))
    if not padded:
        text = text.rstrip(b"=")
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    assert read([text[a:b] for a, b in pairwise(places)]) == b"".join(segments)


def test_text_of_single_octets() -> None:
    text = b64encode(b"one") + b64encode(b"t") + b64encode(b"hree")
    assert read([text[i : i + 1] for i in range(len(text))]) == b"onethree"


def test_what_is_complete_is_given_at_once() -> None:
    reader = TextReader()
    assert reader.feed(b"YWJj", last=False) == b"abc"
    assert reader.feed(b"YQ==YWJ", last=False) == b"a"
    assert reader.feed(b"j", last=True) == b"abc"


@pytest.mark.parametrize(
    "text", [b"YWJ!", b"YW\r\nJj", b"A", b"YWJjA", b"=AAA", b"A=AA", b"AA=A", b"YQ==\n", b"Y\x00Jj", b"YW-_", b"===="]
)
def test_what_is_not_base64_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read([text])
    with pytest.raises(ValueError, match=r"."):
        read([text[i : i + 1] for i in range(len(text))])


@given(st.binary(max_size=100))
def test_what_is_written_is_read(data: bytes) -> None:
    assert b64decode(write_text(data)) == data
    assert b"\n" not in write_text(data)


# --- messages -----------------------------------------------------------------------------------------------------------


def message(data: bytes, flags: int = 0) -> bytes:
    return bytes([flags]) + len(data).to_bytes(4, "big") + data


@given(st.lists(st.binary(max_size=30), max_size=5), st.lists(st.integers(0, 200), max_size=8))
def test_messages_are_followed_however_they_are_cut(messages: list[bytes], cuts: list[int]) -> None:
    body = b"".join(map(message, messages))
    ends = {0}
    for each in messages:
        ends.add(max(ends) + 5 + len(each))
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    followed = Messages()
    for begin, end in pairwise(places):
        followed.feed(body[begin:end])
        assert followed.whole() == (end in ends)
    assert followed.whole()


def test_a_body_that_ends_in_a_message_is_not_whole() -> None:
    for cut in range(1, 8):
        followed = Messages()
        followed.feed(message(b"abc")[:cut])
        assert not followed.whole()


@pytest.mark.parametrize("flags", [2, 0x80, 0x81, 0xFF])
def test_only_messages_are_messages(flags: int) -> None:
    followed = Messages()
    followed.feed(message(b"a", flags=1))
    with pytest.raises(ValueError, match="flags"):
        followed.feed(message(b"b", flags=flags))
