"""What the supervisor gives to the controller process. Imports nothing heavy: the supervisor imports it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from gatewright.clock import Clock
from gatewright.errorlog import ErrorLog


@dataclass(frozen=True, slots=True)
class ControllerSeat:
    """The controller's place in the gateway.

    ``published`` is a descriptor of the snapshot that the workers use, when a controller ran before this one, else -1.
    """

    supervisor: socket.socket
    paths: tuple[Path, ...]
    published: int
    watch: bool
    clock: Clock
    log: ErrorLog
    parent: int
