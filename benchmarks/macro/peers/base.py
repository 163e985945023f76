"""What a peer has to say about itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.macro.protocols import PLAIN, Protocols


@dataclass(frozen=True)
class Task:
    """Where a peer listens, whom it proxies to, and how many files it may open."""

    workdir: Path
    port: int
    origin: int
    open_files: int
    protocols: Protocols = PLAIN

    @property
    def connections(self) -> int:
        """Client connections it has to take: each may need an upstream connection, and some files are its own."""
        return self.open_files // 2 - 64


class Peer(ABC):
    """One product. Every peer adds X-Forwarded-For and X-Forwarded-Proto, keeps Host, and nothing more.

    Scenarios with other protocols name the peers that speak them; all others are given HTTP/1.1 without TLS.
    """

    name: ClassVar[str]
    #: Debian package, or PyPI project, that brings the program.
    debian: ClassVar[str] = ""
    pypi: ClassVar[str] = ""
    environ: ClassVar[dict[str, str]] = {}

    def __init__(self, venv: Path) -> None:
        self.venv = venv

    def program(self) -> Path | None:
        """The program's path; None when it is not installed."""
        if self.pypi:
            path = self.venv / "bin" / self.name
            return path if path.exists() else None
        found = shutil.which(self.name, path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/sbin:/bin")
        return Path(found) if found else None

    @abstractmethod
    def version_command(self) -> list[str]:
        """Arguments that make it print its version."""

    def version(self) -> str:
        """The version, as short as it can be told."""
        done = subprocess.run(
            [str(self.program()), *self.version_command()], capture_output=True, text=True, timeout=30, check=False
        )
        found = re.search(r"\d+\.\d+\.\d+[\w.+-]*", done.stdout + done.stderr)
        return found.group() if found else "unknown"

    @abstractmethod
    def command(self, task: Task) -> list[str]:
        """Write the configuration into the work directory; returns the command that runs it in the foreground."""
