"""Files stay small: a warning above 400 lines, a failure above 600."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WARN, FAIL = 400, 600


def main() -> int:
    """Print what is long, and the median; 1 when a file is too long."""
    sizes = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for folder in ("src", "tools")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }
    failed = False
    for path, lines in sizes.items():
        if lines > WARN:
            failed = failed or lines > FAIL
            print(f"{path.relative_to(ROOT)}: {lines} lines, {'at most' if lines > FAIL else 'better below'} {FAIL}")
    written = [lines for lines in sizes.values() if lines > 3]  # without the bare __init__ files
    print(f"{len(written)} files, median {statistics.median(written):.0f} lines, longest {max(written)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
