"""Conditions by themselves: junctions and errors. Against the library they are held in test_expression."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gatewright.proxy.conditions import MAPS, TEXTS, And, Constant, Equal, Has, InGroups, Item, Not, Or, Status

YES, NO = Constant(True), Constant(False)
EX: Any = SimpleNamespace(params={b"id": b"7"}, response=None, consumer=None)
BROKEN = Equal(Item(MAPS["request.params"], b"nope"), b"a")


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        (And(YES, YES), True),
        (And(YES, NO), False),
        (And(NO, BROKEN), False),
        (And(BROKEN, NO), False),
        (Or(NO, NO), False),
        (Or(NO, YES), True),
        (Or(YES, BROKEN), True),
        (Or(BROKEN, YES), True),
        (Not(YES), False),
        (Has(MAPS["request.params"], b"id"), True),
        (Has(MAPS["request.params"], b"nope"), False),
        (InGroups("a"), False),
        (Equal(TEXTS["consumer.name"], b""), True),
    ],
)
def test_values(condition: Any, value: bool) -> None:
    assert condition(EX) is value


@pytest.mark.parametrize(
    "condition",
    [
        BROKEN,
        Not(BROKEN),
        And(BROKEN, YES),
        And(YES, BROKEN),
        And(BROKEN, BROKEN),
        Or(BROKEN, NO),
        Or(NO, BROKEN),
        Status(int.__eq__, 200),
        Has(MAPS["response.headers"], b"a"),
    ],
)
def test_errors(condition: Any) -> None:
    with pytest.raises(ValueError, match="there is no"):
        condition(EX)
