"""The wheel: nothing is lost, nothing comes early, nothing that was dropped comes at all."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gatewright.worker.net.timers import TICK, Wheel

DELAYS = st.sampled_from([-1.0, 0.0, 0.01, 0.05, 0.06, 0.3, 2.0, 59.0, 61.0, 86_400.0])


class Timed:
    """Does, when its time has come, what it was told to: nothing, register again, or drop or move another."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.deadline = 0.0
        self.wheel_at = 0
        self.wanted = False
        self.since = 0.0
        self.plan: list[tuple[str, Timed, float]] = []

    def on_deadline(self, now: float) -> None:
        assert self.wanted, "it was dropped, or has come already"
        assert now >= self.deadline, "too early"
        self.wanted = False
        for what, other, delay in self.plan:
            self.machine.do(what, other, delay)
        self.plan = []


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.bugs: list[BaseException] = []
        self.wheel = Wheel(self.now, lambda _where, error: self.bugs.append(error))
        self.all = [Timed(self) for _ in range(6)]

    def do(self, what: str, timed: Timed, delay: float) -> None:
        if what == "drop":
            timed.wanted = False
            self.wheel.drop(timed)
        elif what == "at":
            timed.deadline = self.now + delay
            timed.wanted = True
            timed.since = self.now
            self.wheel.at(timed)
        elif timed.wanted:  # later: only the number changes
            timed.deadline += abs(delay)

    @rule(what=st.sampled_from(["at", "at", "later", "drop"]), i=st.integers(0, 5), delay=DELAYS)
    def now_do(self, what: str, i: int, delay: float) -> None:
        self.do(what, self.all[i], delay)

    @rule(i=st.integers(0, 5), what=st.sampled_from(["at", "later", "drop"]), j=st.integers(0, 5), delay=DELAYS)
    def do_it_when_due(self, i: int, what: str, j: int, delay: float) -> None:
        self.all[i].plan = [*self.all[i].plan, (what, self.all[j], delay)][-3:]

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.05, 0.1, 1.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.wheel.tick(self.now)
        late = [timed for timed in self.all if timed.wanted and max(timed.deadline, timed.since) + 2 * TICK < self.now]
        assert not late, "lost"

    @invariant()
    def each_is_registered_at_most_once(self) -> None:
        assert not self.bugs, self.bugs
        for timed in self.all:
            places = [tick for tick, members in self.wheel._ticks.items() if timed in members]
            assert places == ([timed.wheel_at] if timed.wheel_at else [])
            if timed.wanted:
                assert timed.wheel_at
                assert (timed.wheel_at - 1) * TICK <= max(timed.deadline, self.now) + TICK
        assert len(self.wheel) == sum(timed.wheel_at != 0 for timed in self.all)
        assert len(self.wheel._ticks) <= 200


TestWheel = Machine.TestCase
TestWheel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


class Simple:
    def __init__(self, deadline: float, error: Exception | None = None) -> None:
        self.deadline = deadline
        self.wheel_at = 0
        self.error = error
        self.came: list[float] = []

    def on_deadline(self, now: float) -> None:
        self.came.append(now)
        if self.error is not None:
            raise self.error


def test_a_bug_in_one_costs_the_others_nothing() -> None:
    bugs: list[BaseException] = []
    wheel = Wheel(0.0, lambda _where, error: bugs.append(error))
    timed = [Simple(1.0, RuntimeError("bug") if i % 2 else None) for i in range(10)]
    for each in timed:
        wheel.at(each)
    wheel.tick(2.0)
    assert all(len(each.came) == 1 for each in timed)
    assert [str(bug) for bug in bugs] == ["bug"] * 5
    assert len(wheel) == 0


def test_an_object_that_always_wants_to_come_now_does_not_stop_the_wheel() -> None:
    wheel = Wheel(0.0, pytest.fail)

    class Again(Simple):
        def on_deadline(self, now: float) -> None:
            super().on_deadline(now)
            wheel.at(self)

    again = Again(0.0)
    wheel.at(again)
    wheel.tick(10 * TICK + 0.001)
    assert len(again.came) == 10


def test_moving_a_deadline_back_costs_nothing_and_forward_is_followed() -> None:
    wheel = Wheel(0.0, pytest.fail)
    timed = Simple(5.0)
    wheel.at(timed)
    registered = timed.wheel_at
    timed.deadline = 9.0
    wheel.at(timed)
    assert timed.wheel_at == registered
    timed.deadline = 1.0
    wheel.at(timed)
    assert timed.wheel_at < registered
    wheel.tick(1.2)
    assert len(timed.came) == 1
    wheel.drop(timed)
    assert len(wheel) == 0
