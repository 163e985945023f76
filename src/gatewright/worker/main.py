"""A worker: one process, one loop, serving traffic from its runtime, whatever becomes of the other processes.

The snapshot says which listeners the worker has; the supervisor offers the sockets for them. A socket is used when
both have been seen, in whatever order they came.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from gatewright.ipc.attached import AttachedChannel
from gatewright.ipc.channel import ChannelError
from gatewright.ipc.messages import (
    Applied,
    Apply,
    BreakerChange,
    ControllerToWorker,
    Drain,
    HealthChange,
    Heartbeat,
    NewController,
    Offer,
    Ready,
    Rejected,
    ReopenLogs,
    SupervisorToWorker,
    Withdraw,
)
from gatewright.proxy.shared import SharedTable
from gatewright.snapshot.model import Listener, Snapshot
from gatewright.worker.link import ControllerLink
from gatewright.worker.seat import WorkerSeat
from gatewright.worker.server import DataPlane
from gatewright.worker.spawn import Running, Spawner

_BEAT = 1.0
_MAX_UNSENT = 1024 * 1024
_DEFAULT_DRAIN = 30.0
_SNAPSHOT = msgspec.msgpack.Decoder(Snapshot)


def run(seat: WorkerSeat) -> int:
    """Serve until told to stop. Returns the exit code."""
    faulthandler.enable()  # SIGABRT from the supervisor leaves a traceback of a blocked loop
    _name_process(f"gw-worker-{seat.slot}")
    worker = Worker(seat)
    sys.unraisablehook = worker.on_unraisable
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(worker.serve())


class Worker:
    """The process around a :class:`DataPlane`: messages in, acknowledgements and counters out."""

    def __init__(self, seat: WorkerSeat) -> None:
        self._seat = seat
        self._slot = seat.slot
        self._log = seat.log
        self._offered = dict(seat.offered)
        self._listening: dict[str, Listener] = {}
        self._snapshot: Snapshot | None = None
        self._next: Apply | None = None  # the newest snapshot that is not applied yet
        self._applying = False
        self._ready = False
        self._drain: Running | None = None
        self._spawner = Spawner(self._report)
        self._controller = ControllerLink(seat.slot, seat.log, self._on_controller)

    async def serve(self) -> int:
        """The whole life of the worker. Returns the exit code."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_error)
        self._stopped = asyncio.Event()
        self._plane = self._make_plane()
        self._supervisor: AttachedChannel[SupervisorToWorker] = AttachedChannel(
            self._seat.supervisor, SupervisorToWorker, self._on_supervisor, self._on_orphaned, _MAX_UNSENT
        )
        loop.add_signal_handler(signal.SIGTERM, self._on_terminate)
        await self._controller.attach(self._seat.controller, 0)
        self._due = loop.time() + _BEAT
        loop.call_at(self._due, self._beat)
        self._supervisor.send(Heartbeat(self._slot, 0.0, 0, 0))
        await self._stopped.wait()
        self._ship()
        self._controller.close()
        self._supervisor.close()
        await self._spawner.cancel_all()
        return 0

    def _make_plane(self) -> DataPlane:
        shared = self._seat.shared
        table = SharedTable(shared.view, shared.fd, shared.column, shared.columns, shared.keys)
        return DataPlane(self._slot, self._seat.clock, table, self._controller.send)

    # --- controller --------------------------------------------------------------------------------------------------

    def _on_controller(self, message: ControllerToWorker) -> None:
        if isinstance(message, Apply):
            self._next = message  # one that was waiting is out of date
            if not self._applying:
                self._applying = True
                self._spawner.spawn(self._apply(), "apply")
        elif isinstance(message, HealthChange):
            self._plane.health_change(message)
        elif isinstance(message, BreakerChange):
            self._plane.breaker_change(message)

    async def _apply(self) -> None:
        """Apply the newest snapshot until there is none newer."""
        try:
            while self._next is not None and self._drain is None:
                message, self._next = self._next, None
                await self._apply_one(message)
        finally:
            self._applying = False

    async def _apply_one(self, message: Apply) -> None:
        try:
            snapshot = _SNAPSHOT.decode(message.snapshot)
            same = self._snapshot is not None and self._snapshot.digest == snapshot.digest != ""
            seconds = 0.0 if same else await self._plane.apply(snapshot)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the old runtime serves on
            self._log.error("config.rejected", f"version {message.version} cannot be used: {error!r}")
            self._controller.send(Rejected(self._slot, message.version, str(error) or repr(error)))
            return
        self._snapshot = snapshot
        self._reconcile()
        self._controller.send(Applied(self._slot, message.version, seconds))
        if not self._ready:
            self._ready = True
            self._supervisor.send(Ready(self._slot, os.getpid(), snapshot.version))

    # --- supervisor --------------------------------------------------------------------------------------------------

    def _on_supervisor(self, message: SupervisorToWorker, descriptors: list[int]) -> None:
        if isinstance(message, Offer):
            self._offered[message.name, message.bind] = socket.socket(fileno=descriptors.pop())
            self._reconcile()
        elif isinstance(message, Withdraw):
            sock = self._offered.pop((message.name, message.bind), None)
            if sock is not None:
                self._reconcile()
                sock.close()
        elif isinstance(message, NewController):
            version = self._snapshot.version if self._snapshot else 0
            channel = socket.socket(fileno=descriptors.pop())
            self._spawner.spawn(self._controller.attach(channel, version), "attach")
        elif isinstance(message, Drain):
            self._begin_drain(message.timeout)
        elif isinstance(message, ReopenLogs):
            self._plane.reopen_logs()

    def _on_orphaned(self, error: ChannelError | None) -> None:
        if self._drain is None:
            why = f" ({error})" if error else ""
            self._log.error("worker.orphaned", f"the supervisor has died{why}; finishing what is in flight")
            self._begin_drain(self._drain_timeout())

    def _on_terminate(self) -> None:
        """Somebody ended this process alone: finish, and let the supervisor start another."""
        self._begin_drain(self._drain_timeout())

    def _drain_timeout(self) -> float:
        return self._snapshot.drain_timeout if self._snapshot else _DEFAULT_DRAIN

    # --- listeners ---------------------------------------------------------------------------------------------------

    def _reconcile(self) -> None:
        """Listen on what the snapshot names and the supervisor has offered, and on nothing else."""
        if self._snapshot is None or self._drain is not None:
            return
        wanted = {spec.name: spec for spec in self._snapshot.listeners if (spec.name, spec.bind) in self._offered}
        for name, old in list(self._listening.items()):
            if name not in wanted or wanted[name].bind != old.bind:
                self._plane.unlisten(name)
                del self._listening[name]
        for name, spec in wanted.items():
            if name not in self._listening:
                # A copy: the data plane closes what it was given, the offer stands.
                self._plane.listen(name, spec, self._offered[name, spec.bind].dup())
            self._listening[name] = spec  # other changes than the address came with the snapshot

    # --- beat --------------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Once a second, from the loop itself: a blocked loop falls silent."""
        loop = asyncio.get_running_loop()
        lag = max(0.0, loop.time() - self._due)
        plane = self._plane
        beat = Heartbeat(self._slot, lag, plane.connections, plane.exchanges)
        self._supervisor.send(beat)
        self._controller.send(beat)
        self._ship()
        self._due = loop.time() + _BEAT
        loop.call_at(self._due, self._beat)

    def _ship(self) -> None:
        self._controller.send(self._plane.stats())

    # --- end ---------------------------------------------------------------------------------------------------------

    def _begin_drain(self, timeout: float) -> None:
        if self._drain is not None:
            self._drain.cancel()  # asked again, with less time
        self._drain = self._spawner.spawn(self._finish(timeout), "drain")

    async def _finish(self, seconds: float) -> None:
        for sock in self._offered.values():
            sock.close()
        self._offered.clear()
        await self._plane.drain(seconds)
        self._stopped.set()

    # --- trouble -----------------------------------------------------------------------------------------------------

    def _report(self, name: str, error: BaseException) -> None:
        self._log.error("worker.task", f"task {name} failed: {error!r}", task=name)
        if name == "drain":
            self._stopped.set()

    def on_unraisable(self, args: sys.UnraisableHookArgs) -> None:
        """An error in a place that has nobody to tell. The TLS library reports names there that are not ASCII."""
        if not isinstance(args.exc_value, UnicodeDecodeError):
            self._log.error("worker.unraisable", f"{args.err_msg or 'ignored'}: {args.exc_value!r}")

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._log.error("worker.loop", f"{context.get('message')}: {error!r}" if error else str(context["message"]))


def _name_process(name: str) -> None:
    """The name shown by ps and top (15 bytes)."""
    try:
        Path("/proc/self/comm").write_text(name, encoding="ascii")
    except OSError:  # not Linux, or no /proc in the container
        return
