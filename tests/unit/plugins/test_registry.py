"""The registry: names, clashes, and all problems together."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatewright.errors import ConfigError
from gatewright.plugins.registry import load_registry
from gatewright.policies import BUILTIN

POLICY = """
from gatewright.sdk import Policy, PolicyConfig

class Mark(Policy[PolicyConfig]):
    '''Mark requests.'''
    name, stage, config = "{name}", "transform", PolicyConfig
"""


def write(directory: Path, file: str, name: str) -> None:
    (directory / file).write_text(POLICY.format(name=name), encoding="utf-8")


def test_the_built_in_policies_are_there() -> None:
    assert list(load_registry().policies)[: len(BUILTIN)] == [policy.name for policy in BUILTIN]


@pytest.mark.parametrize("name", ["cors", "other"])
def test_names_that_are_taken(tmp_path: Path, name: str) -> None:
    write(tmp_path, "first.py", "other")
    write(tmp_path, "second.py", name)
    with pytest.raises(ConfigError) as error:
        load_registry(["./first.py", "./second.py"], tmp_path)
    (problem,) = error.value.problems
    assert problem.code == "plugin.clash"
    assert ("gatewright itself" if name == "cors" else "./first.py") in problem.message


def test_a_name_that_cannot_be(tmp_path: Path) -> None:
    write(tmp_path, "first.py", "My-Policy")
    with pytest.raises(ConfigError) as error:
        load_registry(["./first.py"], tmp_path)
    assert [problem.code for problem in error.value.problems] == ["plugin.name"]


def test_all_problems_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_registry(["./a.py", "./b.py"], tmp_path)
    assert [problem.path for problem in error.value.problems] == ["./a.py", "./b.py"]
