"""Any bytes are a configuration or give problems: nothing else may come out of the loader.

``fuzz_config.py tests/corpus/config`` fuzzes with atheris; ``--replay`` only runs the files, and needs no atheris.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from gatewright.errors import ConfigError
from gatewright.snapshot.build import build_snapshot

FILE = Path(tempfile.mkdtemp(prefix="gatewright-fuzz-")) / "gateway.yaml"


def one_input(data: bytes) -> None:
    """Build it; ConfigError is the only exception that is documented."""
    FILE.write_bytes(data)
    try:
        build_snapshot([FILE], environ={})
    except ConfigError as error:
        if not error.problems:
            raise AssertionError("refused without a problem") from error


if __name__ == "__main__":
    if sys.argv[1:2] == ["--replay"]:
        for file in sorted(file for folder in sys.argv[2:] for file in Path(folder).rglob("*") if file.is_file()):
            one_input(file.read_bytes())
    else:
        import atheris

        atheris.Setup(sys.argv, one_input)
        atheris.Fuzz()
