"""Statuses, deadlines and messages of gRPC, against gRPC's own documents."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import grpc as library
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.http.headers import Fields
from gatewright.http.reply import Reply
from gatewright.proxy import grpc
from gatewright.reasons import REASONS


def test_the_names_are_those_of_the_library() -> None:
    assert {name: code for code, name in enumerate(grpc.NAMES)} == {
        each.name: each.value[0] for each in library.StatusCode
    }


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"10S", 10.0),
        (b"99999999m", 99_999.999),
        (b"500u", 0.0005),
        (b"1n", 1e-9),
        (b"0S", 0.0),
        (b"00000001S", 1.0),
    ],
)
def test_timeouts(value: bytes, seconds: float) -> None:
    assert grpc.parse_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"S",
        b"1",
        b"1s",
        b"1 S",
        b" 1S",
        b"1S ",
        b"-1S",
        b"+1S",
        b"1.5S",
        b"123456789S",
        b"1SS",
        b"0x1S",
        b"\xb9S",
        b"1h",
    ],
)
def test_a_timeout_is_one_to_eight_digits_and_a_unit(value: bytes) -> None:
    assert grpc.parse_timeout(value) is None


@given(st.floats(min_value=0.0, max_value=1e13))
def test_what_is_left_is_never_more_and_hardly_less(seconds: float) -> None:
    written = grpc.write_timeout(seconds)
    again = grpc.parse_timeout(written)
    assert again is not None
    assert again <= max(seconds, 1e-6) * (1 + 1e-12)
    assert again >= min(seconds * 0.999, 3600.0 * 99_999_999) - 1e-6


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_ends_a_call_with_a_status_that_is_not_ok(reason: str) -> None:
    code = grpc.code_for(REASONS[reason][0], reason)
    assert code != grpc.OK
    assert code != grpc.UNKNOWN or REASONS[reason][0] == 505


@pytest.mark.parametrize(
    ("status", "reason", "name"),
    [
        (400, "request.grpc_timeout", "INVALID_ARGUMENT"),
        (401, "api_key.missing", "UNAUTHENTICATED"),
        (403, "ip_filter.denied", "PERMISSION_DENIED"),
        (404, "route.none", "UNIMPLEMENTED"),
        (413, "request.body_too_large", "RESOURCE_EXHAUSTED"),
        (429, "rate_limit.exceeded", "RESOURCE_EXHAUSTED"),
        (502, "upstream.connect", "UNAVAILABLE"),
        (502, "upstream.malformed", "INTERNAL"),
        (503, "upstream.none", "UNAVAILABLE"),
        (504, "upstream.connect_timeout", "UNAVAILABLE"),
        (504, "upstream.timeout", "DEADLINE_EXCEEDED"),
        (504, "route.timeout", "DEADLINE_EXCEEDED"),
        (308, "", "UNKNOWN"),
        (418, "", "UNKNOWN"),
    ],
)
def test_answers_of_the_gateway(status: int, reason: str, name: str) -> None:
    assert grpc.NAMES[grpc.code_for(status, reason)] == name


@pytest.mark.parametrize(
    ("reset", "name"),
    [
        *((code, "INTERNAL") for code in (0, 1, 2, 3, 4, 6, 9, 10, 99)),
        (5, "UNKNOWN"),
        (7, "UNAVAILABLE"),
        (8, "CANCELLED"),
        (11, "RESOURCE_EXHAUSTED"),
        (12, "PERMISSION_DENIED"),
    ],
)
def test_resets_of_the_endpoint(reset: int, name: str) -> None:
    """Error codes as "PROTOCOL-HTTP2" maps them; only where the reset is the reason."""
    assert grpc.NAMES[grpc.code_for(502, "upstream.reset", reset)] == name
    assert grpc.code_for(504, "route.timeout", reset) == grpc.DEADLINE_EXCEEDED


def test_conditions_name_every_status_but_ok() -> None:
    assert grpc.CONDITIONS["grpc_unavailable"] == grpc.UNAVAILABLE
    assert len(grpc.CONDITIONS) == 16
    assert all(grpc.condition_for(code) == name for name, code in grpc.CONDITIONS.items())
    assert grpc.condition_for(grpc.OK) == ""


@given(st.text(max_size=100))
def test_messages_are_printable_and_read_back(text: str) -> None:
    written = grpc.write_message(text)
    assert all(0x20 <= octet <= 0x7E for octet in written)
    assert unquote_to_bytes(written) == text.encode(errors="replace")


def test_messages_end() -> None:
    assert len(grpc.write_message("\u20ac" * 10_000)) <= 9 * 512


def test_a_reply_becomes_trailers() -> None:
    reply = Reply(
        429, "rate_limit.exceeded", ((b"x-limit", b"5"), (b"content-language", b"en")), detail="Too many: 100%"
    )
    head = grpc.trailers_only(reply, "grpc", -1, b"id-1")
    assert head.status == 200
    assert list(head.headers) == [
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"8"),
        (b"grpc-message", b"rate_limit.exceeded: Too many: 100%25 (request id-1)"),
        (b"x-limit", b"5"),
    ]


@pytest.mark.parametrize(("reason", "message"), [("", b"HTTP status 308"), ("x.y", b"x.y: HTTP status 308")])
def test_a_reply_without_words_has_a_message(reason: str, message: bytes) -> None:
    head = grpc.trailers_only(Reply(308, reason, ((b"location", b"/"),)), "grpc", -1, b"")
    assert (head.headers.get(b"grpc-status"), head.headers.get(b"grpc-message")) == (b"2", message)


def test_a_reply_may_bring_its_own_status() -> None:
    reply = Reply(200, "mock.done", ((b"grpc-status", b"5"), (b"grpc-message", b"nobody")), body=b"text")
    head = grpc.trailers_only(reply, "grpc-web", -1, b"")
    assert grpc.reply_code(reply, -1) == grpc.NOT_FOUND
    assert list(head.headers) == [
        (b"content-type", b"application/grpc-web+proto"),
        (b"grpc-status", b"5"),
        (b"grpc-message", b"nobody"),
    ]


@pytest.mark.parametrize(
    ("retry_after", "milliseconds"),
    [(b"3", b"3000"), (b"0", b"0"), (b"Wed, 21 Oct", None), (b"99999999", None), (b"", None)],
)
def test_pushback(retry_after: bytes, milliseconds: bytes | None) -> None:
    assert grpc.pushback(retry_after) == milliseconds


@pytest.mark.parametrize(
    ("status", "pairs", "expected"),
    [
        (200, [(b"content-type", b"application/grpc")], -1),
        (200, [(b"content-type", b"application/grpc"), (b"grpc-status", b"14")], grpc.UNAVAILABLE),
        (200, [(b"content-type", b"application/grpc"), (b"grpc-status", b"77")], grpc.UNKNOWN),
        (200, [(b"content-type", b"text/html")], -1),  # its end will not have one
        (502, [(b"content-type", b"text/html")], grpc.UNAVAILABLE),
        (400, [], grpc.INTERNAL),
        (418, [], grpc.UNKNOWN),
    ],
)
def test_what_a_head_tells(status: int, pairs: list[tuple[bytes, bytes]], expected: int) -> None:
    assert grpc.code_of(status, Fields(pairs)) == expected
