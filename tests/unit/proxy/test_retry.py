from __future__ import annotations

from random import Random

import pytest

from gatewright.proxy.retry import LEAST_PER_SECOND, RetryBudget, RetryPolicy
from gatewright.snapshot import model


def policy(**more: object) -> RetryPolicy:
    return RetryPolicy(model.Retries(**more))  # type: ignore[arg-type]


def may(target: RetryPolicy, failure: str | int = "connect", **more: object) -> bool:
    case = {"method": b"GET", "attempt": 1, "sent_anything": True, "body_replayable": True} | more
    return target.may_retry(failure=failure, **case)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("on", "failure", "expected"),
    [
        (("connect", "reset"), "connect", True),
        (("connect", "reset"), "timeout", False),
        (("connect", "reset"), 503, False),
        (("502", "503"), 503, True),
        (("502", "503"), 504, False),
        (("5xx",), 599, True),
        (("5xx",), 429, False),
        ((), "connect", False),
    ],
)
def test_only_what_is_named_is_retried(on: tuple[str, ...], failure: str | int, expected: bool) -> None:
    assert may(policy(on=on), failure) is expected


def test_statuses_are_numbers_for_the_exchange() -> None:
    assert policy(on=("connect", "503")).statuses == {503}
    assert policy(on=("5xx",)).statuses == set(range(500, 600))


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"])
def test_idempotent_methods_are_retried(method: bytes) -> None:
    assert may(policy(), method=method)


@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"get", b"MKCOL"])
def test_other_methods_are_not_once_something_was_sent(method: bytes) -> None:
    assert not may(policy(), method=method)
    assert may(policy(), method=method, sent_anything=False)


def test_methods_say_more_or_less() -> None:
    assert may(policy(methods=("POST",)), method=b"POST")
    assert not may(policy(methods=("POST",)), method=b"GET")


def test_a_body_that_is_gone_cannot_be_sent_again() -> None:
    assert not may(policy(), method=b"PUT", body_replayable=False)


def test_attempts_count_the_retries() -> None:
    target = policy(attempts=2)
    assert [may(target, attempt=tries) for tries in (1, 2, 3)] == [True, True, False]
    assert not may(policy(attempts=0))


def test_the_budget_is_a_share_of_the_requests() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.window.add(100.0)
    granted = 0
    while budget.take(0.2, 100.0):
        budget.window.add(100.0)  # the retry's own end
        granted += 1
    assert granted == 200
    assert budget.take(0.2, 111.0), "ten seconds later it is forgotten"


def test_a_quiet_upstream_may_retry_too() -> None:
    budget = RetryBudget()
    assert sum(budget.take(0.0, 100.0) for _ in range(100)) == LEAST_PER_SECOND * 10


@pytest.mark.parametrize(("attempt", "full"), [(1, 0.1), (2, 0.2), (3, 0.4), (5, 1.0), (1000, 1.0)])
def test_the_delay_doubles_up_to_the_most_and_half_of_it_is_chance(attempt: int, full: float) -> None:
    target = policy(backoff=0.1, max_backoff=1.0)
    rand = Random(1).random
    delays = [target.delay(attempt, rand) for _ in range(200)]
    assert full * 0.5 <= min(delays) < full * 0.55
    assert full * 0.95 < max(delays) <= full
