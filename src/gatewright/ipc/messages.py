"""Everything the processes of one gateway say to each other: tagged MessagePack, never pickle.

There are three kinds of channel. Supervisor ↔ controller and supervisor ↔ worker exist from the fork on and may carry
file descriptors. Controller ↔ worker carries configuration, health and counters; the supervisor makes it and hands
out its ends, so that either side may be replaced. A reader ignores fields it does not know.
"""

from __future__ import annotations

from msgspec import Raw, Struct

from gatewright.snapshot.model import Listener


class Message(Struct, tag=True, frozen=True):
    """Base of all messages; the tag is the class name."""


# --- controller → supervisor --------------------------------------------------------------------------------------


class Layout(Message, frozen=True):
    """What the supervisor has to keep open: listeners and number of workers. Sent at start and on change.

    The supervisor opens what is missing and answers :class:`Bound` or :class:`BindFailed`; what the layout no longer
    names stays open until :class:`Settled`. ``admin`` is the address of the admin listener, empty for none.
    ``rate_keys`` is the size of the shared table of limits; it counts at start only.
    """

    workers: int
    listeners: tuple[Listener, ...]
    drain_timeout: float
    admin: str = ""
    rate_keys: int = 65_536


class Settled(Message, frozen=True):
    """The workers use the last layout: listeners and slots that it does not name may go."""


class Published(Message, frozen=True):
    """A snapshot is in use; a memory file with it (MessagePack) travels along (SCM_RIGHTS).

    The supervisor keeps the file, unread, for the next controller: a controller that starts over a broken
    configuration can still fill the slot of a crashed worker.
    """

    version: int


class Reloaded(Message, frozen=True):
    """A reload that was asked for has ended. ``error`` is empty unless the configuration was refused."""

    error: str = ""


class StartupFailed(Message, frozen=True):
    """The configuration cannot be used at start: stop everything and exit with ``code``."""

    code: int


# --- supervisor → controller --------------------------------------------------------------------------------------


class Bound(Message, frozen=True):
    """The listeners are open; ``addresses`` are the real ones (port 0 resolved), by listener name.

    When there is an admin listener, ``admin`` is its address and its socket travels along (SCM_RIGHTS).
    """

    addresses: dict[str, str]
    admin: str = ""


class BindFailed(Message, frozen=True):
    """A listener of the layout cannot be opened; nothing of the layout was put in place."""

    listener: str
    bind: str
    error: str


class WorkerStarted(Message, frozen=True):
    """A process fills slot ``slot``; the controller's end of its channel travels with this message (SCM_RIGHTS).

    ``fresh`` is False when the process served before this controller came: it has a runtime already.
    """

    slot: int
    pid: int
    fresh: bool = True


class WorkerExited(Message, frozen=True):
    """The process of a slot has ended."""

    slot: int
    pid: int
    explanation: str


class Reload(Message, frozen=True):
    """SIGHUP: read the configuration again."""


# --- supervisor → worker ------------------------------------------------------------------------------------------


class Offer(Message, frozen=True):
    """A listening socket of this slot (SCM_RIGHTS). The worker uses it when its snapshot has such a listener."""

    name: str
    bind: str


class Withdraw(Message, frozen=True):
    """The socket offered under this name and address is no longer part of the layout: close it."""

    name: str
    bind: str


class NewController(Message, frozen=True):
    """The controller was replaced; the worker's end of the channel to the new one travels along (SCM_RIGHTS)."""


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


# --- supervisor → controller and workers ---------------------------------------------------------------------------


class Drain(Message, frozen=True):
    """Stop accepting, finish what is in flight within ``timeout`` seconds, then exit.

    ``handover`` says that another gateway process has taken over the sockets (binary upgrade).
    """

    timeout: float
    handover: bool = False


class ReopenLogs(Message, frozen=True):
    """Open log files anew (USR1)."""


# --- worker → controller ------------------------------------------------------------------------------------------


class Ready(Message, frozen=True):
    """To the controller: first word on a new channel, with the version in use (0: none yet).

    To the supervisor: the worker has its first runtime and accepts connections.
    """

    slot: int
    pid: int
    version: int = 0


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

    ``counters`` are added up by the controller; ``gauges`` replace what the worker said before, and NaN takes it back;
    ``histograms`` are [bucket counts …, count, sum] and are added up. ``families`` tells help text and label names of
    the metrics of policies that occur in this message.
    """

    slot: int
    counters: dict[str, float]
    gauges: dict[str, float]
    histograms: dict[str, list[float]]
    families: dict[str, tuple[str, ...]] = {}


class Log(Message, frozen=True):
    """Something an operator should read; the controller writes it to the error log. ``fields`` may have ``message``."""

    level: str
    event: str
    fields: dict[str, str]


WorkerToController = Ready | Applied | Rejected | Heartbeat | Stats | HealthChange | BreakerChange | Log
WorkerToSupervisor = Ready | Heartbeat
ControllerToWorker = Apply | HealthChange | BreakerChange
ControllerToSupervisor = Layout | Settled | Published | Reloaded | StartupFailed
SupervisorToController = Bound | BindFailed | WorkerStarted | WorkerExited | Reload | Drain
SupervisorToWorker = Offer | Withdraw | NewController | Drain | ReopenLogs
