"""What the checks and the traffic have found out about endpoints and breakers, for status and metrics."""

from __future__ import annotations

from dataclasses import dataclass

from gatewright.clock import Clock
from gatewright.controller.bus import BreakerState, Bus, EndpointHealth
from gatewright.snapshot.model import Snapshot


@dataclass(slots=True)
class Verdict:
    """One endpoint, or with an empty endpoint key one upstream. Times are monotonic seconds."""

    healthy: bool | None = None
    ejected_until: float = 0.0
    breaker: str = "closed"
    breaker_until: float = 0.0


_NOTHING = Verdict()


class Verdicts:
    """Listens to the bus and remembers the newest verdict of each endpoint and breaker."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._clock = clock
        self._by_key: dict[tuple[str, str], Verdict] = {}
        #: How often each endpoint was ejected: by a worker that saw it fail.
        self.ejections: dict[tuple[str, ...], float] = {}
        #: How often each breaker came into each state.
        self.transitions: dict[tuple[str, ...], float] = {}
        bus.subscribe(EndpointHealth, self._on_health)
        bus.subscribe(BreakerState, self._on_breaker)

    def of(self, upstream: str, endpoint: str = "") -> Verdict:
        """The verdict on an endpoint; on the upstream itself, without ``endpoint``."""
        return self._by_key.get((upstream, endpoint), _NOTHING)

    def ejected_for(self, upstream: str, endpoint: str) -> float:
        """Seconds for which an endpoint stays ejected; 0.0 when it is not."""
        return max(0.0, self.of(upstream, endpoint).ejected_until - self._clock.monotonic())

    def retain(self, snapshot: Snapshot) -> None:
        """Forget what is no longer configured."""
        known = {(upstream.name, "") for upstream in snapshot.upstreams}
        known |= {(upstream.name, endpoint.key) for upstream in snapshot.upstreams for endpoint in upstream.endpoints}
        self._by_key = {key: verdict for key, verdict in self._by_key.items() if key in known}
        self.ejections = {key: count for key, count in self.ejections.items() if key in known}
        self.transitions = {key: count for key, count in self.transitions.items() if key[:2] in known}

    def _at(self, upstream: str, endpoint: str) -> Verdict:
        return self._by_key.setdefault((upstream, endpoint), Verdict())

    def _on_health(self, event: EndpointHealth) -> None:
        change = event.change
        verdict = self._at(change.upstream, change.endpoint)
        if change.healthy is not None:
            verdict.healthy = change.healthy
        if change.ejected_until is not None:
            verdict.ejected_until = change.ejected_until
            if change.ejected_until > self._clock.monotonic():
                key = (change.upstream, change.endpoint)
                self.ejections[key] = self.ejections.get(key, 0) + 1

    def _on_breaker(self, event: BreakerState) -> None:
        change = event.change
        verdict = self._at(change.upstream, change.endpoint)
        verdict.breaker, verdict.breaker_until = change.state, change.until
        key = (change.upstream, change.endpoint, change.state)
        self.transitions[key] = self.transitions.get(key, 0) + 1
