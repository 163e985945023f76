"""Files that a policy's configuration names. They are read while the configuration is validated, never later.

What is validated in the controller is sent to the workers complete, so a worker never reads them, and all workers
have the same. The context of the validation says where relative paths begin and takes note of what was read::

    ConfigClass.model_validate(data, context={"base": directory, "files": paths_to_watch})
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationInfo

_MOST_BYTES = 64 * 1024 * 1024


def read_lines(name: str, info: ValidationInfo) -> list[str]:
    """The lines of a text file without comments (from ``#`` on) and empty ones.

    Args:
        name: As configured; relative to the configuration's directory.
        info: What pydantic gives to a validator.

    Raises:
        ValueError: It cannot be read, is not UTF-8, or is larger than 64 MiB.
    """
    context = info.context if isinstance(info.context, dict) else {}
    path = Path(context.get("base") or Path.cwd()) / name
    files = context.get("files")
    if isinstance(files, list):
        files.append(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"{path} is larger than 64 MiB")
        text = path.read_text("utf-8")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    return [kept for line in text.splitlines() if (kept := line.partition("#")[0].strip())]
