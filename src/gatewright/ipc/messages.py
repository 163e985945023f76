"""Everything the processes of one gateway say to each other: tagged MessagePack, never pickle.

supervisor ↔ controller and supervisor ↔ worker share one channel each at start; controller ↔ worker is the channel
that carries configuration, health and counters. A reader ignores fields it does not know.
"""

from __future__ import annotations

from msgspec import Raw, Struct

from gatewright.snapshot.model import Listener


class Message(Struct, tag=True, frozen=True):
    """Base of all messages; the tag is the class name."""


# --- controller → supervisor --------------------------------------------------------------------------------------


class Layout(Message, frozen=True):
    """What the supervisor has to keep running: listeners and number of workers. Sent at start and on change."""

    workers: int
    listeners: tuple[Listener, ...]
    drain_timeout: float


class StartupFailed(Message, frozen=True):
    """The configuration cannot be used at start: stop everything and exit with ``code``."""

    code: int


# --- supervisor → controller --------------------------------------------------------------------------------------


class Bound(Message, frozen=True):
    """The listeners are open; ``addresses`` are the real ones (port 0 resolved), by listener name."""

    addresses: dict[str, str]


class WorkerStarted(Message, frozen=True):
    """A process fills slot ``slot``; the controller's end of its channel travels with this message (SCM_RIGHTS)."""

    slot: int
    pid: int


class WorkerExited(Message, frozen=True):
    """The process of a slot has ended."""

    slot: int
    pid: int
    explanation: str


class Reload(Message, frozen=True):
    """SIGHUP: read the configuration again."""


# --- controller → worker ------------------------------------------------------------------------------------------


class Apply(Message, frozen=True):
    """Compile this snapshot and serve it. ``snapshot`` is a MessagePack :class:`gatewright.snapshot.model.Snapshot`."""

    version: int
    snapshot: Raw


class HealthChange(Message, frozen=True):
    """What active checks, or another worker's traffic, say of an endpoint.

    ``healthy`` None leaves the active verdict as it is; ``ejected_until`` is on the machine's monotonic clock, 0.0 ends
    an ejection, None leaves it as it is.
    """

    upstream: str
    endpoint: str
    healthy: bool | None = None
    ejected_until: float | None = None


class BreakerChange(Message, frozen=True):
    """A circuit breaker changed its state: ``closed``, ``open`` (until ``until``) or ``half_open``."""

    upstream: str
    endpoint: str  # empty: the breaker of the whole upstream
    state: str
    until: float = 0.0


class Drain(Message, frozen=True):
    """Stop accepting, finish what is in flight within ``timeout`` seconds, then exit."""

    timeout: float


class ReopenLogs(Message, frozen=True):
    """Open log files anew (USR1)."""


# --- worker → controller ------------------------------------------------------------------------------------------


class Ready(Message, frozen=True):
    """The worker listens (or will, after its first snapshot)."""

    slot: int
    pid: int


class Applied(Message, frozen=True):
    """The snapshot is in use. ``seconds`` is how long compiling took."""

    slot: int
    version: int
    seconds: float


class Rejected(Message, frozen=True):
    """The snapshot could not be compiled; the old one stays."""

    slot: int
    version: int
    error: str


class Heartbeat(Message, frozen=True):
    """Sent once a second by the worker's loop itself. ``lag`` is how late the loop was, in seconds."""

    slot: int
    lag: float
    connections: int
    exchanges: int


class Stats(Message, frozen=True):
    """Changes of counters since the last one. Keys are metric name and label values joined by U+001F.

    ``counters`` are added up by the controller; ``gauges`` replace what the worker said before; ``histograms`` are
    [bucket counts …, count, sum] and are added up.
    """

    slot: int
    counters: dict[str, float]
    gauges: dict[str, float]
    histograms: dict[str, list[float]]


class Log(Message, frozen=True):
    """Something an operator should read; the controller writes it to the error log."""

    level: str
    event: str
    fields: dict[str, str]


WorkerToController = Ready | Applied | Rejected | Heartbeat | Stats | HealthChange | BreakerChange | Log
ControllerToWorker = Apply | HealthChange | BreakerChange | Drain | ReopenLogs
ControllerToSupervisor = Layout | StartupFailed | Log
SupervisorToController = Bound | WorkerStarted | WorkerExited | Reload | Drain | ReopenLogs
