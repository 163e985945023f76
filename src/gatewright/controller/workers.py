"""The workers as the controller knows them: channels, versions, acknowledgements, heartbeats."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import msgspec

from gatewright.clock import Clock
from gatewright.controller.bus import BreakerState, Bus, EndpointHealth, WorkerDown, WorkerUp
from gatewright.errorlog import ErrorLog
from gatewright.ipc.channel import LoopChannel, frame
from gatewright.ipc.messages import (
    Applied,
    Apply,
    BreakerChange,
    HealthChange,
    Heartbeat,
    Log,
    Ready,
    Rejected,
    Stats,
    WorkerExited,
    WorkerStarted,
    WorkerToController,
)
from gatewright.snapshot.model import Snapshot

_SNAPSHOTS = msgspec.msgpack.Encoder()


@dataclass(slots=True)
class Worker:
    """One process and what it last said of itself. Times are monotonic seconds; 0.0 means never."""

    slot: int
    pid: int
    fresh: bool
    started: float
    channel: LoopChannel[WorkerToController] | None = None
    version: int = 0
    sent_version: int = 0
    rejected_version: int = 0
    rejection: str = ""
    compile_seconds: float = 0.0
    heartbeat: float = 0.0
    lag: float = 0.0
    connections: int = 0
    exchanges: int = 0


@dataclass(slots=True)
class Outcome:
    """How a version was taken: slots that serve it, what the others said, slots that have not answered in time."""

    applied: list[int] = field(default_factory=list)
    rejected: dict[int, str] = field(default_factory=dict)
    silent: list[int] = field(default_factory=list)


class Workers:
    """All workers.

    Args:
        clock: For the times shown in the status.
        bus: Where health, breakers and restarts are told.
        log: The controller's error log.
        on_stats: Called with what a worker has counted.
        on_gone: Called with the slot whose process has ended, so that its gauges can be forgotten.
    """

    def __init__(
        self,
        clock: Clock,
        bus: Bus,
        log: ErrorLog,
        on_stats: Callable[[Stats], None],
        on_gone: Callable[[int], None],
    ) -> None:
        self._clock = clock
        self._bus = bus
        self._log = log
        self._on_stats = on_stats
        self._on_gone = on_gone
        self._changed: asyncio.Event = asyncio.Event()
        self._version = 0
        self._apply: bytes = b""  # the current snapshot as a frame, ready for a worker that starts
        self._verdicts: dict[tuple[type, str, str], HealthChange | BreakerChange] = {}
        self.by_slot: dict[int, Worker] = {}
        #: Processes that have ended, by slot.
        self.restarts: dict[int, int] = {}

    @property
    def version(self) -> int:
        """The version last published."""
        return self._version

    @property
    def all_current(self) -> bool:
        """Whether there are workers and all serve the published version."""
        return bool(self.by_slot) and all(worker.version == self._version for worker in self.by_slot.values())

    @property
    def serving(self) -> int:
        """Workers that have a runtime."""
        return sum(1 for worker in self.by_slot.values() if worker.version)

    def started(self, message: WorkerStarted, sock: socket.socket) -> Coroutine[None, None, None]:
        """A process fills a slot, and this is our end of the channel to it.

        Returns:
            What remains to be done: opening the channel. The worker itself is known at once, so that its end, should
            it be the next message, finds it.
        """
        old = self.by_slot.get(message.slot)
        if old is not None and old.channel is not None:
            old.channel.close()
        worker = Worker(message.slot, message.pid, message.fresh, self._clock.monotonic())
        self.by_slot[message.slot] = worker
        self._bus.publish(WorkerUp(message.slot, message.pid))
        return self._connect(worker, sock)

    async def _connect(self, worker: Worker, sock: socket.socket) -> None:
        channel: LoopChannel[WorkerToController] = LoopChannel(
            WorkerToController, lambda said: self._receive(worker, said), lambda: self._lost(worker)
        )
        await channel.open(sock)
        if self.by_slot.get(worker.slot) is not worker:  # it has ended meanwhile
            channel.close()
            return
        worker.channel = channel
        if worker.fresh:
            # It has nothing yet: send before it even asks, so that the slot serves again as soon as it can.
            self._send_current(worker)

    def exited(self, message: WorkerExited) -> None:
        """The process of a slot has ended."""
        self.restarts[message.slot] = self.restarts.get(message.slot, 0) + 1
        worker = self.by_slot.get(message.slot)
        if worker is not None and worker.pid == message.pid:
            del self.by_slot[message.slot]
            if worker.channel is not None:
                worker.channel.close()
            self._on_gone(message.slot)
        self._changed.set()
        self._bus.publish(WorkerDown(message.slot, message.pid, message.explanation))

    def adopt(self, snapshot: Snapshot) -> None:
        """Make this the current snapshot without sending it to workers that have it already."""
        self._keep(snapshot)

    async def publish(self, snapshot: Snapshot, patience: float) -> Outcome:
        """Send a snapshot to all workers and wait, at most ``patience`` seconds, for their answers."""
        self._keep(snapshot)
        for worker in self.by_slot.values():
            self._send_current(worker)
        try:
            async with asyncio.timeout(patience):
                while not self._settled():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass  # told in the outcome
        return self._outcome()

    def broadcast(self, message: HealthChange | BreakerChange, but: int = -1) -> None:
        """Tell all workers, except the one of slot ``but``, and those that start later."""
        endpoint = message.endpoint
        self._verdicts[type(message), message.upstream, endpoint] = self._merged(message)
        data = frame(message)
        for worker in self.by_slot.values():
            if worker.slot != but and worker.channel is not None:
                worker.channel.send_frame(data)

    def close(self) -> None:
        """End all channels."""
        for worker in self.by_slot.values():
            if worker.channel is not None:
                worker.channel.close()

    def _merged(self, message: HealthChange | BreakerChange) -> HealthChange | BreakerChange:
        """A health message may leave one of its two verdicts as it was."""
        old = self._verdicts.get((type(message), message.upstream, message.endpoint))
        if not isinstance(message, HealthChange) or not isinstance(old, HealthChange):
            return message
        return HealthChange(
            message.upstream,
            message.endpoint,
            old.healthy if message.healthy is None else message.healthy,
            old.ejected_until if message.ejected_until is None else message.ejected_until,
        )

    def _keep(self, snapshot: Snapshot) -> None:
        self._version = snapshot.version
        self._apply = frame(Apply(snapshot.version, msgspec.Raw(_SNAPSHOTS.encode(snapshot))))
        known = {(upstream.name, endpoint.key) for upstream in snapshot.upstreams for endpoint in upstream.endpoints}
        known |= {(upstream.name, "") for upstream in snapshot.upstreams}
        self._verdicts = {key: value for key, value in self._verdicts.items() if key[1:] in known}

    def _send_current(self, worker: Worker) -> None:
        if worker.channel is None or not self._apply:
            return
        worker.sent_version = self._version
        if not worker.channel.send_frame(self._apply):
            self._log.warning("worker.slow", f"worker {worker.slot} does not read; version {self._version} not sent")
        if worker.fresh:
            worker.fresh = False
            for verdict in self._verdicts.values():
                worker.channel.send(verdict)

    def _settled(self) -> bool:
        return all(self._version in (worker.version, worker.rejected_version) for worker in self.by_slot.values())

    def _outcome(self) -> Outcome:
        outcome = Outcome()
        for slot, worker in sorted(self.by_slot.items()):
            if worker.version == self._version:
                outcome.applied.append(slot)
            elif worker.rejected_version == self._version:
                outcome.rejected[slot] = worker.rejection
            else:
                outcome.silent.append(slot)
        return outcome

    # --- what workers say --------------------------------------------------------------------------------------------

    def _receive(self, worker: Worker, message: WorkerToController) -> None:
        try:
            self._dispatch(worker, message)
        except Exception as error:  # noqa: BLE001 - one message must not cost the channel
            self._log.error("controller.message", f"{type(message).__name__} failed: {error!r}", slot=worker.slot)

    def _dispatch(self, worker: Worker, message: WorkerToController) -> None:
        if isinstance(message, Stats):
            self._on_stats(message)
        elif isinstance(message, Heartbeat):
            worker.heartbeat = self._clock.monotonic()
            worker.lag = message.lag
            worker.connections, worker.exchanges = message.connections, message.exchanges
        elif isinstance(message, Applied):
            worker.version, worker.compile_seconds = message.version, message.seconds
            self._changed.set()
        elif isinstance(message, Rejected):
            worker.rejected_version, worker.rejection = message.version, message.error
            self._changed.set()
        elif isinstance(message, Ready):
            self._introduced(worker, message)
        elif isinstance(message, HealthChange):
            self.broadcast(message, but=worker.slot)
            self._bus.publish(EndpointHealth(worker.slot, message))
        elif isinstance(message, BreakerChange):
            self.broadcast(message, but=worker.slot)
            self._bus.publish(BreakerState(worker.slot, message))
        elif isinstance(message, Log):
            fields: dict[str, object] = {"slot": worker.slot, **message.fields}
            text = str(fields.pop("message", message.event))
            self._log.write(message.level, message.event, text, fields)

    def _introduced(self, worker: Worker, message: Ready) -> None:
        """First word on a channel: a worker that served before this controller came says what it has."""
        worker.version = message.version
        if self._version not in (message.version, worker.sent_version):
            self._send_current(worker)
        self._changed.set()

    def _lost(self, worker: Worker) -> None:
        worker.channel = None
        self._changed.set()
