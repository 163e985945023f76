"""``python -m benchmarks.macro``: the same as ``scripts/bench``."""

import sys

from benchmarks.macro.cli import main

if __name__ == "__main__":
    sys.exit(main())
