"""Every source file has its test file.

``src/gatewright/a/b.py`` has a ``test_b.py`` (or ``test_a_b.py``) somewhere in tests/. Files that only name things,
or only hold what they are given, need none. What is better tested as a part of something larger is listed in
:data:`ELSEWHERE` with the test that does it, which must exist.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "gatewright"

#: File or folder → the test that covers it.
ELSEWHERE = {
    "__main__.py": "unit/cli/test_main.py",
    "cli/app.py": "unit/cli/test_main.py",
    "cli/version.py": "unit/cli/test_main.py",
    "cli/dry_run.py": "unit/cli/test_explain.py",
    "cli/load.py": "unit/cli/test_check.py",
    "controller/admin/": "unit/controller/test_admin.py",
    "controller/state.py": "unit/controller/test_admin.py",
    "ipc/attached.py": "unit/ipc/test_channel.py",
    "testing/": "exchange/test_first.py",
    # The request path: whole exchanges on scripted connections, in every order, and a corpus of odd requests.
    "proxy/waiting.py": "unit/proxy/test_pool.py",
    "snapshot/checking.py": "unit/snapshot/test_policies.py",
    "snapshot/compile.py": "exchange/test_request_path.py",
    "snapshot/lint.py": "golden/shadows.case",
    "snapshot/shadows.py": "golden/shadows.case",
    "snapshot/unavailable.py": "golden/unavailable.case",
    "wire/h2/sender.py": "unit/wire/h2/test_connection.py",
    "wire/h2/stream.py": "unit/wire/h2/test_connection.py",
    "worker/net/": "exchange/test_request_path.py",
    "worker/server.py": "processes/test_reload.py",
}


def is_plain(path: Path) -> bool:
    """Whether there is nothing to test: constants, protocols, classes that only hold what they are given."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return all(_only_holds(statement) for function in functions for statement in function.body)


def _only_holds(statement: ast.stmt) -> bool:
    """``self.x = x``, or a docstring."""
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        return not any(isinstance(node, ast.Call) for node in ast.walk(statement))
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def is_elsewhere(name: str) -> bool:
    """Whether the file, or a folder it is in, is listed."""
    return any(name == listed or (listed.endswith("/") and name.startswith(listed)) for listed in ELSEWHERE)


def main() -> int:
    """Print the files without a test; 1 when there are any."""
    tests = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    count = 0
    for path in sorted(SRC.rglob("*.py")):
        name = path.relative_to(SRC).as_posix()
        stems = [path.stem] if path.stem != "__init__" else []
        parents = path.relative_to(SRC).parts[:-1]
        wanted = {f"test_{'_'.join([*parents[i:], *stems])}" for i in range(len(parents) + 1)} - {"test_"}
        if wanted & tests or is_elsewhere(name) or is_plain(path):
            continue
        count += 1
        print(f"src/gatewright/{name}: no tests/**/test_{path.stem}.py")
    stale = [name for name in ELSEWHERE if not (SRC / name).exists()]
    stale += [test for test in ELSEWHERE.values() if not (ROOT / "tests" / test).exists()]
    for name in stale:
        print(f"tools/check_test_pairs.py: {name} is listed but does not exist")
    return 1 if count or stale else 0


if __name__ == "__main__":
    sys.exit(main())
