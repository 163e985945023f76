"""What the processes of the gateway use: processor time, memory and descriptors, from ``/proc``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """One process. ``cpu`` is seconds of user and system time, ``rss`` octets of resident memory."""

    cpu: float
    rss: int
    descriptors: int


def usage(pid: int) -> Usage | None:
    """What a process uses; None when it has ended or when there is no ``/proc``."""
    folder = Path("/proc", str(pid))
    try:
        # The name in parentheses may hold anything; what follows it does not.
        fields = (folder / "stat").read_text(encoding="latin-1").rpartition(")")[2].split()
        pages = int((folder / "statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return None
    try:
        descriptors = sum(1 for _ in os.scandir(folder / "fd"))
    except OSError:  # not ours to read, after a change of user
        descriptors = 0
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, pages * _PAGE, descriptors)
