"""The checks of tools/ find what they are for."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parents[3] / "tools"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


hot = load("check_hot")
words = load("check_words")
lock = load("check_lock")


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        ("async def f():\n    pass", "coroutine"),
        ("def f():\n    return lambda: 1", "inside a function"),
        ("def f():\n    def g():\n        pass", "inside a function"),
        ("with suppress(KeyError):\n    pass", "suppress"),
        ("class A:\n    x = 1", "__slots__"),
        ("class A:\n    __slots__ = ()\n    @property\n    def x(self): ...", "property"),
        ("@dataclass(frozen=True, slots=True)\nclass A:\n    x: int", "frozen"),
        ("def f():\n    logger.debug('x')", "logging"),
        ("def f():\n" + "    x = 1\n" * 51, "51 statements"),
    ],
)
def test_what_is_dear_is_refused_on_the_request_path(source: str, finding: str) -> None:
    ((_, text),) = hot.findings(source)
    assert finding in text


@pytest.mark.parametrize(
    "source",
    [
        "class A(Struct, frozen=True):\n    x: int",
        "class A(Protocol):\n    @property\n    def x(self): ...",
        "def f():\n    if trace:\n        logger.debug('x')",
        "class A:  # cold: made once a reload\n    async def f(self): ...",
        "class A:\n    __slots__ = ()\n    # cold: asked once\n    @property\n    def x(self): ...",
        'def f():\n    """' + "\n".join("x" * 45) + '"""\n    return 1',
    ],
)
def test_what_is_cheap_or_cold_is_not(source: str) -> None:
    assert list(hot.findings(source)) == []


REGISTRY = ".".join(("https://pypi", "org"))


@pytest.mark.parametrize(
    ("name", "text", "finding"),
    [
        ("src/a.py", f"# see {REGISTRY}/x", "registry"),
        ("src/a.py", 'x = "/' + 'home/ann/x"', "path of one machine"),
        ("src/a.py", "class Pool" + "Manager: ...", "says nothing"),
        ("docs/a.md", "Send it to the backend.", "'backend'"),
        ("schema/a.json", '  "description": "One node."', "'node'"),
    ],
)
def test_words_that_must_not_stand_there_are_found(name: str, text: str, finding: str) -> None:
    (found,) = words.findings(name, text)
    assert finding in found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("docs/a.md", "The `ip_filter` policy and the request target."),
        ("docs/a.md", "```\nbackend\n```"),
        ("src/a.py", "# the node of the tree"),
        ("schema/a.json", '  "target": {}'),
        ("examples/a.toml", "targets = []"),
    ],
)
def test_other_uses_of_those_words_are_not(name: str, text: str) -> None:
    assert list(words.findings(name, text)) == []


@pytest.mark.parametrize("requirement", ["Foo_Bar>=1", "foo-bar[x]==2", "foo.bar ; python_version>'3'"])
def test_requirements_are_compared_by_their_normal_name(requirement: str) -> None:
    assert lock.plain(requirement) == "foo-bar"
