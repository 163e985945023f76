from __future__ import annotations

import re
from typing import Any

import pytest

HEX = re.compile(rb"[0-9a-f]{32}")


def test_an_id_is_made_passed_on_and_returned(bench: Any, send: Any) -> None:
    ex = send(bench.policy("request_id"))
    assert HEX.fullmatch(ex.request_id)
    expected = [(b"x-request-id", ex.request_id), (b"x-correlation-id", ex.request_id)]
    assert ex.upstream_saw == expected
    assert ex.client_saw == expected


def test_ids_do_not_repeat(bench: Any, send: Any) -> None:
    policy = bench.policy("request_id")
    assert len({send(policy).request_id for _ in range(600)}) == 600


def test_a_well_formed_id_is_taken_over(bench: Any, send: Any) -> None:
    ex = send(bench.policy("request_id"), headers=[(b"x-request-id", b"abc-1"), (b"accept", b"*/*")])
    assert ex.request_id == b"abc-1"
    assert (b"x-request-id", b"abc-1") in ex.upstream_saw
    assert (b"x-correlation-id", b"abc-1") in ex.upstream_saw
    assert ex.sent(b"x-request-id") == [b"abc-1"]


def test_each_field_keeps_its_own_value(bench: Any, send: Any) -> None:
    ex = send(bench.policy("request_id"), headers=[(b"x-correlation-id", b"all"), (b"x-request-id", b"one")])
    assert ex.request_id == b"one"
    assert ex.sent(b"x-correlation-id") == [b"all"]


def test_the_correlation_id_alone_is_enough(bench: Any, send: Any) -> None:
    ex = send(bench.policy("request_id"), headers=[(b"x-correlation-id", b"all")])
    assert ex.request_id == b"all"
    assert ex.sent(b"x-request-id") == [b"all"]


@pytest.mark.parametrize("value", [b"", b"x" * 129, b"a b", b"a;b", b'"', b"\xff", b"a\tb"])
def test_a_malformed_id_is_replaced(bench: Any, send: Any, value: bytes) -> None:
    ex = send(bench.policy("request_id"), headers=[(b"x-request-id", value)])
    assert HEX.fullmatch(ex.request_id)
    assert ex.request.headers.all(b"x-request-id") == [ex.request_id]


def test_a_repeated_id_is_replaced(bench: Any, send: Any) -> None:
    ex = send(bench.policy("request_id"), headers=[(b"x-request-id", b"a"), (b"x-request-id", b"b")])
    assert ex.request.headers.all(b"x-request-id") == [ex.request_id]
    assert HEX.fullmatch(ex.request_id)


def test_trust_never(bench: Any, send: Any) -> None:
    ex = send(bench.policy("request_id", trust="never"), headers=[(b"x-request-id", b"abc")])
    assert HEX.fullmatch(ex.request_id)
    assert ex.request.headers.all(b"x-request-id") == [ex.request_id]


def test_the_upstreams_own_id_does_not_reach_the_client(bench: Any, send: Any) -> None:
    ex = send(bench.policy("request_id"), response=[(b"x-request-id", b"theirs")])
    assert ex.sent(b"x-request-id") == [ex.request_id]


def test_not_returned_when_not_wanted(bench: Any, send: Any) -> None:
    assert send(bench.policy("request_id", respond=False)).client_saw == []


def test_other_names(bench: Any, send: Any) -> None:
    ex = send(bench.policy("request_id", headers=["X-Trace"]), headers=[(b"x-trace", b"t1")])
    assert ex.request_id == b"t1"
    assert ex.client_saw == [(b"x-trace", b"t1")]
