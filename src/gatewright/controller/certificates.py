"""Certificates of listeners that come to their end: warnings in the log in time, and a metric."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric

from gatewright.clock import Clock
from gatewright.errorlog import ErrorLog
from gatewright.snapshot.model import Listener, TlsPair

EXPIRY: Final = "gatewright_certificate_expiry_timestamp_seconds"
#: Days before the end at which it is warned, once each; 0 when it has come.
WARN_AT: Final = (30, 7, 1, 0)
_DAY: Final = 86_400.0
_LOOK_EVERY: Final = 3_600.0


class Certificates:
    """Knows the certificates of all listeners, and when they expire."""

    def __init__(self, clock: Clock, log: ErrorLog) -> None:
        self._clock = clock
        self._log = log
        self._pairs: list[tuple[str, TlsPair]] = []
        #: By listener and fingerprint: the number of days at which it was last warned.
        self._warned: dict[tuple[str, str], int] = {}

    def update(self, listeners: Iterable[Listener]) -> None:
        """Watch the certificates of these listeners from now on."""
        self._pairs = [
            (each.name, pair) for each in listeners if each.tls is not None for pair in each.tls.certificates
        ]
        known = {(name, pair.fingerprint) for name, pair in self._pairs}
        self._warned = {key: days for key, days in self._warned.items() if key in known}
        self.look()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            self.look()

    def look(self) -> None:
        """Warn of those that expire soon."""
        now = self._clock.wall()
        for name, pair in self._pairs:
            passed = [days for days in WARN_AT if pair.expires - now <= days * _DAY]
            key = (name, pair.fingerprint)
            if not passed or self._warned.get(key, WARN_AT[0] + 1) <= passed[-1]:
                continue
            self._warned[key] = passed[-1]
            left = pair.expires - now
            when = f"expires in {_days(left)}" if left > 0 else "has expired"
            fields = {"listener": name, "certificate": pair.label, "expires": timestamp(pair.expires)}
            self._log.warning("certificate.expiry", f"the certificate {pair.label} of {name} {when}", **fields)

    def metrics(self) -> Iterable[Metric]:
        """When each of them expires."""
        family = GaugeMetricFamily(EXPIRY, "When a certificate expires.", labels=("listener", "certificate"))
        for name, pair in self._pairs:
            family.add_metric((name, pair.label), pair.expires)
        return (family,) if self._pairs else ()


def _days(seconds: float) -> str:
    days = int(seconds // _DAY)
    return f"{days} day{'' if days == 1 else 's'}" if days else f"{int(seconds // 3600)} hours"


def timestamp(wall: float) -> str:
    """Seconds since 1970 as RFC 3339 in UTC."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
