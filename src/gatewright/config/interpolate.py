"""``${env:NAME}``, ``${env:NAME:-default}`` and ``${file:path}`` inside scalars; ``$${`` stands for a plain ``${``.

An interpolated scalar is always text, so that a key made of digits stays a key; fields that want a number read it from
the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

MOST_FILE_BYTES: Final = 1024 * 1024
LEAST_SECRET: Final = 4  # shorter values are not hidden: "1" or "on" would be hidden everywhere

_PLACEHOLDER: Final = re.compile(r"\$\$\{|\$\{([^}]*)\}|\$\{")
_ENV: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


class CannotInterpolate(ValueError):
    """A placeholder cannot be filled. ``hint`` says what to do, when there is something to say."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Interpolator:
    """Fills placeholders from the environment and from files.

    Attributes:
        files: Every file that was read, for the watcher.
        secrets: Every value that was filled in → the placeholder it came from, so that no report prints it.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.files: list[Path] = []
        self.secrets: dict[str, str] = {}

    def fill(self, text: str, base: Path) -> str:
        """``text`` with every placeholder filled; files are relative to ``base``. Raises CannotInterpolate."""

        def one(found: re.Match[str]) -> str:
            return self._one(found, base)

        return _PLACEHOLDER.sub(one, text)

    def _one(self, found: re.Match[str], base: Path) -> str:
        if found[0] == "$${":
            return "${"
        inside = found[1]
        if inside is None:
            raise CannotInterpolate("the '${' is never closed", "write $${ for a plain ${")
        read: Callable[[str, Path], str] = self._file if inside.startswith("file:") else self._variable
        return read(inside, base)

    def _variable(self, inside: str, base: Path) -> str:
        matched = _ENV.fullmatch(inside)
        if matched is None:
            raise CannotInterpolate(
                f"'${{{inside}}}' is not a placeholder",
                "write ${env:NAME}, ${env:NAME:-default} or ${file:path}; $${ stands for a plain ${",
            )
        name, default = matched[1], matched[2]
        value = self._environ.get(name)
        # As in a shell, ":-" also covers a variable that is set and empty.
        if not value and default is not None:
            return default
        if value is None:
            raise CannotInterpolate(
                f"the environment variable {name} is not set", f"set it, or give a default: ${{env:{name}:-…}}"
            )
        return self._secret(_encodable(value, f"the environment variable {name}"), f"${{{inside}}}")

    def _file(self, inside: str, base: Path) -> str:
        name = inside.removeprefix("file:")
        if not name or "\0" in name:
            raise CannotInterpolate("a ${file:…} placeholder needs a path")
        path = base / name
        try:
            with path.open("rb") as file:
                data = file.read(MOST_FILE_BYTES + 1)
        except OSError as error:
            raise CannotInterpolate(
                f"the file {name} cannot be read: {(error.strerror or str(error)).lower()}"
            ) from None
        if len(data) > MOST_FILE_BYTES:
            raise CannotInterpolate(f"the file {name} is larger than {MOST_FILE_BYTES >> 20} MiB")
        self.files.append(path)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise CannotInterpolate(f"the file {name} is not UTF-8 text") from None
        return self._secret(text.removesuffix("\n").removesuffix("\r"), f"${{{inside}}}")

    def _secret(self, value: str, placeholder: str) -> str:
        if len(value) >= LEAST_SECRET:
            self.secrets[value] = placeholder
        return value


def _encodable(value: str, what: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise CannotInterpolate(f"{what} is not UTF-8 text") from None
    return value
