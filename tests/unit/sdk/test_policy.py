"""The base class refuses half-made policies when they are defined, and chains hold only hooks that exist."""

from __future__ import annotations

from typing import Any

import pytest

import gatewright.sdk
from gatewright.sdk import BodyPolicy, Policy, PolicyConfig
from gatewright.sdk.policy import compile_chain, overrides

COMPLETE = {"__doc__": "Odd.", "name": "odd", "stage": "limit", "config": PolicyConfig}


def make(base: type[Any] = Policy, **more: Any) -> Any:
    return type("Odd", (base,), {**COMPLETE, **more})


@pytest.mark.parametrize("missing", ["name", "stage", "config", "__doc__"])
def test_a_policy_must_be_complete(missing: str) -> None:
    with pytest.raises(TypeError, match=missing):
        make(**{missing: None})


def test_its_stage_must_exist() -> None:
    with pytest.raises(TypeError, match="stages are admission"):
        make(stage="soon")


def test_only_hooks_that_exist_are_called() -> None:
    plain = make(on_request=lambda self, ex: None)(None, None)
    body = make(BodyPolicy, on_response_chunk=lambda self, ex, data, last: data)(None, None)
    assert [hook.__self__ for hook in compile_chain([plain, body], "on_request")] == [plain]
    assert compile_chain([plain, body], "on_response") == ()
    assert overrides(body, "on_response_chunk")
    assert not overrides(body, "on_request_chunk")
    assert not overrides(plain, "on_response_chunk")


def test_configurations_are_strict_and_immutable() -> None:
    class Config(PolicyConfig):
        """Options."""

        size: int = 1

    with pytest.raises(ValueError, match="siez"):
        Config.model_validate({"siez": 2})
    config = Config()
    with pytest.raises(ValueError, match="frozen"):
        config.size = 3


def test_the_public_names() -> None:
    assert len(set(gatewright.sdk.__all__)) == len(gatewright.sdk.__all__)
    for name in gatewright.sdk.__all__:
        assert hasattr(gatewright.sdk, name)


def test_a_hook_without_use_is_left_out() -> None:
    policies = [make(on_record=lambda self, ex: None)(None, None) for _ in range(2)]
    policies[1].unused_hooks = ("on_record",)
    assert [hook.__self__ for hook in compile_chain(policies, "on_record")] == policies[:1]
