"""What the controller knows, for everyone who shows it: status, readiness, metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gatewright.controller.workers import Workers
from gatewright.errors import Problem
from gatewright.snapshot.model import Snapshot


@dataclass(slots=True)
class State:
    """The state of one gateway. Times are wall-clock seconds; 0.0 means never.

    Attributes:
        workers: The worker processes.
        started: When this controller started.
        supervisor: Process id of the supervisor: the one that takes signals.
        snapshot: The configuration that serves, None before the first.
        applied: When it was published.
        last_error: Why the newest configuration on disk is not the one that serves; empty when it is.
        last_problems: The same in detail.
        last_error_at: When that was found.
        warnings: What is odd, but works, about the configuration that serves.
        reloads: Configurations applied after the first, and refused.
        rounds: How often the configuration was read again, whatever came of it.
        files: Everything that was read for the configuration.
        addresses: Real addresses of the listeners, by name.
        admin_address: Real address of the admin listener.
        draining: A stop is under way.
    """

    workers: Workers
    started: float
    supervisor: int
    snapshot: Snapshot | None = None
    applied: float = 0.0
    last_error: str = ""
    last_problems: list[Problem] = field(default_factory=list)
    last_error_at: float = 0.0
    warnings: list[Problem] = field(default_factory=list)
    reloads: int = 0
    refused: int = 0
    rounds: int = 0
    files: list[Path] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    admin_address: str = ""
    draining: bool = False

    @property
    def ready(self) -> bool:
        """Whether the gateway should get traffic: a worker serves a snapshot, and no stop is under way."""
        return self.snapshot is not None and not self.draining and self.workers.serving > 0
