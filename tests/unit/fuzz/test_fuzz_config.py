"""The harness runs, and every input that was ever worth keeping is run by it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_corpus_gives_snapshots_or_problems() -> None:
    corpus = ROOT / "tests" / "corpus" / "config"
    assert len(list(corpus.iterdir())) > 10
    command = [
        sys.executable,
        str(ROOT / "fuzz" / "fuzz_config.py"),
        "--replay",
        str(corpus),
        str(ROOT / "tests" / "golden"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
