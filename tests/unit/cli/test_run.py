from __future__ import annotations

from pathlib import Path

import pytest

from gatewright.cli.run import RunOptions, parse


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], RunOptions()),
        (["-c", "a.yaml"], RunOptions([Path("a.yaml")])),
        (["-c", "a.yaml", "--config", "b", "--config=c"], RunOptions([Path("a.yaml"), Path("b"), Path("c")])),
        (["--pid-file", "x.pid", "--no-watch"], RunOptions(pid_file=Path("x.pid"), watch=False)),
        (["--log-format=json"], RunOptions(log_format="json")),
    ],
)
def test_options_are_read(arguments: list[str], options: RunOptions) -> None:
    assert parse(arguments) == options


@pytest.mark.parametrize("arguments", [["-c"], ["--help"], ["--log-format", "xml"], ["gateway.yaml"], ["--nothing=1"]])
def test_what_needs_words_is_left_to_the_full_parser(arguments: list[str]) -> None:
    assert parse(arguments) is None
