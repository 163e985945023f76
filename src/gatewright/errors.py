"""The exceptions of Gatewright.

::

    GatewrightError
    ├── ConfigError          a configuration that cannot be used; carries every Problem found
    ├── ProtocolError        a peer broke its protocol; carries a reason of gatewright.reasons
    ├── MissingExtra         an optional package is not installed; the message names the extra
    └── Refused              a body hook ends the exchange (gatewright.http.reply)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class GatewrightError(Exception):
    """The root of all exceptions that Gatewright raises on purpose."""


@dataclass(slots=True)
class Problem:
    """One thing that is wrong with a configuration, with its place and its cure.

    ``line`` and ``column`` count from 1; 0 means that the place is not known. ``path`` is where it stands in the
    document (``routes[3].match.paths[0]``). ``source`` is the offending line itself, without its end of line.
    ``severity`` is ``error`` (the configuration is refused) or ``warning`` (it works, but look at it).
    """

    code: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    path: str = ""
    source: str = ""
    hint: str = ""
    severity: str = "error"
    related: list[str] = field(default_factory=list)


class ConfigError(GatewrightError):
    """A configuration that cannot be used. Nothing of it has been applied.

    ``files`` are those that were read for it: a change of one of them may cure it.
    """

    def __init__(self, problems: list[Problem], files: Sequence[Path] = ()) -> None:
        self.problems = problems
        self.files = tuple(files)
        super().__init__("; ".join(f"{p.file}:{p.line}:{p.column}: {p.message}" for p in problems))


class ProtocolError(GatewrightError):
    """A peer sent what its protocol forbids, or more than our limits allow."""

    __slots__ = ("detail", "reason", "status")

    def __init__(self, reason: str, status: int = 400, detail: str = "") -> None:
        self.reason = reason
        self.status = status
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class MissingExtra(GatewrightError):
    """A feature was asked for whose package is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs a package that is not installed: pip install 'gatewright[{extra}]'")
