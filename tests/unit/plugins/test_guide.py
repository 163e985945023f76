"""The policy and the test in the guide are run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "plugins.md"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["RequireMark", "Reputation"])
def test_the_guides_policies_pass_the_guides_tests(tmp_path: Path, name: str) -> None:
    blocks = PYTHON.findall(GUIDE.read_text("utf-8"))
    (policy,) = (block for block in blocks if f"class {name}(" in block)
    (test,) = (block for block in blocks if "def test_" in block and f"add_policy({name})" in block)
    file = tmp_path / "test_policy.py"
    file.write_text(f"{policy}\n\n{test}", "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", str(file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout
