"""Binary upgrade (USR2): a new supervisor takes over the sockets and the shared memory while the old one serves on.

The old process starts the new one with the descriptors and a note in the environment. The new one writes a byte when
its workers serve; only then does the old one drain. If the new one ends before, the old one simply goes on.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from gatewright.supervisor.listeners import Inherited, Place
from gatewright.supervisor.segment import Segment

ENVIRONMENT = "GATEWRIGHT_UPGRADE"


@dataclass(slots=True)
class Legacy:
    """What an older supervisor handed over; all empty when there is none."""

    sockets: tuple[Inherited, ...] = ()
    segment: tuple[int, int, int, int] | None = None
    ready_fd: int = -1
    parent: int = 0

    def report_ready(self) -> None:
        """Tell the older supervisor that this one serves."""
        if self.ready_fd < 0:
            return
        try:
            os.write(self.ready_fd, b"1")
        except BrokenPipeError:  # it has ended meanwhile: nothing to hand over any more
            pass
        self.abandon()

    def abandon(self) -> None:
        """Close the line to the older supervisor. Before a report, it takes that for a failure."""
        if self.ready_fd >= 0:
            os.close(self.ready_fd)
            self.ready_fd = -1

    def lives(self) -> bool:
        """Whether the older supervisor still runs."""
        return self.parent != 0 and os.getppid() == self.parent


def take_legacy() -> Legacy:
    """Read, and remove, the note of an older supervisor."""
    note = os.environ.pop(ENVIRONMENT, "")
    if not note:
        return Legacy()
    data = json.loads(note)
    sockets = tuple(Inherited(*item) for item in data["sockets"])
    fd, slots, keys, generation = data["segment"]
    for inherited in (*(item.fd for item in sockets), fd, data["ready"]):
        os.set_inheritable(inherited, False)
    return Legacy(sockets, (fd, slots, keys, generation), data["ready"], data["parent"])


def start(places: Iterable[Place], segment: Segment) -> tuple[int, int]:
    """Execute this program anew, with the same arguments.

    Returns:
        Its process id and the descriptor that becomes readable when it is ready (one byte) or has failed (none).

    Raises:
        OSError: No process could be made.
    """
    ready_reader, ready_writer = os.pipe()
    sockets = [
        (place.name, place.bind, slot, sock.fileno(), place.shared)
        for place in places
        for slot, sock in enumerate(place.sockets)
    ]
    note = {
        "sockets": sockets,
        "segment": (segment.fd, segment.slots, segment.keys, segment.generation),
        "ready": ready_writer,
        "parent": os.getpid(),
    }
    environment = os.environ | {ENVIRONMENT: json.dumps(note)}
    inherited = [*(item[3] for item in sockets), segment.fd, ready_writer]
    for fd in inherited:
        os.set_inheritable(fd, True)
    try:
        pid = os.posix_spawn(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
    except OSError:
        os.close(ready_reader)
        raise
    finally:
        for fd in inherited:
            os.set_inheritable(fd, False)
        os.close(ready_writer)
    return pid, ready_reader
