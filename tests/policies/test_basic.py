"""Users and passwords: who gets in, what is refused how, and what a refusal tells."""

from __future__ import annotations

import asyncio
import threading
from base64 import b64encode
from hashlib import pbkdf2_hmac
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewright.policies import basic
from gatewright.sdk import CREDENTIAL, Reply
from gatewright.sdk.offload import Bench
from gatewright.sdk.passwords import PasswordHash
from gatewright.snapshot import model


def hashed(password: str, rounds: int = 1000) -> str:
    salt = b"a salt of 16 by."
    made = pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    parts = [b64encode(part).rstrip(b"=").decode().replace("+", ".") for part in (salt, made)]
    return f"$pbkdf2-sha256${rounds}${parts[0]}${parts[1]}"


def user(name: str, password: str, consumer: str = "acme") -> model.Consumer:
    return model.Consumer(
        consumer, ("gold",), credentials=(model.Credential("basic", id=name, value=hashed(password)),)
    )


def login(name: str, password: str, scheme: str = "Basic") -> tuple[bytes, bytes]:
    return b"authorization", f"{scheme} ".encode() + b64encode(f"{name}:{password}".encode())


USERS = (user("ann", "s3cret"), user("Zoë", "pässword:with:colons", "zoo"))
GOOD = login("ann", "s3cret")


@pytest.fixture
def users(bench: Any) -> Any:
    bench.snapshot = model.Snapshot(consumers=USERS)
    return bench


@pytest.fixture
def run(exchange: Any) -> Any:
    """One request; whether it had to wait."""

    async def one(policy: Any, *headers: tuple[bytes, bytes]) -> tuple[Any, bool]:
        ex = exchange(headers=headers)
        out = policy.on_request(ex)
        waited = out is not None and not isinstance(out, Reply)
        ex.reply = await out if waited else out
        return ex, waited

    return one


async def test_a_user_is_let_in_and_the_password_goes_no_further(users: Any, run: Any) -> None:
    policy = users.policy("basic")
    for waits in (True, False, False):
        ex, waited = await run(policy, (b"accept", b"*/*"), GOOD)
        assert ex.reply is None
        assert waited is waits
        assert ex.consumer is not None
        assert ex.consumer.name == "acme"
        assert len(ex.vars[CREDENTIAL]) == 32
        assert ex.upstream_saw == [(b"accept", b"*/*")]
    stats = users.stats.caches["basic"]
    assert (stats.hits, stats.entries) == (2, 1)


async def test_the_scheme_is_of_any_case_and_may_be_forwarded(users: Any, run: Any) -> None:
    field = login("ann", "s3cret", "bAsIc")
    ex, _ = await run(users.policy("basic", forward=True), field)
    assert ex.upstream_saw == [field]
    assert ex.consumer is not None


@pytest.mark.parametrize("name", ["Zoë", "Zoe\u0308"])
async def test_names_and_passwords_are_utf_8_in_any_composition(users: Any, run: Any, name: str) -> None:
    ex, _ = await run(users.policy("basic"), login(name, "pässword:with:colons"))
    assert (ex.reply, ex.consumer and ex.consumer.name) == (None, "zoo")


B64 = b64encode(b"ann:s3cret")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ([], 401, "missing"),
        ([b"Bearer abc"], 401, "missing"),
        ([b""], 401, "missing"),
        ([b"Basic"], 401, "malformed"),
        ([b"Basic " + B64[:-2]], 401, "malformed"),
        ([b"Basic " + B64 + b", " + B64], 401, "malformed"),
        ([b"Basic " + B64[:4] + b"*" + B64[4:]], 401, "malformed"),
        ([b"Basic user=ann"], 401, "malformed"),
        ([b"Basic " + b64encode(b"no colon")], 401, "malformed"),
        ([b"Basic " + b64encode(b"ann:\xff\xfe")], 401, "malformed"),
        ([b"Basic " + b64encode(b"ann:a\x00b")], 401, "malformed"),
        ([b"Basic " + b64encode(b"ann:" + b"x" * 5000)], 401, "malformed"),
        ([b"Basic " + B64] * 2, 400, "repeated"),
        ([b"Basic " + B64, b"Bearer x"], 400, "repeated"),
        ([b"Basic " + b64encode(b"ann:wrong")], 401, "refused"),
        ([b"Basic " + b64encode(b"ann:")], 401, "refused"),
        ([b"Basic " + b64encode(b":s3cret")], 401, "refused"),
        ([b"Basic " + b64encode(b"nobody:s3cret")], 401, "refused"),
        ([b"Basic " + b64encode(b"Ann:s3cret")], 401, "refused"),
    ],
)
async def test_refusals(users: Any, run: Any, fields: list[bytes], status: int, code: str) -> None:
    ex, _ = await run(users.policy("basic", realm="the shop"), *[(b"authorization", field) for field in fields])
    assert ex.reply is not None
    assert (ex.reply.status, ex.reply.reason) == (status, f"basic.{code}")
    challenge = ((b"www-authenticate", b'Basic realm="the shop", charset="UTF-8"'),)
    assert ex.reply.headers == (challenge if status == 401 else ())
    assert ex.consumer is None


async def test_who_does_not_exist_costs_what_others_cost_and_looks_the_same(
    users: Any, run: Any, monkeypatch: Any
) -> None:
    verified: list[PasswordHash] = []
    verify = PasswordHash.verify

    def noted(self: PasswordHash, password: bytes) -> bool:
        verified.append(self)
        return verify(self, password)

    monkeypatch.setattr(PasswordHash, "verify", noted)
    policy = users.policy("basic")
    replies = []
    for name in ("ann", "nobody"):
        ex, waited = await run(policy, login(name, "guess"))
        assert waited
        ex, waited = await run(policy, login(name, "guess"))
        assert not waited  # remembered alike
        replies.append(ex.reply)
    assert len(verified) == 2
    assert replies[0] is replies[1]


async def test_a_stranger_with_a_right_password_of_another_is_no_one(users: Any, run: Any, monkeypatch: Any) -> None:
    users.snapshot = model.Snapshot(consumers=USERS[:1])
    policy = users.policy("basic")
    for _ in range(2):
        ex, _ = await run(policy, login("nobody", "s3cret"))  # is verified against the hash of ann
        assert ex.reply is not None
        assert ex.consumer is None


async def test_refusals_are_forgotten_sooner_than_what_was_good(users: Any, run: Any) -> None:
    policy = users.policy("basic", remember="1m", remember_refused="5s")
    await run(policy, GOOD)
    await run(policy, login("ann", "wrong"))
    users.clock.advance(6)
    assert [(await run(policy, field))[1] for field in (GOOD, login("ann", "wrong"))] == [False, True]
    users.clock.advance(60)
    assert (await run(policy, GOOD))[1]


async def test_a_changed_password_counts_at_once_and_what_stayed_is_remembered(users: Any, run: Any) -> None:
    before = users.policy("basic")
    await run(before, GOOD)
    await run(before, login("Zoë", "pässword:with:colons"))
    users.snapshot = model.Snapshot(consumers=(user("ann", "n3w"), USERS[1]))
    after = users.policy("basic")
    ex, _ = await run(after, GOOD)
    assert ex.reply is not None
    assert (await run(after, login("ann", "n3w")))[0].reply is None
    assert (await run(after, login("Zoë", "pässword:with:colons")))[1] is False
    users.snapshot = model.Snapshot(consumers=USERS[1:])
    assert (await run(users.policy("basic"), login("ann", "n3w")))[0].reply is not None


async def test_guesses_do_not_drive_out_what_is_good(users: Any, run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(basic, "_MOST_REMEMBERED", 4)
    policy = users.policy("basic")
    await run(policy, GOOD)
    for guess in range(6):
        await run(policy, login("ann", str(guess)))
    assert users.stats.caches["basic_refused"].entries == 4
    assert (await run(policy, GOOD))[1] is False


async def test_too_many_at_once_are_sent_away(users: Any, run: Any, monkeypatch: Any) -> None:
    bench = Bench(threads=1, waiting=1)
    monkeypatch.setattr(basic, "BENCH", bench)
    started, go = threading.Event(), threading.Event()
    verify = PasswordHash.verify

    def slow(self: PasswordHash, password: bytes) -> bool:
        started.set()
        go.wait(10)
        return verify(self, password)

    monkeypatch.setattr(PasswordHash, "verify", slow)
    policy = users.policy("basic")
    waiting = asyncio.ensure_future(run(policy, GOOD))
    await asyncio.sleep(0)
    started.wait(10)
    ex, _ = await run(policy, login("ann", "other"))
    go.set()
    assert ex.reply is not None
    assert (ex.reply.status, ex.reply.reason) == (503, "basic.busy")
    first, _ = await waiting
    assert first.consumer is not None


async def test_optional(users: Any, run: Any) -> None:
    policy = users.policy("basic", optional=True)
    for headers in ([], [(b"authorization", b"Bearer x")]):
        ex, _ = await run(policy, *headers)
        assert (ex.reply, ex.consumer) == (None, None)
    ex, _ = await run(policy, login("ann", "wrong"))
    assert ex.reply is not None


async def test_nobody_is_let_in_where_nobody_is_known(bench: Any, run: Any) -> None:
    ex, waited = await run(bench.policy("basic"), GOOD)
    assert waited
    assert ex.reply is not None


def test_the_realm_cannot_break_the_challenge(bench: Any) -> None:
    with pytest.raises(ValueError, match="realm"):
        bench.policy("basic", realm='a"b')


@given(value=st.binary(max_size=200) | st.binary(max_size=60).map(lambda data: b"Basic " + b64encode(data)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_raises(users: Any, exchange: Any, value: bytes) -> None:
    ex = exchange(headers=[(b"authorization", value)])
    out = users.policy("basic").on_request(ex)
    if out is not None and not isinstance(out, Reply):
        out.close()
    assert ex.consumer is None
