"""Names that need no server: ``localhost`` and what the hosts file says."""

from __future__ import annotations

import ipaddress
from pathlib import Path

#: Larger files are not read.
LIMIT = 1024 * 1024


class HostsFile:
    """A hosts file (hosts(5)), read again when it has changed."""

    def __init__(self, path: Path = Path("/etc/hosts")) -> None:
        self._path = path
        self._stamp = (0, 0)
        self._names: dict[str, tuple[str, ...]] = {}

    def look_up(self, name: str) -> tuple[str, ...]:
        """The addresses of ``name``; empty when the file does not know it.

        ``localhost`` and names under it are 127.0.0.1 alone: an endpoint at ``::1`` beside it would be one that
        hardly anybody listens at.
        """
        name = name.lower().rstrip(".")
        if name == "localhost" or name.endswith(".localhost"):
            return ("127.0.0.1",)
        self._refresh()
        return self._names.get(name, ())

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
        except OSError:  # there need not be one
            self._names = {}
            return
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp != self._stamp and status.st_size <= LIMIT:
            self._names = _parse(self._path.read_text(encoding="utf-8", errors="replace"))
            self._stamp = stamp


def _parse(text: str) -> dict[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        address, *aliases = line.partition("#")[0].split() or [""]
        try:
            ipaddress.ip_address(address)
        except ValueError:
            continue
        for alias in aliases:
            key = alias.lower().rstrip(".")
            names[key] = (*names.get(key, ()), address)
    return names
