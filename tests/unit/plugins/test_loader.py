"""Plugins from files, modules and installed packages; what is wrong with them, and where."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType

import pytest

from gatewright.errors import ConfigError, Problem
from gatewright.plugins import loader
from gatewright.plugins.registry import load_registry
from gatewright.policies import BUILTIN

ROOT = Path(__file__).parents[3]

POLICY = """
from gatewright.sdk import Policy, PolicyConfig

class MarkConfig(PolicyConfig):
    '''Options.'''
    text: str = "{text}"
    '''Text.'''

class Mark(Policy[MarkConfig]):
    '''Mark requests.'''
    name, stage, config = "{name}", "transform", MarkConfig
"""


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    before = set(sys.modules)
    yield
    loader._loaded.clear()
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def problem_of(plugins: list[str], base: Path) -> Problem:
    with pytest.raises(ConfigError) as error:
        load_registry(plugins, base)
    (problem,) = error.value.problems
    assert problem.path == plugins[-1]
    return problem


def test_a_file_relative_to_the_configuration(tmp_path: Path) -> None:
    path = write(tmp_path, "plugins/mark.py", POLICY.format(name="mark", text="a"))
    registry = load_registry(["./plugins/mark.py"], tmp_path)
    assert registry.policies["mark"].config().text == "a"
    assert registry.sources == {"mark": "./plugins/mark.py"}
    assert registry.files == [path]


def test_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "acme_corp/__init__.py", "")
    write(
        tmp_path,
        "acme_corp/gateway/__init__.py",
        "from acme_corp.gateway.mark import Mark\nfrom gatewright.policies.cors import Cors\n",
    )
    path = write(tmp_path, "acme_corp/gateway/mark.py", POLICY.format(name="mark", text="a"))
    monkeypatch.syspath_prepend(tmp_path)
    registry = load_registry(["acme_corp.gateway"], tmp_path)
    assert set(registry.sources) == {"mark"}  # what is only imported from elsewhere is not the plugin's
    assert path in registry.files


def test_a_changed_file_is_loaded_anew_and_the_old_class_stays(tmp_path: Path) -> None:
    write(tmp_path, "mark.py", POLICY.format(name="mark", text="one"))
    old = load_registry(["./mark.py"], tmp_path).policies["mark"]
    assert load_registry(["./mark.py"], tmp_path).policies["mark"] is old
    write(tmp_path, "mark.py", POLICY.format(name="mark", text="other"))
    new = load_registry(["./mark.py"], tmp_path).policies["mark"]
    assert (old.config().text, new.config().text) == ("one", "other")


def test_a_changed_module_is_loaded_anew_with_what_is_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "acme_two/__init__.py", "from acme_two.mark import Mark\n")
    write(tmp_path, "acme_two/mark.py", POLICY.format(name="mark", text="one"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    old = load_registry(["acme_two"], tmp_path).policies["mark"]
    write(tmp_path, "acme_two/mark.py", POLICY.format(name="mark", text="other"))
    new = load_registry(["acme_two"], tmp_path).policies["mark"]
    assert (old.config().text, new.config().text) == ("one", "other")


def test_a_broken_change_leaves_the_loaded_module(tmp_path: Path) -> None:
    write(tmp_path, "mark.py", POLICY.format(name="mark", text="one"))
    old = load_registry(["./mark.py"], tmp_path).policies["mark"]
    write(tmp_path, "mark.py", "1 / 0\n")
    problem_of(["./mark.py"], tmp_path)
    assert sys.modules[old.__module__].Mark is old


@pytest.mark.parametrize(
    ("text", "line", "source", "message"),
    [
        ("x = 1\n\nraise RuntimeError('no')\n", 3, "raise RuntimeError('no')", "RuntimeError: no"),
        ("x = 1\ndef f(:\n", 2, "def f(:", "SyntaxError"),
        ("import there_is_no_such_thing\n", 1, "import there_is_no_such_thing", "ModuleNotFoundError"),
        ("import sys\nsys.exit(3)\n", 2, "sys.exit(3)", "SystemExit: 3"),
        (
            POLICY.format(name="mark", text="").replace('"transform"', '"soon"'),
            9,
            "class Mark(Policy[MarkConfig]):",
            "unknown stage 'soon'",
        ),
    ],
)
def test_mistakes_have_the_plugins_own_line(tmp_path: Path, text: str, line: int, source: str, message: str) -> None:
    path = write(tmp_path, "bad.py", text)
    problem = problem_of(["./bad.py"], tmp_path)
    assert (problem.code, problem.file, problem.line, problem.source.strip()) == (
        "plugin.failed",
        str(path),
        line,
        source,
    )
    assert message in problem.message


@pytest.mark.parametrize(
    ("plugin", "code"),
    [("./none.py", "plugin.missing"), ("there_is_no_such_module", "plugin.missing"), ("./empty.py", "plugin.empty")],
)
def test_nothing_to_load(tmp_path: Path, plugin: str, code: str) -> None:
    write(tmp_path, "empty.py", "from gatewright.policies.cors import Cors\n")
    assert problem_of([plugin], tmp_path).code == code


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Entry points by name; the module ``installed_one`` holds the policy ``mark``."""
    module = ModuleType("installed_one")
    exec(POLICY.format(name="mark", text=""), module.__dict__)
    module.Mark.__module__ = "installed_one"
    monkeypatch.setitem(sys.modules, "installed_one", module)
    points: dict[str, str] = {}

    def entry_points(group: str) -> EntryPoints:
        return EntryPoints(EntryPoint(name, value, group) for name, value in points.items())

    monkeypatch.setattr(loader, "entry_points", entry_points)
    return points


def test_installed_packages_are_found_by_their_entry_points(installed: dict[str, str]) -> None:
    installed["mark"] = "installed_one:Mark"
    registry = load_registry()
    assert registry.policies["mark"].__name__ == "Mark"
    assert registry.problems == []


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("mark", "not_there:Mark", "plugin.failed"),
        ("mark", "installed_one:MarkConfig", "plugin.empty"),
        ("stamp", "installed_one:Mark", "plugin.name"),
    ],
)
def test_a_broken_package_harms_nobody_who_does_not_use_it(
    installed: dict[str, str], name: str, value: str, code: str
) -> None:
    installed[name] = value
    registry = load_registry()
    assert [problem.code for problem in registry.problems] == [code]
    assert list(registry.policies) == [policy.name for policy in BUILTIN]


def test_the_example_loads() -> None:
    registry = load_registry(["./stamp.py"], ROOT / "examples" / "plugins")
    assert registry.policies["stamp"].stage == "transform"
