"""The entry point. What must be quick or small goes its own way here; the rest is :mod:`gatewright.cli.app`.

``version`` answers without loading anything. ``run`` becomes the supervisor, the parent of all other processes, so it
loads neither typer nor rich: they would be memory of the gateway for as long as it lives.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from gatewright.cli import exits


def main() -> NoReturn:
    """The console script ``gatewright``."""
    sys.exit(dispatch(sys.argv[1:]))


def dispatch(arguments: list[str]) -> int:
    """Run one command line. Returns the exit code."""
    if arguments in (["version"], ["--version"]):
        from gatewright import __version__  # noqa: PLC0415

        print(f"gatewright {__version__}")
        return exits.OK
    if arguments[:1] == ["run"]:
        from gatewright.cli.run import parse, run  # noqa: PLC0415

        parsed = parse(arguments[1:])
        if parsed is not None:
            return run(parsed)
    from gatewright.cli.app import start  # noqa: PLC0415

    return start(arguments)
