import os

import pytest

from gatewright.clock import ManualClock
from gatewright.controller.bus import BreakerState, Bus, EndpointHealth
from gatewright.controller.verdicts import Verdict, Verdicts
from gatewright.errorlog import ErrorLog
from gatewright.ipc.messages import BreakerChange, HealthChange
from gatewright.snapshot.model import Endpoint, Snapshot, Upstream


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def bus(clock: ManualClock) -> Bus:
    return Bus(clock, ErrorLog("controller", clock, fd=os.open(os.devnull, os.O_WRONLY)))


def test_the_two_halves_of_a_health_message_are_independent(bus: Bus, clock: ManualClock) -> None:
    verdicts = Verdicts(bus, clock)
    bus.publish(EndpointHealth(-1, HealthChange("up", "a", healthy=False)))
    bus.publish(EndpointHealth(0, HealthChange("up", "a", ejected_until=clock.monotonic() + 10)))
    assert verdicts.of("up", "a").healthy is False
    assert verdicts.ejected_for("up", "a") == pytest.approx(10)
    clock.advance(11)
    assert verdicts.ejected_for("up", "a") == 0
    assert verdicts.of("up", "b") == Verdict()


def test_the_end_of_an_ejection_is_not_an_ejection(bus: Bus, clock: ManualClock) -> None:
    verdicts = Verdicts(bus, clock)
    bus.publish(EndpointHealth(0, HealthChange("up", "a", ejected_until=clock.monotonic() + 10)))
    bus.publish(EndpointHealth(0, HealthChange("up", "a", ejected_until=0.0)))
    assert verdicts.ejections == {("up", "a"): 1}
    assert verdicts.ejected_for("up", "a") == 0


def test_breakers_are_followed_and_counted(bus: Bus, clock: ManualClock) -> None:
    verdicts = Verdicts(bus, clock)
    for state in ("open", "half_open", "open"):
        bus.publish(BreakerState(0, BreakerChange("up", "", state, 1.0)))
    assert verdicts.of("up").breaker == "open"
    assert verdicts.transitions == {("up", "", "open"): 2, ("up", "", "half_open"): 1}


def test_what_is_no_longer_configured_is_forgotten(bus: Bus, clock: ManualClock) -> None:
    verdicts = Verdicts(bus, clock)
    for key in ("a", "b"):
        bus.publish(EndpointHealth(0, HealthChange("up", key, healthy=False, ejected_until=clock.monotonic() + 1)))
    bus.publish(BreakerState(0, BreakerChange("gone", "", "open", 1.0)))
    verdicts.retain(Snapshot(upstreams=(Upstream("up", (Endpoint("a", "127.0.0.1", 1),)),)))
    assert verdicts.of("up", "a").healthy is False
    assert verdicts.of("up", "b") == verdicts.of("gone") == Verdict()
    assert (verdicts.ejections, verdicts.transitions) == ({("up", "a"): 1}, {})
