"""What the documentation and the examples show works: every configuration loads, every piece of Python compiles."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from gatewright.snapshot.build import build_snapshot
from gatewright.testing.certs import Authority

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str, wanted: str = "") -> list[ParameterSet]:
    found_blocks = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in BLOCK.finditer(text):
            if found[1] == language and wanted in found[2]:
                line = text.count("\n", 0, found.start()) + 1
                found_blocks.append(pytest.param(found[2], id=f"{page.relative_to(ROOT)}:{line}"))
    return found_blocks


def write_certificates(text: str, folder: Path) -> None:
    """The files that a configuration names: ``x.pem`` and ``x.key`` are a pair, ``x.pem`` alone is an authority."""
    names = set(re.findall(r"[\w./-]+\.(?:pem|key)\b", text))
    if not names:
        return
    authority = Authority(folder)
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".key":
            authority.renew(file.with_suffix(".pem"), file, "localhost", f"{file.stem}.test")
        elif str(Path(name).with_suffix(".key")) not in names:
            file.write_bytes(authority.ca_path.read_bytes())


@pytest.mark.parametrize("text", blocks("yaml", "version: 1"))
def test_whole_configurations_in_the_documentation_load(text: str, tmp_path: Path) -> None:
    write_certificates(text, tmp_path)
    file = tmp_path / "gateway.yaml"
    file.write_text(text, encoding="utf-8")
    built = build_snapshot([file], environ={"ACME_KEY": "a-secret-key"})
    assert built.problems == []


@pytest.mark.parametrize("text", blocks("python"))
def test_python_in_the_documentation_compiles(text: str) -> None:
    compile(text, "documentation", "exec")


@pytest.mark.parametrize("file", sorted((ROOT / "examples").rglob("gateway.yaml")), ids=lambda f: f.parent.name)
def test_examples_load(file: Path, tmp_path: Path) -> None:
    shutil.copytree(file.parent, tmp_path, dirs_exist_ok=True)
    file = tmp_path / file.name
    write_certificates(file.read_text("utf-8"), tmp_path)
    built = build_snapshot([file], environ={})
    assert built.problems == []
    assert built.snapshot.routes


def test_the_policy_of_the_readme_loads_as_a_plugin(tmp_path: Path) -> None:
    (code,) = (block.values[0] for block in blocks("python", "class Stamp"))
    assert isinstance(code, str)
    (tmp_path / "stamp.py").write_text(code, encoding="utf-8")
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "version: 1\nlisteners: [{name: public, bind: 127.0.0.1:0}]\nplugins: [./stamp.py]\n"
        "policies: [{stamp: {text: hello}}]\n"
        "routes: [{name: a, match: {paths: [/a]}, respond: {status: 204}}]\n",
        encoding="utf-8",
    )
    built = build_snapshot([file], environ={})
    assert [policy.type for policy in built.snapshot.policies] == ["stamp"]
