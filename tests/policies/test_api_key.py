from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from gatewright.sdk import CREDENTIAL, InvalidPolicy

KEY = (b"x-api-key", b"acme-key")
HOST = (b"accept", b"*/*")


def test_the_key_identifies_the_consumer_and_goes_no_further(bench: Any, send: Any, reason: Any) -> None:
    ex = send(bench.policy("api_key"), headers=[HOST, KEY])
    assert reason(ex) is None
    assert ex.consumer.name == "acme"
    assert ex.vars[CREDENTIAL] == sha256(b"acme-key").digest()
    assert ex.upstream_saw == [HOST]


def test_two_live_keys(bench: Any, send: Any) -> None:
    policy = bench.policy("api_key")
    assert send(policy, headers=[(b"x-api-key", b"acme-next-key")]).consumer is send(policy, headers=[KEY]).consumer


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([HOST], (401, "api_key.missing")),
        ([(b"x-api-key", b"wrong")], (401, "api_key.unknown")),
        ([(b"x-api-key", b"")], (401, "api_key.unknown")),
        ([(b"x-api-key", b"x" * 5000)], (401, "api_key.unknown")),
        ([KEY, KEY], (400, "api_key.repeated")),
        ([KEY, (b"x-api-key", b"other")], (400, "api_key.repeated")),
        ([HOST, HOST, KEY], None),
    ],
)
def test_refusals(bench: Any, send: Any, reason: Any, headers: Any, expected: Any) -> None:
    ex = send(bench.policy("api_key"), headers=headers)
    assert reason(ex) == expected
    challenge = [b'ApiKey realm="api"'] if expected and expected[0] == 401 else []
    assert ex.sent(b"www-authenticate") == challenge
    assert (ex.consumer is None) is (expected is not None)


@pytest.mark.parametrize(
    ("config", "target", "headers", "left"),
    [
        ({"header": "Authorization"}, b"/", [(b"authorization", b"acme-key")], (None, [])),
        ({"query": "key"}, b"/?a=1&key=acme-key&b=2", [], (b"a=1&b=2", [])),
        ({"query": "key"}, b"/?%6bey=acme%2Dkey", [], (None, [])),
        (
            {"header": None, "cookie": "k"},
            b"/",
            [(b"cookie", b"a=b; k=acme-key; c=d")],
            (None, [(b"cookie", b"a=b; c=d")]),
        ),
        ({"header": None, "cookie": "k"}, b"/", [(b"cookie", b"k=acme-key")], (None, [])),
    ],
)
def test_places(bench: Any, send: Any, config: Any, target: bytes, headers: Any, left: Any) -> None:
    ex = send(bench.policy("api_key", config), target=target, headers=headers)
    assert ex.consumer is not None
    assert (ex.request.query, ex.upstream_saw) == left


def test_the_key_stays_when_wanted(bench: Any, send: Any) -> None:
    ex = send(bench.policy("api_key", hide=False, query="key"), target=b"/?key=acme-key")
    assert ex.request.query == b"key=acme-key"


def test_keys_in_two_places_are_refused(bench: Any, send: Any, reason: Any) -> None:
    ex = send(bench.policy("api_key", query="key"), target=b"/?key=acme-key", headers=[KEY])
    assert reason(ex) == (400, "api_key.repeated")


def test_optional(bench: Any, send: Any, reason: Any) -> None:
    policy = bench.policy("api_key", optional=True)
    ex = send(policy, headers=[HOST])
    assert (reason(ex), ex.consumer) == (None, None)
    assert reason(send(policy, headers=[(b"x-api-key", b"wrong")])) == (401, "api_key.unknown")
    assert send(policy, headers=[KEY]).consumer.name == "acme"


def test_a_key_that_an_earlier_policy_put_there_counts(bench: Any, send: Any) -> None:
    headers = bench.policy("headers", request={"set": {"x-api-key": "acme-key"}})
    assert send(headers, bench.policy("api_key")).consumer.name == "acme"
    removed = bench.policy("headers", request={"remove": ["x-api-key"]})
    assert send(removed, bench.policy("api_key"), headers=[KEY]).consumer is None


def test_no_place_is_refused(bench: Any) -> None:
    with pytest.raises(InvalidPolicy, match="one of"):
        bench.policy("api_key", header=None)


def test_the_realm_cannot_break_the_challenge(bench: Any) -> None:
    with pytest.raises(ValueError, match="realm"):
        bench.policy("api_key", realm='a"b')


def test_a_key_is_never_an_answer(bench: Any, send: Any) -> None:
    ex = send(bench.policy("api_key"), headers=[(b"x-api-key", b"secret-guess")])
    assert b"secret-guess" not in repr((ex.reply.detail, ex.client_saw)).encode()
