"""The scalars of the language: what they read, what they refuse and how they are written back."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from gatewright.sdk import types


def read(kind: Any, value: object) -> Any:
    return TypeAdapter(kind).validate_python(value)


def refusal(kind: Any, value: object) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        read(kind, value)
    (error,) = caught.value.errors()
    return error["msg"], error["ctx"]["hint"]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("250ms", 0.25), ("5s", 5), ("2m", 120), ("1h", 3600), ("1d", 86400), ("1.5s", 1.5), ("0s", 0)],
)
def test_durations(written: str, seconds: float) -> None:
    assert read(types.Duration, written) == seconds


@pytest.mark.parametrize("value", [5, 5.0, "7"])
def test_a_duration_without_unit_is_refused_with_the_likely_one(value: object) -> None:
    assert refusal(types.Duration, value) == (f"the duration {value} has no unit", f"write {value}s for seconds")


@pytest.mark.parametrize("value", ["", "-5s", "5 s", "5S", "s", "1h30m", True, None, [], "1e3s", "9" * 10 + "s"])
def test_other_durations_are_refused(value: object) -> None:
    assert refusal(types.Duration, value)[1] == "durations look like 250ms, 5s, 2m, 1h or 1d"


@pytest.mark.parametrize(
    ("written", "size"), [("512B", 512), ("64KiB", 65536), ("1.5KiB", 1536), ("10MiB", 10 << 20), ("1GiB", 1 << 30)]
)
def test_sizes(written: str, size: int) -> None:
    assert read(types.Size, written) == size


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("64KB", "did you mean '64KiB'?"),
        ("10m", "did you mean '10MiB'?"),
        (1024, "write 1024B for bytes"),
        ("big", "sizes look like 512B, 64KiB, 10MiB or 1GiB"),
    ],
)
def test_sizes_that_are_refused(value: object, hint: str) -> None:
    assert refusal(types.Size, value)[1] == hint


@pytest.mark.parametrize(
    ("written", "rate"), [("100/s", (100, 1)), ("1000/m", (1000, 60)), ("5/h", (5, 3600)), ("20/10s", (20, 10))]
)
def test_rates(written: str, rate: tuple[int, float]) -> None:
    assert read(types.Rate, written) == rate


def test_rates_that_are_refused() -> None:
    assert refusal(types.Rate, 100)[1] == "write 100/s or /m"
    assert refusal(types.Rate, "0/s")[0] == "the rate '0/s' must be above zero"
    assert refusal(types.Rate, "5/0s")[0] == "the rate '5/0s' must be above zero"
    assert refusal(types.Rate, "fast")[1].startswith("rates look like")


def test_shares() -> None:
    assert read(types.Share, "50%") == 0.5
    assert read(types.Share, "100%") == 1.0
    assert read(types.Share, "0.5%") == 0.005
    assert refusal(types.Share, 0.5) == ("the share 0.5 must be written in percent", "write 50%")
    assert refusal(types.Share, 50)[1] == "write 50%"
    assert refusal(types.Share, "101%")[1].startswith("shares look like")


def test_networks() -> None:
    assert read(types.Cidr, "10.0.0.0/8") == "10.0.0.0/8"
    assert read(types.Cidr, "127.0.0.1") == "127.0.0.1/32"
    assert read(types.Cidr, "2001:DB8::/32") == "2001:db8::/32"
    assert refusal(types.Cidr, "10.0.0.1/8")[1] == "did you mean '10.0.0.0/8'?"
    assert refusal(types.Cidr, "somewhere")[0] == "'somewhere' is not an address range"
    assert refusal(types.Cidr, 5)[0] == "'5' is not an address range"


def test_header_names_and_values() -> None:
    assert read(types.HeaderName, "X-Api-Key") == "x-api-key"
    for bad in ("", "x y", "x:", "\u00fc"):
        assert refusal(types.HeaderName, bad)[0].endswith("is not the name of a header field")
    assert read(types.HeaderValue, "a b\tc") == "a b\tc"
    for bad in ("a\r\nb", "a\0", "\x7f"):
        assert "line breaks" in refusal(types.HeaderValue, bad)[0]


def test_regexes_are_compiled() -> None:
    assert read(types.Regex, "^a+$") == "^a+$"
    assert refusal(types.Regex, "(")[0].startswith("'(' is not a regular expression: missing )")


def test_braces_in_a_message_are_taken_literally() -> None:
    assert refusal(types.Duration, "{message}")[0] == "'{message}' is not a duration"


@given(st.integers(0, 10**9).map(lambda ms: ms / 1000))
def test_a_duration_reads_back_what_it_writes(seconds: float) -> None:
    assert types.parse_duration(types.format_duration(seconds)) == pytest.approx(seconds, rel=1e-9)


@given(st.integers(0, 1 << 49))
def test_a_size_reads_back_what_it_writes(size: int) -> None:
    assert types.parse_size(types.format_size(size)) == size


@given(st.integers(1, 10**9), st.sampled_from([1.0, 10.0, 15.0, 60.0, 90.0, 3600.0, 86400.0]))
def test_a_rate_reads_back_what_it_writes(limit: int, window: float) -> None:
    rate = types.RateValue(limit, window)
    assert types.parse_rate(types.format_rate(rate)) == rate


@given(st.integers(0, 1000).map(lambda x: x / 1000))
def test_a_share_reads_back_what_it_writes(share: float) -> None:
    assert types.parse_share(types.format_share(share)) == pytest.approx(share)


class Everything(BaseModel):
    a: types.Duration = 5.0
    b: types.Size = 1024
    c: types.Rate = types.RateValue(5, 60.0)
    d: types.Share = 0.5


def test_a_model_dumped_as_json_reads_back() -> None:
    model = Everything.model_validate({"a": "90s", "b": "1MiB", "c": "20/10s", "d": "1%"})
    dumped = model.model_dump(mode="json")
    assert dumped == {"a": "90s", "b": "1MiB", "c": "20/10s", "d": "1%"}
    assert Everything.model_validate(dumped) == model


@pytest.mark.parametrize(
    ("key", "good", "bad"), [("a", "5s", "5"), ("b", "64KiB", "64KB"), ("c", "5/10s", "5"), ("d", "99.5%", "100.5%")]
)
def test_the_pattern_in_the_schema_says_the_same(key: str, good: str, bad: str) -> None:
    schema = Everything.model_json_schema()["properties"][key]
    assert schema["type"] == "string"
    assert re.search(schema["pattern"], good)
    assert not re.search(schema["pattern"], bad)
