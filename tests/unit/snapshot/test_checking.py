"""The surroundings for checks hold nothing and grant everything."""

from __future__ import annotations

import pytest

from gatewright.sdk import ServiceError
from gatewright.sdk.env import Env
from gatewright.snapshot.checking import CheckEnv


def test_nothing_is_behind_it() -> None:
    env: Env = CheckEnv()
    limiter = env.limiter("token_bucket", "x", 1.0, 1.0, 1.0)
    assert [limiter.take(b"k", 100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    limiter.give_back(b"k")
    assert limiter.remaining(b"k") == limiter.left == float("inf")
    assert limiter.reset_after(b"k") == limiter.resets == 0.0
    env.counter("x", "help").inc("label", by=2.0)
    env.report("something", detail="x")
    assert env.credentials("api_key") == {}
    assert env.clock.monotonic() == env.clock.monotonic()


def test_expressions_are_really_compiled() -> None:
    assert callable(CheckEnv().expression("request.method == 'GET'"))
    with pytest.raises(ValueError, match="too early"):
        CheckEnv().expression("1 +")


async def test_nobody_is_asked() -> None:
    env: Env = CheckEnv()
    service = env.service("http://auth/check")
    with pytest.raises(ServiceError, match=r"upstream\.none"):
        await env.flights("a").join(b"key", lambda: service.ask(b"GET", b""))
    with pytest.raises(ValueError, match="is not the URL of a service"):
        env.service("auth")
