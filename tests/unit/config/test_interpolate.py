"""Placeholders."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatewright.config.interpolate import MOST_FILE_BYTES, CannotInterpolate, Interpolator

ENVIRON = {"NAME": "value", "EMPTY": "", "BAD": "\udcff"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${env:NAME}", "value"),
        ("a ${env:NAME} b ${env:NAME}", "a value b value"),
        ("${env:EMPTY}", ""),
        ("${env:NONE:-default}", "default"),
        ("${env:EMPTY:-default}", "default"),
        ("${env:NONE:-}", ""),
        ("${env:NONE:-a:-b}", "a:-b"),
        ("$${env:NAME}", "${env:NAME}"),
        ("$NAME {id} $", "$NAME {id} $"),
    ],
)
def test_from_the_environment(text: str, filled: str) -> None:
    assert Interpolator(ENVIRON).fill(text, Path()) == filled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${env:NONE}", "the environment variable NONE is not set"),
        ("${env:BAD}", "the environment variable BAD is not UTF-8 text"),
        ("${env:}", "'${env:}' is not a placeholder"),
        ("${NAME}", "'${NAME}' is not a placeholder"),
        ("${vault:x}", "'${vault:x}' is not a placeholder"),
        ("${env:NAME", "the '${' is never closed"),
        ("${file:}", "a ${file:…} placeholder needs a path"),
        ("${file:none.txt}", "the file none.txt cannot be read: no such file or directory"),
        ("${file:.}", "the file . cannot be read: is a directory"),
    ],
)
def test_what_cannot_be_filled(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CannotInterpolate) as caught:
        Interpolator(ENVIRON).fill(text, tmp_path)
    assert str(caught.value) == message


def test_from_files_relative_to_the_base(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n\n", encoding="utf-8")
    interpolator = Interpolator({})
    assert interpolator.fill("<${file:key}>", tmp_path) == "<secret\n>"  # one line break at the end is the file's
    assert interpolator.files == [tmp_path / "key"]


def test_files_have_a_bound_and_must_be_text(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * (MOST_FILE_BYTES + 1))
    (tmp_path / "bin").write_bytes(b"\xff\xfe")
    for name, message in (("big", "the file big is larger than 1 MiB"), ("bin", "the file bin is not UTF-8 text")):
        with pytest.raises(CannotInterpolate) as caught:
            Interpolator({}).fill(f"${{file:{name}}}", tmp_path)
        assert str(caught.value) == message


def test_values_are_remembered_as_secrets_but_defaults_and_short_ones_are_not() -> None:
    interpolator = Interpolator({"KEY": "long-secret", "SHORT": "on"})
    interpolator.fill("${env:KEY} ${env:SHORT} ${env:NONE:-default}", Path())
    assert interpolator.secrets == {"long-secret": "${env:KEY}"}
