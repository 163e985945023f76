from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gatewright.proxy.breaker import CLOSED, HALF_OPEN, OPEN, Breaker
from gatewright.snapshot import model


def breaker(**more: object) -> Breaker:
    spec = {"consecutive_failures": 3, "failure_rate": None, "open_for": 10.0, "half_open_requests": 2} | more
    return Breaker(model.Breaker(**spec))  # type: ignore[arg-type]


def fail(target: Breaker, now: float, times: int = 1) -> bool:
    return [target.ended(True, now, now) for _ in range(times)][-1]


def test_opens_on_failures_in_a_row() -> None:
    target = breaker()
    assert not fail(target, 0.0, 2)
    assert fail(target, 0.0)
    assert target.state == OPEN
    assert not target.admits(9.9)


def test_a_success_ends_the_row() -> None:
    target = breaker()
    fail(target, 0.0, 2)
    target.ended(False, 0.0, 0.0)
    assert not fail(target, 0.0, 2)
    assert target.state == CLOSED


def test_opens_on_the_rate_only_when_there_were_enough_requests() -> None:
    target = breaker(consecutive_failures=None, failure_rate=0.5, min_requests=10, window=30.0)
    for _ in range(5):
        assert not target.ended(False, 0.0, 0.0)
    assert not fail(target, 0.0, 4)
    assert fail(target, 0.0)
    assert target.state == OPEN


def test_closing_forgets_the_window() -> None:
    target = breaker(consecutive_failures=None, failure_rate=0.5, min_requests=4)
    fail(target, 0.0, 4)
    target.close()
    assert not fail(target, 1.0, 3)


def test_failures_older_than_the_window_do_not_count() -> None:
    target = breaker(consecutive_failures=None, failure_rate=0.5, min_requests=4, window=10.0)
    fail(target, 0.0, 3)
    assert not fail(target, 20.0, 3)
    assert fail(target, 20.0)


def test_half_open_admits_as_many_trials_as_are_needed() -> None:
    target = breaker()
    fail(target, 0.0, 3)
    assert target.admits(10.0)
    assert target.state == HALF_OPEN
    target.began()
    assert target.admits(10.0)
    target.began()
    assert not target.admits(10.0)


def test_closes_when_all_trials_succeeded() -> None:
    target = breaker()
    fail(target, 0.0, 3)
    for last in (False, True):
        assert target.admits(11.0)
        target.began()
        assert target.ended(False, 11.0, 11.5) is last
    assert target.state == CLOSED
    assert not fail(target, 12.0, 2), "the count began anew"


def test_a_failed_trial_opens_again() -> None:
    target = breaker()
    fail(target, 0.0, 3)
    target.admits(11.0)
    target.began()
    assert target.ended(True, 11.0, 12.0)
    assert (target.state, target.until) == (OPEN, 22.0)


def test_a_cancelled_trial_gives_its_slot_back() -> None:
    target = breaker(half_open_requests=1)
    fail(target, 0.0, 3)
    target.admits(11.0)
    target.began()
    assert not target.admits(11.5)
    target.cancelled(11.0)
    assert target.admits(11.5)


def test_yesterdays_timeouts_do_not_open_it_again() -> None:
    target = breaker(half_open_requests=1)
    fail(target, 0.0, 3)
    assert target.admits(10.0)
    target.began()
    assert not target.ended(True, 0.5, 15.5)
    target.cancelled(0.5)
    assert (target.state, target.trials) == (HALF_OPEN, 1)


def test_trials_that_never_come_back_do_not_block_it_for_ever() -> None:
    target = breaker(half_open_requests=1)
    fail(target, 0.0, 3)
    target.admits(10.0)
    target.began()
    assert not target.admits(19.9)
    assert target.admits(20.0)


def test_a_trial_whose_slot_was_given_out_again_may_still_come_back() -> None:
    target = breaker(half_open_requests=2)
    fail(target, 0.0, 3)
    target.admits(10.0)
    target.began()
    target.began()
    assert target.admits(20.0)
    target.cancelled(10.0)
    assert target.trials == 0
    target.ended(False, 10.0, 21.0)
    assert target.admits(21.0), "its answer counts, its slot is not there any more"
    target.began()
    assert not target.admits(21.0)


def test_what_ends_while_it_is_open_says_nothing() -> None:
    target = breaker()
    fail(target, 0.0, 3)
    assert not target.ended(True, 0.0, 1.0)
    assert not target.ended(False, 0.0, 1.0)
    assert (target.state, target.until) == (OPEN, 10.0)


def test_retry_after_is_the_time_left() -> None:
    target = breaker()
    assert target.retry_after(0.0) == 0.0
    fail(target, 0.0, 3)
    assert target.retry_after(4.0) == 6.0
    target.admits(10.0)
    assert target.retry_after(10.0) == 1.0


def test_another_workers_verdicts_are_taken_over() -> None:
    target = breaker()
    target.open_until(7.0)
    assert not target.admits(6.9)
    target.close()
    assert target.admits(6.9)
    assert target.state == CLOSED


class BreakerMachine(RuleBasedStateMachine):
    """Any order of starts, ends, cancellations and time: the state only ever moves along the arrows."""

    @initialize(trials=st.integers(1, 3), limit=st.integers(1, 4))
    def start(self, trials: int, limit: int) -> None:
        self.now = 100.0
        self.wanted = trials
        self.target = breaker(half_open_requests=trials, consecutive_failures=limit, open_for=5.0)
        self.flying: list[float] = []
        self.renewed = 0.0

    @rule()
    def begin(self) -> None:
        before = self.target.state
        admitted = self.target.admits(self.now)
        state = self.target.state
        assert (before, state) in {(CLOSED, CLOSED), (OPEN, OPEN), (OPEN, HALF_OPEN), (HALF_OPEN, HALF_OPEN)}
        if before == OPEN and state == HALF_OPEN:
            assert self.now >= self.opened + 5.0
        assert admitted or state != CLOSED
        if admitted:
            self.target.began()
            self.flying.append(self.now)

    @precondition(lambda self: self.flying)
    @rule(failed=st.booleans(), which=st.integers(0, 100))
    def end(self, failed: bool, which: int) -> None:
        began = self.flying.pop(which % len(self.flying))
        before = self.target.state
        changed = self.target.ended(failed, began, self.now)
        after = self.target.state
        assert changed == (before != after)
        assert (before, after) not in {(CLOSED, HALF_OPEN), (OPEN, CLOSED), (OPEN, HALF_OPEN)}
        if after == OPEN and changed:
            assert failed
            self.opened = self.now
        if after == CLOSED and changed:
            assert not failed

    @precondition(lambda self: self.flying)
    @rule(which=st.integers(0, 100))
    def cancel(self, which: int) -> None:
        before = self.target.state
        self.target.cancelled(self.flying.pop(which % len(self.flying)))
        assert self.target.state == before

    @rule(seconds=st.floats(0.1, 8.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def slots(self) -> None:
        if hasattr(self, "target"):
            assert 0 <= self.target.trials <= self.wanted


BreakerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBreakerMachine = BreakerMachine.TestCase
