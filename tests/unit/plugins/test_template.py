"""What `gatewright new-policy` writes works as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gatewright.plugins.template import write_policy
from gatewright.snapshot.build import build_snapshot


def test_the_written_policy_passes_its_own_test_and_its_configuration_loads(tmp_path: Path) -> None:
    files = write_policy("right_value", tmp_path / "new")
    assert [path.name for path in files] == ["right_value.py", "test_right_value.py", "right_value.gateway.yaml"]
    built = build_snapshot([files[2]], environ={})
    assert built.problems == []
    assert [policy.type for policy in built.snapshot.routes[0].policies] == ["right_value"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", str(files[1])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["Bad", "1st", "a-b", "", "../x", "cors"])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        write_policy(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("precious")
    with pytest.raises(FileExistsError, match=r"test_mine\.py"):
        write_policy("mine", tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]
