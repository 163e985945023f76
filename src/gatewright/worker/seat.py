"""What the supervisor gives to the process that fills a worker slot."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from gatewright.clock import Clock
from gatewright.errorlog import ErrorLog


@dataclass(frozen=True, slots=True)
class Shared:
    """This worker's part of the shared memory."""

    view: memoryview
    fd: int
    column: int
    columns: int
    keys: int


@dataclass(frozen=True, slots=True)
class WorkerSeat:
    """A worker's place in the gateway.

    ``offered`` are the slot's listening sockets by (name, bind); which of them are used is said by the snapshot.
    """

    slot: int
    supervisor: socket.socket
    controller: socket.socket
    offered: dict[tuple[str, str], socket.socket]
    shared: Shared
    clock: Clock
    log: ErrorLog
