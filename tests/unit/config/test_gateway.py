"""The whole, and its smaller parts."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gatewright.config.gateway import Gateway


@pytest.mark.parametrize(("written", "workers"), [("auto", 0), (1, 1), ("4", 4), (1024, 1024)])
def test_workers(written: object, workers: int) -> None:
    assert Gateway.model_validate({"workers": written}).workers == workers


def test_state_is_a_word_or_a_mapping() -> None:
    assert Gateway.model_validate({"state": "memory"}).state.url == "memory"
    assert Gateway.model_validate({"state": {"max_keys": 2048}}).state.max_keys == 2048


def test_admin_may_be_off() -> None:
    assert Gateway.model_validate({"admin": "off"}).admin is None
    assert Gateway.model_validate({}).admin is not None


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"workers": 0}, ("workers",)),
        ({"workers": "0"}, ("workers",)),
        ({"workers": "٣"}, ("workers",)),
        ({"workers": "some"}, ("workers",)),
        ({"workers": -1}, ("workers",)),
        ({"workers": 1025}, ("workers",)),
        ({"workers": True}, ("workers",)),
        ({"version": 2}, ("version",)),
        ({"state": {"max_keys": 1}}, ("state", "max_keys")),
        ({"telemetry": {"access_log": {"to": ""}}}, ("telemetry", "access_log", "to")),
        ({"telemetry": {"tracing": {}}}, ("telemetry", "tracing", "otlp")),
        ({"unknown": 1}, ("unknown",)),
    ],
)
def test_what_is_refused(keys: dict[str, Any], place: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        Gateway.model_validate(keys)
    assert caught.value.errors()[0]["loc"] == place
