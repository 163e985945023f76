"""Every package that pyproject.toml names is pinned in constraints.txt, and no host or path of one machine is."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def plain(requirement: str) -> str:
    """The normalised name in a requirement: ``Foo_Bar[x]>=1`` is ``foo-bar``."""
    name = re.split(r"[\[\s<>=!~;]", requirement.strip(), maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    """Print what is missing; 1 when something is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"]]
    for extra in project["project"].get("optional-dependencies", {}).values():
        wanted += extra
    for group in project.get("dependency-groups", {}).values():
        wanted += [item for item in group if isinstance(item, str)]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {plain(line) for line in lines if "==" in line}
    problems = [f"{name} is not pinned: scripts/lock" for name in sorted({plain(w) for w in wanted} - pinned)]
    problems += [f"a place, not a version: {line}" for line in lines if "://" in line or " @ " in line]
    print(*(f"constraints.txt: {problem}" for problem in problems), sep="\n", end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
