"""Policies of a route: merged, ordered, checked."""

from __future__ import annotations

from typing import Any

import pytest

PLUGIN = """\
from gatewright.sdk import InvalidPolicy, Policy, PolicyConfig


class StampConfig(PolicyConfig):
    text: str = "x"
    limits: tuple[int, ...] = ()


class Stamp(Policy[StampConfig]):
    '''Stamps.'''

    name, stage, config = "stamp", "identify", StampConfig

    def __init__(self, config, env):
        if config.text == "invalid":
            raise InvalidPolicy("this text cannot work", "limits[1]")
        if config.text == "value":
            raise ValueError("no such value")
        if config.text == "bug":
            raise KeyError("oops")
"""


def types(specs: Any) -> list[str]:
    return [spec.type for spec in specs]


def text(global_policies: str, route_policies: str, more: str = "") -> str:
    return (
        "plugins: [./stamp.py]\nconsumers: [{name: c, credentials: [{api_key: k}]}]\n"
        f"policies: [{global_policies}]\nroutes: [{{name: a, respond: {{}}, policies: [{route_policies}]{more}}}]\n"
    )


@pytest.fixture(autouse=True)
def _plugin(build: Any) -> None:
    (build.folder / "stamp.py").write_text(PLUGIN, encoding="utf-8")


def test_by_stage_then_in_the_order_of_the_built_in_ones_then_by_name(build: Any) -> None:
    written = "headers: {}, rate_limit: {limit: 5/s}, stamp: {}, api_key: {}, cors: {origins: ['*']}, request_id: {}"
    route = build(text("", ", ".join(f"{{{item}}}" for item in written.split(", ")))).snapshot.routes[0]
    assert types(route.policies) == ["request_id", "cors", "api_key", "stamp", "rate_limit", "headers"]


def test_as_written_has_the_global_ones_first(build: Any) -> None:
    written = text(
        "{cors: {origins: ['*']}}, {request_id: {}}", "{stamp: {}}, {api_key: {}}", ", policy_order: as_written"
    )
    assert types(build(written).snapshot.routes[0].policies) == ["cors", "request_id", "stamp", "api_key"]


def test_a_routes_own_policy_replaces_all_global_ones_of_its_type(build: Any) -> None:
    limits = "{rate_limit: {limit: 1/s}}, {rate_limit: {limit: 2/m}}"
    snapshot = build(text(limits + ", {request_id: {}}", "{rate_limit: {limit: 3/s}}")).snapshot
    assert [(spec.type, spec.config, spec.scope) for spec in snapshot.routes[0].policies] == [
        ("request_id", {}, ""),
        ("rate_limit", {"limit": "3/s"}, "a"),
    ]
    assert types(snapshot.policies) == ["request_id", "rate_limit", "rate_limit"]


def test_off_leaves_a_global_one_out(build: Any) -> None:
    snapshot = build(text("{request_id: {}}, {stamp: {}}", "{stamp: off}")).snapshot
    assert types(snapshot.routes[0].policies) == ["request_id"]
    assert types(snapshot.policies) == ["request_id", "stamp"]


def test_several_of_one_type_keep_their_order(build: Any) -> None:
    route = build(text("", "{rate_limit: {limit: 9/s}}, {rate_limit: {limit: 1/h}}")).snapshot.routes[0]
    assert [spec.config["limit"] for spec in route.policies] == ["9/s", "1/h"]


@pytest.mark.parametrize(
    ("policy", "code", "message", "path"),
    [
        ("stamp: {text: invalid, limits: [1, 2]}", "policy.value", "this text cannot work", "limits[1]"),
        ("stamp: {text: value}", "policy.value", "no such value", ""),
        ("stamp: {text: bug}", "policy.failed", "the policy 'stamp' failed: KeyError: 'oops'", ""),
        (
            "cors: {origins: ['~x{99999999999}']}",
            "policy.failed",
            "the policy 'cors' failed: OverflowError: the repetition number is too large",
            "",
        ),
        ("stamp: {limits: [x]}", "policy.type", "a member of 'limits' must be a whole number", "limits[0]"),
        ("stamp: {txt: a}", "policy.unknown_key", "unknown key 'txt'", "txt"),
        ("rate_limit: {}", "policy.missing_key", "the key 'limit' is missing", ""),
        ("stamp: {when: 'a =='}", "config.expression", "not an expression: the expression ends too early", "when"),
        ("stamp: {when: []}", "policy.type", "'when' must be an expression, as text", "when"),
        ("stmp: {}", "policy.unknown", "unknown policy 'stmp'", None),
    ],
)
def test_what_is_wrong_has_its_place(build: Any, policy: str, code: str, message: str, path: str | None) -> None:
    (problem,) = build.errors(text("", f"{{{policy}}}"))
    assert (problem.code, problem.message) == (code, message)
    place = f"routes[0].policies[0].{policy.partition(':')[0]}"
    assert problem.path == (f"{place}.{path}" if path else place)


def test_the_same_mistake_is_told_at_each_place(build: Any) -> None:
    assert len(build.errors(text("{stamp: {txt: 1}}", "{stamp: {txt: 1}}, {stamp: {txt: 1}}"))) == 3


def test_an_unreadable_entry_hides_no_other(build: Any) -> None:
    problems = build.errors(text("", "stamp, {stamp: {txt: 1}}"))
    assert [problem.path for problem in problems] == ["routes[0].policies[0]", "routes[0].policies[1].stamp.txt"]


def test_values_are_kept_as_they_are_written(build: Any) -> None:
    # Workers read them with the same model again.
    route = build(text("", "{rate_limit: {limit: '${env:LIMIT}'}}"), environ={"LIMIT": "7/m"}).snapshot.routes[0]
    assert route.policies[0].config == {"limit": "7/m"}


def test_changed_code_of_a_plugin_changes_the_snapshot(build: Any) -> None:
    before = build(text("", "{stamp: {}}")).snapshot
    (build.folder / "stamp.py").write_text(PLUGIN + "\nX = 1\n", encoding="utf-8")
    after = build(text("", "{stamp: {}}")).snapshot
    assert before.metadata["plugins_digest"] != after.metadata["plugins_digest"]
    assert before.digest != after.digest
