"""Every source file has its test file.

``src/gatewright/a/b.py`` has a ``test_b.py`` (or ``test_a_b.py``) somewhere in tests/.
Files that hold nothing but names and docstrings need none. :data:`ALLOWED` lists the others, each with its reason.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "gatewright"

#: file → what tests it instead.
ALLOWED = {
    "__main__.py": "run by tests/unit/cli as a subprocess",
}


def is_plain(path: Path) -> bool:
    """Whether the file has no function body to test: re-exports, constants, protocols, structs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            rest = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
            if rest:
                return False
    return True


def main() -> int:
    """Print the files without a test; 1 when there are any."""
    tests = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    count = 0
    for path in sorted(SRC.rglob("*.py")):
        name = path.relative_to(SRC).as_posix()
        stems = [path.stem] if path.stem != "__init__" else []
        parents = path.relative_to(SRC).parts[:-1]
        wanted = {f"test_{'_'.join([*parents[i:], *stems])}" for i in range(len(parents) + 1)} - {"test_"}
        if wanted & tests or name in ALLOWED or is_plain(path):
            continue
        count += 1
        print(f"src/gatewright/{name}: no tests/**/test_{path.stem}.py")
    stale = [name for name in ALLOWED if not (SRC / name).exists()]
    print(*(f"tools/check_test_pairs.py: {name} is allowed but does not exist" for name in stale), sep="\n", end="")
    return 1 if count or stale else 0


if __name__ == "__main__":
    sys.exit(main())
