from __future__ import annotations

import subprocess
import sys

import pytest

import gatewright
from gatewright.cli import exits
from gatewright.cli.main import dispatch


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["version"]) == exits.OK
    assert capsys.readouterr().out == f"gatewright {gatewright.__version__}\n"


def test_python_dash_m_works() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gatewright", "version"], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == f"gatewright {gatewright.__version__}\n"


def test_an_unknown_command_is_wrong_usage_and_names_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["chekc"]) == exits.USAGE
    assert "'check'" in capsys.readouterr().err


def test_a_mistake_in_run_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["run", "--confg", "x"]) == exits.USAGE
    assert "--config" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["run", "check", "explain", "status", "reload", "schema", "new-policy", "demo", "version"]
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch([command, "--help"]) == exits.OK
    assert f"gatewright {command}" in capsys.readouterr().out


def test_help_is_plain_text_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    dispatch(["--help"])
    assert "\x1b" not in capsys.readouterr().out
