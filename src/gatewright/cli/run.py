"""``gatewright run``: read the command line and become the supervisor. Standard library only, see cli/main.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gatewright.cli.files import config_files


@dataclass(slots=True)
class RunOptions:
    """What was asked for."""

    files: list[Path] = field(default_factory=list)
    pid_file: Path | None = None
    watch: bool = True
    log_format: str | None = None


def parse(arguments: list[str]) -> RunOptions | None:
    """Read ``run``'s options; None when there is anything to speak of (help, a mistake), which typer then does."""
    options = RunOptions()
    rest = iter(arguments)
    for argument in rest:
        if argument == "--no-watch":
            options.watch = False
            continue
        name, equals, value = argument.partition("=") if argument.startswith("--") else (argument, "", "")
        given = value if equals else next(rest, None)
        if given is None or not _take(options, name, given):
            return None
    return options


def _take(options: RunOptions, name: str, value: str) -> bool:
    """Note one option that has a value; False when there is no such option or the value cannot be."""
    if name in {"-c", "--config"}:
        options.files.append(Path(value))
    elif name == "--pid-file":
        options.pid_file = Path(value)
    elif name == "--log-format" and value in {"text", "json"}:
        options.log_format = value
    else:
        return False
    return True


def run(options: RunOptions) -> int:
    """Run the gateway until it is told to stop. Returns the exit code."""
    from gatewright.supervisor.main import run as supervise  # noqa: PLC0415
    from gatewright.supervisor.options import Options  # noqa: PLC0415

    text = None if options.log_format is None else options.log_format == "text"
    return supervise(
        config_files(options.files),
        Options(pid_file=options.pid_file, watch=options.watch, log_text=text),
    )
