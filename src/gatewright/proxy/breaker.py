"""The circuit breaker: leave an upstream (or one endpoint) alone for a while when it keeps failing.

::

    CLOSED ──── too many failures ───▶ OPEN ──── open_for has passed ───▶ HALF_OPEN
       ▲                                ▲                                    │
       │                                └────────── a trial failed ──────────┤
       └─────────────── half_open_requests trials succeeded ─────────────────┘

*Too many* is ``consecutive_failures`` in a row, or ``failure_rate`` of at least ``min_requests`` in the last ``window``
seconds. In HALF_OPEN only trials pass: as many as are still needed to close. A trial that is cancelled gives its slot
back. Tries that began before the breaker half-opened say nothing about the upstream of now and are ignored: the
timeouts of yesterday's requests must not open it again. Every worker makes its own trials; the first worker that comes
to a verdict tells the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatewright.proxy.window import Window

if TYPE_CHECKING:
    from gatewright.snapshot.model import Breaker as BreakerSpec

CLOSED, HALF_OPEN, OPEN = 0, 1, 2
#: As they are called in messages, metrics and ``status``.
STATE_NAMES = ("closed", "half_open", "open")

#: A try whose start was taken this many seconds before the breaker half-opened still is a trial: the clocks of a tick.
_TICK = 0.05


class Breaker:
    """One circuit breaker. Its owner asks, tells it what happened, and passes on the state it returns."""

    __slots__ = ("_failures", "_since", "_spec", "_successes", "_window", "state", "trials", "until")

    def __init__(self, spec: BreakerSpec) -> None:
        self._spec = spec
        self._window = Window(spec.window) if spec.failure_rate is not None else None
        #: CLOSED, HALF_OPEN or OPEN. Read it directly: closed is the usual case and costs one comparison.
        self.state = CLOSED
        #: OPEN: when trials begin. HALF_OPEN: when slots that never came back are given out again.
        self.until = 0.0
        #: Trials in flight.
        self.trials = 0
        self._failures = 0
        self._successes = 0
        self._since = 0.0

    def admits(self, now: float) -> bool:
        """Whether a try may start. OPEN becomes HALF_OPEN here when its time is over."""
        if self.state == OPEN:
            if now < self.until:
                return False
            self._half_open(now)
        if self.state == CLOSED:
            return True
        wanted = self._spec.half_open_requests
        if self.trials + self._successes >= wanted and now >= self.until:
            # Trials that have not come back for so long must not keep the breaker half-open for ever.
            self.trials = 0
            self.until = now + max(self._spec.open_for, 1.0)
        return self.trials + self._successes < wanted

    def began(self) -> None:
        """A try has started; in HALF_OPEN it takes a trial slot."""
        if self.state == HALF_OPEN:
            self.trials += 1

    def passed(self, now: float) -> None:
        """A try has succeeded while CLOSED: the usual end, without the questions of :meth:`ended`. Hot."""
        self._failures = 0
        if self._window is not None:
            self._window.add(now)

    def ended(self, failed: bool, began: float, now: float) -> bool:
        """A try that started at ``began`` has ended. True when the state has changed."""
        state = self.state
        if state == CLOSED:
            return self._count(failed, now) and self._open(now)
        if state == OPEN or began < self._since - _TICK:
            return False
        self._give_back()
        if failed:
            return self._open(now)
        self._successes += 1
        if self._successes < self._spec.half_open_requests:
            return False
        self.close()
        return True

    def cancelled(self, began: float) -> None:
        """A try was given up by the client: it says nothing, and its trial slot is free again."""
        if self.state == HALF_OPEN and began >= self._since - _TICK:
            self._give_back()

    def close(self) -> None:
        """Let everything pass and begin to count anew."""
        self.state = CLOSED
        self.until = 0.0
        self.trials = self._successes = self._failures = 0
        if self._window is not None:
            self._window.clear()

    def open_until(self, until: float) -> None:
        """Stop everything until then; what another worker has seen counts as if it was seen here."""
        self.state = OPEN
        self.until = until
        self.trials = self._successes = 0

    def retry_after(self, now: float) -> float:
        """Seconds until a try has a chance; at least one while trials are running."""
        if self.state == CLOSED:
            return 0.0
        return max(self.until - now, 0.0) if self.state == OPEN else 1.0

    def _half_open(self, now: float) -> None:
        self.state = HALF_OPEN
        self._since = now
        self.until = now + max(self._spec.open_for, 1.0)
        self.trials = self._successes = 0

    def _open(self, now: float) -> bool:
        self.open_until(now + self._spec.open_for)
        return True

    def _give_back(self) -> None:
        if self.trials:  # slots given out again may come back twice
            self.trials -= 1

    def _count(self, failed: bool, now: float) -> bool:
        """Count a try while CLOSED; whether that was one failure too many."""
        spec = self._spec
        if failed:
            self._failures += 1
        else:
            self._failures = 0
        window = self._window
        if window is not None:
            window.add(now, failed)
        if not failed:
            return False
        if spec.consecutive_failures is not None and self._failures >= spec.consecutive_failures:
            return True
        if window is None or spec.failure_rate is None or window.total < spec.min_requests:
            return False
        return window.marked >= spec.failure_rate * window.total
