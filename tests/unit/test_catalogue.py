"""Every built-in policy is complete, and its page says what it does. The order is spelled out once."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import gatewright.policies
from gatewright.policies import BUILTIN
from gatewright.sdk import STAGES, Policy
from gatewright.snapshot.build import build_snapshot

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "policies"
STEMS = sorted(module.name for module in pkgutil.iter_modules(gatewright.policies.__path__))
HOOKS = ("on_request", "on_response", "on_record", "on_request_chunk", "on_response_chunk")
YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)

every_policy = pytest.mark.parametrize("policy", BUILTIN, ids=lambda policy: policy.name)


def test_the_order() -> None:
    assert [(policy.stage, policy.name) for policy in BUILTIN] == [
        ("admission", "request_id"),
        ("admission", "security_headers"),
        ("admission", "cors"),
        ("admission", "grpc_web"),
        ("admission", "ip_filter"),
        ("admission", "request_limits"),
        ("identify", "api_key"),
        ("identify", "hmac"),
        ("identify", "basic"),
        ("identify", "forward_auth"),
        ("limit", "rate_limit"),
        ("transform", "headers"),
    ]
    stages = [STAGES.index(policy.stage) for policy in BUILTIN]
    assert all(before <= after for before, after in pairwise(stages))


def test_every_module_is_in_the_list() -> None:
    assert sorted(policy.name for policy in BUILTIN) == STEMS


def test_every_line_of_the_list_says_why_it_is_there() -> None:
    text = inspect.getsource(gatewright.policies)
    for policy in BUILTIN:
        assert re.search(rf"^    {policy.__name__},  # \w.{{10,}}$", text, re.MULTILINE), policy.name


@every_policy
def test_three_files_with_one_stem(policy: type[Policy[Any]]) -> None:
    assert policy.__module__ == f"gatewright.policies.{policy.name}"
    assert (DOCS / f"{policy.name}.md").is_file()
    assert (ROOT / "tests" / "policies" / f"test_{policy.name}.py").is_file()


@every_policy
def test_hooks_are_plain_functions(policy: type[Policy[Any]]) -> None:
    for name in HOOKS:
        assert not inspect.iscoroutinefunction(getattr(policy, name, None))
    assert "__dict__" not in dir(policy)  # slots all the way down


@every_policy
def test_every_option_is_described(policy: type[Policy[Any]]) -> None:
    for model in [policy.config, *_inner_models(policy)]:
        assert model.__doc__
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            assert field.description.endswith((".", ")", "`")), f"{model.__name__}.{name}"


def _inner_models(policy: type[Policy[Any]]) -> list[Any]:
    module = importlib.import_module(policy.__module__)
    own = [value for value in vars(module).values() if inspect.isclass(value) and value.__module__ == module.__name__]
    return [value for value in own if hasattr(value, "model_fields")]


@every_policy
def test_reasons_begin_with_the_name_and_are_on_the_page(policy: type[Policy[Any]]) -> None:
    source = inspect.getsource(importlib.import_module(policy.__module__))
    reasons = set(re.findall(r'Reply\(\s*[\w.]+,\s*"([^"]+)"', source))
    page = (DOCS / f"{policy.name}.md").read_text("utf-8")
    for reason in reasons:
        assert reason.startswith(f"{policy.name}.")
        assert f"`{reason}`" in page
    listed = set(re.findall(rf"`({policy.name}\.\w+)`", page))
    assert listed == reasons


@every_policy
def test_the_page_shows_every_option_and_a_whole_configuration(policy: type[Policy[Any]], tmp_path: Path) -> None:
    page = (DOCS / f"{policy.name}.md").read_text("utf-8")
    for name in policy.config.model_fields:
        assert f"| `{name}` |" in page, name
    whole = [text for text in YAML.findall(page) if "version: 1" in text]
    assert whole
    for text in whole:
        path = tmp_path / "gateway.yaml"
        path.write_text(text, "utf-8")
        built = build_snapshot([path], environ={})
        assert built.problems == []
        used = {spec.type for route in built.snapshot.routes for spec in route.policies}
        assert policy.name in used
