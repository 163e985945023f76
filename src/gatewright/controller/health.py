"""Active health checks: asks the endpoints how they are and tells the workers when an answer changes.

One state for each endpoint of each upstream, kept over changes of the configuration. The configuration that serves
decides what is checked, so checks go on with the old list while a new one is refused.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gatewright.clock import Clock
from gatewright.controller.probe import ProbeFailed, probe
from gatewright.ipc.messages import HealthChange
from gatewright.snapshot.model import Endpoint, Upstream

#: Checks under way at once.
MOST_AT_ONCE = 64
#: The first check of an endpoint comes within this many seconds, spread by chance.
FIRST_WITHIN = 0.5
#: How far an interval may stray, so that checks do not march in step.
JITTER = 0.1


@dataclass(slots=True)
class Checked:
    """What is known of one endpoint.

    Attributes:
        upstream: Its upstream as configured.
        endpoint: The endpoint as configured.
        healthy: The verdict; None until there is one.
        detail: What the last check saw.
        at: When that was, monotonic seconds.
        successes: In a row.
        failures: In a row.
    """

    upstream: Upstream
    endpoint: Endpoint
    healthy: bool | None = None
    detail: str = ""
    at: float = 0.0
    successes: int = 0
    failures: int = 0
    task: asyncio.Task[None] | None = None


class HealthChecker:
    """Checks the endpoints of all upstreams that ask for it.

    Args:
        clock: For the times of checks.
        on_change: Told of every verdict that changes, and of the first one of each endpoint: after a restart of the
            controller the workers may still hold an older one.
        rand: 0.0 to 1.0, for the spreading of checks.
    """

    def __init__(
        self, clock: Clock, on_change: Callable[[HealthChange], None], rand: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._on_change = on_change
        self._rand = rand
        self._group: asyncio.TaskGroup | None = None
        self._at_once = asyncio.Semaphore(MOST_AT_ONCE)
        #: By name of the upstream and key of the endpoint.
        self.states: dict[tuple[str, str], Checked] = {}

    async def run(self) -> None:
        """Check until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._group:
                for state in self.states.values():
                    self._start(state)
                await asyncio.Event().wait()
        finally:
            self._group = None

    def update(self, upstreams: Iterable[Upstream]) -> None:
        """Check these from now on. An endpoint that stays keeps its verdict; one that goes is no longer checked."""
        wanted = {
            (upstream.name, endpoint.key): (upstream, endpoint)
            for upstream in upstreams
            for endpoint in upstream.endpoints
        }
        for key in [key for key in self.states if key not in wanted or wanted[key][0].active is None]:
            state = self.states.pop(key)
            self._stop(state)
            if key in wanted and state.healthy is False:  # no longer checked, so no longer held to be ill
                self._on_change(HealthChange(*key, healthy=True))
        for key, (upstream, endpoint) in wanted.items():
            if upstream.active is not None and endpoint.host:
                self._follow(key, upstream, endpoint)

    def _follow(self, key: tuple[str, str], upstream: Upstream, endpoint: Endpoint) -> None:
        state = self.states.get(key)
        if state is None:
            state = self.states[key] = Checked(upstream, endpoint)
        elif _what(state.upstream, state.endpoint) != _what(upstream, endpoint):
            state.upstream, state.endpoint = upstream, endpoint
            self._stop(state)
        if state.task is None:
            self._start(state)

    def _start(self, state: Checked) -> None:
        if self._group is not None:
            name = f"health {state.upstream.name} {state.endpoint.key}"
            state.task = self._group.create_task(self._check_always(state), name=name)

    def _stop(self, state: Checked) -> None:
        if state.task is not None:
            state.task.cancel()
            state.task = None

    async def _check_always(self, state: Checked) -> None:
        check = state.upstream.active
        if check is None:
            return
        await asyncio.sleep(self._rand() * min(check.interval, FIRST_WITHIN))
        while True:
            async with self._at_once:
                try:
                    detail, well = await probe(state.upstream, state.endpoint, check), True
                except ProbeFailed as failure:
                    detail, well = str(failure), False
                except Exception as bug:  # noqa: BLE001 - shown in the status; the other checks go on
                    detail, well = f"internal error: {bug!r}", False
            state.detail, state.at = detail, self._clock.monotonic()
            self._judge(state, well)
            await asyncio.sleep(check.interval * (1 - JITTER + 2 * JITTER * self._rand()))

    def _judge(self, state: Checked, well: bool) -> None:
        check = state.upstream.active
        if check is None:
            return
        state.successes, state.failures = (state.successes + 1, 0) if well else (0, state.failures + 1)
        if well and state.healthy is not True:
            changed = state.healthy is None or state.successes >= check.healthy_after
        else:
            changed = not well and state.healthy is not False and state.failures >= check.unhealthy_after
        if changed:
            state.healthy = well
            self._on_change(HealthChange(state.upstream.name, state.endpoint.key, healthy=well))


def _what(upstream: Upstream, endpoint: Endpoint) -> tuple[object, ...]:
    """All that a check depends on."""
    return upstream.active, upstream.host, upstream.protocol, upstream.tls, endpoint
