"""Certificates that come to their end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from gatewright.clock import ManualClock
from gatewright.controller.certificates import Certificates, timestamp
from gatewright.errorlog import ErrorLog
from gatewright.snapshot.model import Listener, ListenerTls, TlsPair

DAY = 86_400.0


class Written:
    """An error log whose lines can be read."""

    def __init__(self, clock: ManualClock) -> None:
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        self.log = ErrorLog("controller", clock, fd=writer, text=False)
        self.descriptors = self._reader, writer

    def lines(self) -> list[dict[str, Any]]:
        try:
            return [json.loads(line) for line in os.read(self._reader, 1 << 16).splitlines()]
        except BlockingIOError:
            return []

    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines()]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def written(clock: ManualClock) -> Iterator[Written]:
    made = Written(clock)
    yield made
    for descriptor in made.descriptors:
        os.close(descriptor)


def listeners(clock: ManualClock, days: float, fingerprint: str = "f") -> list[Listener]:
    pair = TlsPair("a.pem", "", "", ("a.example",), "ecdsa", 0.0, clock.wall() + days * DAY, fingerprint)
    return [Listener("public", "127.0.0.1:1", tls=ListenerTls((pair,))), Listener("plain", "127.0.0.1:2")]


def test_each_threshold_is_told_once(clock: ManualClock, written: Written) -> None:
    certificates = Certificates(clock, written.log)
    certificates.update(listeners(clock, 31))
    assert written.lines() == []
    told = []
    for _ in range(34 * 4):
        clock.advance(DAY / 4)
        certificates.look()
        told += written.messages()
    assert told == [
        "the certificate a.pem of public expires in 30 days",
        "the certificate a.pem of public expires in 7 days",
        "the certificate a.pem of public expires in 1 day",
        "the certificate a.pem of public has expired",
    ]


def test_at_the_start_only_the_nearest_is_told(clock: ManualClock, written: Written) -> None:
    certificates = Certificates(clock, written.log)
    certificates.update(listeners(clock, 0.5))
    (line,) = written.lines()
    assert line["message"].endswith("expires in 12 hours")
    assert (line["event"], line["level"], line["listener"]) == ("certificate.expiry", "warning", "public")
    certificates.update(listeners(clock, 0.5))
    assert written.lines() == [], "another snapshot, the same certificate"


def test_a_renewed_certificate_begins_anew(clock: ManualClock, written: Written) -> None:
    certificates = Certificates(clock, written.log)
    certificates.update(listeners(clock, 5))
    certificates.update(listeners(clock, 90, "g"))
    assert len(written.lines()) == 1
    clock.advance(61 * DAY)
    certificates.look()
    assert len(written.lines()) == 1


def test_the_metric_says_when(clock: ManualClock, written: Written) -> None:
    certificates = Certificates(clock, written.log)
    assert list(certificates.metrics()) == []
    certificates.update(listeners(clock, 90))
    (family,) = certificates.metrics()
    (sample,) = family.samples
    assert sample.name == "gatewright_certificate_expiry_timestamp_seconds"
    assert sample.labels == {"listener": "public", "certificate": "a.pem"}
    assert sample.value == clock.wall() + 90 * DAY


def test_times_are_written_in_utc() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00Z"
