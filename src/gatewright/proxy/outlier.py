"""Passive health: an endpoint that keeps failing real requests is left out for a while.

The rules are those of Envoy's outlier detection, decided per request instead of per interval:

- every 5xx answer, failed connection, reset and timeout is a failure; ``consecutive_failures`` of them in a row, or
  ``failure_rate`` of at least ``min_requests`` in the last ``window`` seconds, eject;
- the n-th ejection lasts n x ``eject_for`` seconds, at most ``max_eject_for``; every ``eject_for`` seconds that an
  endpoint has been back since lower n by one;
- at most ``max_ejected`` of the endpoints are out at a time, but one always may be (unless the share is 0). An only
  endpoint is never ejected: there is nowhere else to go.

A returning endpoint begins with a clean sheet. Ejections of other workers are honoured; each worker applies the cap to
what it knows, so two workers that eject in the same tenth of a second may exceed it, which the panic threshold absorbs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatewright.proxy.window import Window

if TYPE_CHECKING:
    from gatewright.snapshot.model import PassiveHealth


class Record:
    """What traffic has shown of one endpoint."""

    __slots__ = ("back_since", "ejections", "failures", "window")

    def __init__(self) -> None:
        #: Failures in a row. Read directly: zero is the usual case.
        self.failures = 0
        #: Ejections in a row: how long the next one lasts.
        self.ejections = 0
        #: When the last ejection ended (or will end).
        self.back_since = 0.0
        #: Made when the failure rate matters.
        self.window: Window | None = None

    def reset(self) -> None:
        """A clean sheet for an endpoint that comes back."""
        self.failures = 0
        if self.window is not None:
            self.window.clear()


class Outliers:
    """The rules of one upstream, applied to the records of its endpoints."""

    __slots__ = ("_spec", "rates")

    def __init__(self, spec: PassiveHealth) -> None:
        self._spec = spec
        #: Whether successes have to be counted too.
        self.rates = spec.failure_rate is not None

    def succeeded(self, record: Record, now: float) -> None:
        """A try went well."""
        record.failures = 0
        if self.rates:
            self._window(record).add(now)

    def failed(self, record: Record, now: float) -> bool:
        """A try failed; whether the endpoint should be ejected."""
        spec = self._spec
        record.failures += 1
        if self.rates:
            window = self._window(record)
            window.add(now, True)
            rate = spec.failure_rate or 0.0
            if window.total >= spec.min_requests and window.marked >= rate * window.total:
                return True
        return record.failures >= spec.consecutive_failures

    def most_ejected(self, endpoints: int) -> int:
        """How many of so many endpoints may be out at a time."""
        if endpoints < 2 or self._spec.max_ejected <= 0.0:
            return 0
        return max(1, int(endpoints * self._spec.max_ejected + 1e-9))

    def eject(self, record: Record, now: float) -> float:
        """Until when the endpoint is left out; its next ejection lasts longer."""
        spec = self._spec
        if record.ejections:
            good = int(max(now - record.back_since, 0.0) / spec.eject_for)
            record.ejections = max(record.ejections - good, 0)
        record.ejections += 1
        record.back_since = now + min(spec.eject_for * record.ejections, spec.max_eject_for)
        record.reset()
        return record.back_since

    def _window(self, record: Record) -> Window:
        if record.window is None:
            record.window = Window(self._spec.window)
        return record.window
