"""Which configuration a command means."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

DEFAULT = "gateway.yaml"
VARIABLE = "GATEWRIGHT_CONFIG"


def config_files(given: Sequence[Path], environ: Mapping[str, str] = os.environ) -> list[Path]:
    """The files named by ``-c``; else those of ``$GATEWRIGHT_CONFIG``, separated by colons; else ``./gateway.yaml``."""
    if given:
        return list(given)
    if environ.get(VARIABLE):
        return [Path(part) for part in environ[VARIABLE].split(os.pathsep) if part]
    return [Path(DEFAULT)]
