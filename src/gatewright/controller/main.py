"""The controller: one process that may be slow or heavy, so that workers need not be. This file wires its parts."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from gatewright.config.report import format_problems
from gatewright.controller.admin.app import create_app
from gatewright.controller.admin.server import AdminServer
from gatewright.controller.admin.view import View
from gatewright.controller.bus import Bus, EndpointHealth
from gatewright.controller.certificates import Certificates
from gatewright.controller.check import Checker
from gatewright.controller.dns import Resolver
from gatewright.controller.health import HealthChecker
from gatewright.controller.link import SupervisorLink
from gatewright.controller.metrics import Metrics
from gatewright.controller.reconcile import Addresses, Reconciler
from gatewright.controller.seat import ControllerSeat
from gatewright.controller.state import State
from gatewright.controller.verdicts import Verdicts
from gatewright.controller.watch import Watcher
from gatewright.controller.workers import Workers
from gatewright.errors import ConfigError
from gatewright.ipc.messages import Drain, HealthChange, Reload, StartupFailed, WorkerExited, WorkerStarted
from gatewright.snapshot.build import Built
from gatewright.snapshot.model import Snapshot

EXIT_CONFIG = 3
_SNAPSHOT = msgspec.msgpack.Decoder(Snapshot)


def run(seat: ControllerSeat) -> int:
    """Run until the supervisor closes the channel. Returns the exit code."""
    try:
        Path("/proc/self/comm").write_text("gw-controller", encoding="ascii")
    except OSError:  # no /proc: only ps shows less
        pass
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Controller(seat).main())


class Controller:
    """All parts of the controller, and what they need of each other (it is the reconciler's ``Host``)."""

    def __init__(self, seat: ControllerSeat) -> None:
        self._seat = seat
        self._log = seat.log
        self._bus = Bus(seat.clock, seat.log)
        self._metrics = Metrics()
        self._workers = Workers(seat.clock, self._bus, seat.log, self._metrics.add, self._metrics.forget)
        self._health = HealthChecker(seat.clock, self._on_health)
        self._resolver = Resolver(seat.clock, seat.log, self._on_address)
        self._state = State(self._workers, started=seat.clock.wall(), supervisor=seat.parent)
        self._checker = Checker(seat.clock)
        self._watcher = Watcher(seat.paths, self._on_files)
        self._verdicts = Verdicts(self._bus, seat.clock)
        self._certificates = Certificates(seat.clock, seat.log)
        self._metrics.add_source(self._certificates.metrics)
        view = View(self._state, self._metrics, self._health, self._verdicts, seat.clock, seat.log)
        self._admin = AdminServer(create_app(view), seat.log)

    async def main(self) -> int:
        """Start, run, and end when the supervisor says so. Returns the exit code."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_error)
        self._main = asyncio.current_task()
        self._supervisor = SupervisorLink(self._seat.supervisor, self._log, self._on_supervisor, self._on_end)
        self._reconciler = Reconciler(
            self._seat.paths, self._state, self._supervisor, self, self._seat.clock, self._bus, self._log
        )
        code = 0
        try:
            async with asyncio.TaskGroup() as self._group:
                code = await self._start()
                if not code:
                    await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass  # the supervisor closed the channel: the regular end
        await self._admin.stop()
        self._workers.close()
        self._supervisor.close()
        return code

    async def _start(self) -> int:
        if self._seat.published >= 0:
            snapshot = self._last_published()
            self._follow(snapshot)
            await self._reconciler.resume(snapshot)
        else:
            try:
                await self._reconciler.first()
            except ConfigError as error:
                text = format_problems(error.problems, color=sys.stderr.isatty())
                sys.stderr.write(text)
                self._supervisor.send(StartupFailed(EXIT_CONFIG))
                return EXIT_CONFIG
        self._spawn(self._reconciler.run(), "reconcile")
        self._spawn(self._health.run(), "health")
        self._spawn(self._resolver.run(), "dns")
        self._spawn(self._certificates.run(), "certificates")
        if self._seat.watch:
            self._spawn(self._watcher.run(), "watch")
        return 0

    def _last_published(self) -> Snapshot:
        with os.fdopen(self._seat.published, "rb") as file:
            file.seek(0)
            return _SNAPSHOT.decode(file.read())

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        self._group.create_task(self._guarded(coroutine, name), name=name)

    async def _guarded(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """One part that fails must not take the others with it."""
        try:
            await coroutine
        except Exception as error:  # noqa: BLE001 - reported; the other parts go on
            self._log.error("controller.task", f"{name} failed: {error!r}", task=name)

    # --- the reconciler's host ---------------------------------------------------------------------------------------

    async def resolve(self, hosts: set[str]) -> Addresses:
        """Look up names; at the start they are waited for."""
        return await self._resolver.resolve(hosts)

    async def check(self, built: Built) -> None:
        """Compile it here before workers are asked to."""
        await self._checker.check(built.snapshot, built.registry)

    async def bound(self, admin: socket.socket | None) -> None:
        """Serve the admin listener on this socket."""
        await self._admin.serve(admin)

    def built(self, built: Built) -> None:
        """Follow the files, names and upstreams of what is about to serve."""
        self._watcher.follow(built.files)
        self._resolver.follow(built.hosts)
        self._follow(built.snapshot)

    def refused(self, files: Sequence[Path]) -> None:
        """Follow also what the refused version has named."""
        self._watcher.follow(files)

    def _follow(self, snapshot: Snapshot) -> None:
        self._health.update(snapshot.upstreams)
        self._metrics.retain(snapshot)
        self._verdicts.retain(snapshot)
        self._certificates.update(snapshot.listeners)

    # --- what happens ------------------------------------------------------------------------------------------------

    def _on_supervisor(
        self, message: WorkerStarted | WorkerExited | Reload | Drain, sock: socket.socket | None
    ) -> None:
        if isinstance(message, WorkerStarted) and sock is not None:
            self._spawn(self._workers.started(message, sock), "worker channel")
        elif isinstance(message, WorkerExited):
            self._workers.exited(message)
        elif isinstance(message, Reload):
            self._reconciler.request("SIGHUP")
        elif isinstance(message, Drain):
            self._state.draining = True
            if message.handover:  # both process trees hold the socket: questions are for the new one
                self._spawn(self._admin.stop(), "admin")

    def _on_end(self) -> None:
        if self._main is not None:
            self._main.cancel()

    def _on_files(self, changed: list[Path]) -> None:
        self._reconciler.request(f"{', '.join(path.name for path in changed[:3])} changed")

    def _on_address(self, name: str) -> None:
        self._reconciler.request(f"addresses of {name}")

    def _on_health(self, change: HealthChange) -> None:
        self._workers.broadcast(change)
        self._bus.publish(EndpointHealth(-1, change))

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        text = str(context.get("message", "error in the loop"))
        self._log.error("controller.loop", f"{text}: {error!r}" if error else text)
