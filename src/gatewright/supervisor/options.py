"""How ``gatewright run`` was asked to run, beyond the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the process tree.

    Attributes:
        pid_file: Where the supervisor writes its process id; None for nowhere.
        watch: Reload when a file of the configuration changes.
        log_text: Error log as text (True) or JSON (False); None decides by whether standard error is a terminal.
        heartbeat_timeout: Seconds after which a worker whose loop is silent is aborted.
        upgrade_timeout: Seconds that a new process tree has to become ready (USR2).
    """

    pid_file: Path | None = None
    watch: bool = True
    log_text: bool | None = None
    heartbeat_timeout: float = 10.0
    upgrade_timeout: float = 60.0
