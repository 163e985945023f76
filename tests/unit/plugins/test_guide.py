"""The policy and the test in the guide are run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "plugins.md"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_guides_policy_passes_the_guides_test(tmp_path: Path) -> None:
    blocks = PYTHON.findall(GUIDE.read_text("utf-8"))
    (policy,) = (block for block in blocks if "class RequireMark(" in block)
    (test,) = (block for block in blocks if "def test_" in block)
    file = tmp_path / "test_require_mark.py"
    file.write_text(f"{policy}\n\n{test}", "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", str(file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout
