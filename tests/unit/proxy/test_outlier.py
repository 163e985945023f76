from __future__ import annotations

import pytest

from gatewright.proxy.outlier import Outliers, Record
from gatewright.snapshot import model


def outliers(**more: object) -> Outliers:
    return Outliers(model.PassiveHealth(**more))  # type: ignore[arg-type]


def test_failures_in_a_row_eject() -> None:
    rules, record = outliers(consecutive_failures=3), Record()
    assert [rules.failed(record, 0.0) for _ in range(3)] == [False, False, True]


def test_a_success_between_them_does_not() -> None:
    rules, record = outliers(consecutive_failures=2), Record()
    rules.failed(record, 0.0)
    rules.succeeded(record, 0.0)
    assert not rules.failed(record, 0.0)


def test_the_rate_ejects_when_there_were_enough_requests() -> None:
    rules, record = outliers(consecutive_failures=100, failure_rate=0.3, min_requests=10), Record()
    for _ in range(7):
        rules.succeeded(record, 0.0)
    assert [rules.failed(record, 0.0) for _ in range(3)] == [False, False, True]


def test_the_rate_forgets() -> None:
    rules, record = outliers(consecutive_failures=100, failure_rate=0.5, min_requests=4, window=10.0), Record()
    for _ in range(3):
        rules.failed(record, 0.0)
    assert not rules.failed(record, 30.0)


def test_each_ejection_in_a_row_is_longer_up_to_the_most() -> None:
    rules, record = outliers(eject_for=30.0, max_eject_for=70.0), Record()
    now, lengths = 0.0, []
    for _ in range(4):
        until = rules.eject(record, now)
        lengths.append(until - now)
        now = until
    assert lengths == [30.0, 60.0, 70.0, 70.0]


def test_good_times_are_remembered() -> None:
    rules, record = outliers(eject_for=30.0), Record()
    rules.eject(record, 0.0)
    until = rules.eject(record, 30.0)  # the second: back at 90
    assert until == 90.0
    assert rules.eject(record, 90.0 + 31.0) == 121.0 + 60.0, "one forgotten, so again the second"
    assert rules.eject(record, 10_000.0) == 10_030.0, "all forgotten"


def test_an_ejection_gives_a_clean_sheet() -> None:
    rules, record = outliers(consecutive_failures=2, failure_rate=0.5, min_requests=2), Record()
    rules.failed(record, 0.0)
    rules.failed(record, 0.0)
    rules.eject(record, 0.0)
    assert record.failures == 0
    assert not rules.failed(record, 0.0)


@pytest.mark.parametrize(
    ("share", "endpoints", "most"),
    [(0.5, 1, 0), (0.5, 2, 1), (0.5, 3, 1), (0.5, 10, 5), (0.1, 3, 1), (0.0, 10, 0), (1.0, 4, 4), (0.3, 10, 3)],
)
def test_how_many_may_be_out(share: float, endpoints: int, most: int) -> None:
    assert outliers(max_ejected=share).most_ejected(endpoints) == most
