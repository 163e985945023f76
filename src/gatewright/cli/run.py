"""``gatewright run``: read the command line and become the supervisor. Standard library only, see cli/main.py."""

from __future__ import annotations

from pathlib import Path

from gatewright.cli.files import config_files


def parse(arguments: list[str]) -> list[Path] | None:
    """The configuration files of ``run -c FILE …``; None when there is anything else (help, a mistake) to speak of."""
    files: list[Path] = []
    rest = iter(arguments)
    for argument in rest:
        if argument in {"-c", "--config"}:
            value = next(rest, None)
            if value is None:
                return None
            files.append(Path(value))
        elif argument.startswith("--config="):
            files.append(Path(argument.removeprefix("--config=")))
        else:
            return None
    return files


def run(files: list[Path]) -> int:
    """Run the gateway until it is told to stop. Returns the exit code."""
    from gatewright.supervisor.main import run as supervise  # noqa: PLC0415

    return supervise(config_files(files))
