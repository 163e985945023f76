"""Files that a policy's configuration names. They are read while the configuration is validated, never later.

What is validated in the controller is sent to the workers complete, so a worker never reads them, and all workers
have the same. The context of the validation says where relative paths begin and takes note of what was read::

    ConfigClass.model_validate(data, context={"base": directory, "files": paths_to_watch})
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, ValidationInfo, WithJsonSchema

_MOST_BYTES = 64 * 1024 * 1024
_MOST_PEM = 4 * 1024 * 1024
_PEM = "-----BEGIN CERTIFICATE"


def read_lines(name: str, info: ValidationInfo) -> list[str]:
    """The lines of a text file without comments (from ``#`` on) and empty ones.

    Args:
        name: As configured; relative to the configuration's directory.
        info: What pydantic gives to a validator.

    Raises:
        ValueError: It cannot be read, is not UTF-8, or is larger than 64 MiB.
    """
    text = _read(name, info, _MOST_BYTES)
    return [kept for line in text.splitlines() if (kept := line.partition("#")[0].strip())]


def read_certificates(name: str, info: ValidationInfo) -> str:
    """The text of a PEM file with certificates. What is such a text already stays as it is.

    Raises:
        ValueError: It cannot be read, is larger than 4 MiB, or holds no certificate.
    """
    if name.startswith(_PEM):
        return name
    text = _read(name, info, _MOST_PEM)
    if _PEM not in text:
        raise ValueError(f"there is no certificate in {name}")
    return text[text.index(_PEM) :]


#: A PEM file with certificates: written as its path, read where the configuration is checked.
CertificatesFile: TypeAlias = Annotated[
    str,
    AfterValidator(read_certificates),
    WithJsonSchema({"type": "string", "description": "The path of a PEM file with certificates."}),
]


def _read(name: str, info: ValidationInfo, most: int) -> str:
    context = info.context if isinstance(info.context, dict) else {}
    path = Path(context.get("base") or Path.cwd()) / name
    files = context.get("files")
    if isinstance(files, list):
        files.append(path)
    try:
        if path.stat().st_size > most:
            raise ValueError(f"{path} is larger than {most >> 20} MiB")
        return path.read_text("utf-8")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
