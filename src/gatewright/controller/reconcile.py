"""From the configuration on disk to what the workers serve.

build (files → snapshot) → check (compile it here) → bind (new listeners) → publish → acknowledged → settle.
Each step may refuse; then nothing of the new version stays, and the old one serves on. One version at a time: requests
that come meanwhile make one further round.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from gatewright.clock import Clock
from gatewright.config.report import format_problems
from gatewright.controller.bus import Bus, ConfigApplied, ConfigRejected
from gatewright.controller.link import SupervisorLink
from gatewright.controller.state import State
from gatewright.errorlog import ErrorLog
from gatewright.errors import ConfigError, Problem
from gatewright.ipc.messages import Layout, Reloaded, Settled
from gatewright.snapshot.build import Built, build_snapshot
from gatewright.snapshot.model import Snapshot

#: Seconds that workers get to acknowledge a version before it is reported that they have not.
PATIENCE = 30.0

Addresses = Mapping[str, Sequence[str]]
_ENCODER = msgspec.msgpack.Encoder()


class Host(Protocol):
    """The controller around the reconciler."""

    async def resolve(self, hosts: set[str]) -> Addresses:
        """Look up all names of a configuration; those that cannot be are left out."""

    async def check(self, built: Built) -> None:
        """Compile what was built, to see that workers will be able to. Raises ConfigError."""

    async def bound(self, admin: socket.socket | None) -> None:
        """The sockets of a version are open; this one, if any, is the admin listener's."""

    def built(self, built: Built) -> None:
        """This is about to serve, or serves already: follow its files, names and upstreams."""

    def refused(self, files: Sequence[Path]) -> None:
        """The newest version cannot be used: follow its files, too, one of which may be what is wrong with it."""


class Reconciler:
    """Keeps the workers at the configuration on disk.

    Args:
        paths: The files and directories named on the command line.
        state: Where the results are shown.
        supervisor: Opens listeners and keeps the last good snapshot.
        host: The controller.
        clock: For the times in the status.
        bus: Told of every version applied or refused.
        log: The controller's error log.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        state: State,
        supervisor: SupervisorLink,
        host: Host,
        clock: Clock,
        bus: Bus,
        log: ErrorLog,
    ) -> None:
        self._paths = tuple(paths)
        self._state = state
        self._supervisor = supervisor
        self._host = host
        self._clock = clock
        self._bus = bus
        self._log = log
        self._wanted = asyncio.Event()
        self._reasons: list[str] = []
        self._hosts: set[str] = set()

    async def first(self) -> None:
        """Read the configuration and publish it, at the start of the gateway.

        Raises:
            ConfigError: It cannot be used; nothing has been bound.
        """
        await self._adopt(await self._build(), "start")

    async def resume(self, snapshot: Snapshot) -> None:
        """Take over from a controller that died while ``snapshot`` was served; then catch up with the disk."""
        self._state.workers.adopt(snapshot)
        self._state.snapshot = snapshot
        await self._bind(snapshot)
        self.request("restart of the controller")

    def request(self, reason: str) -> None:
        """Ask for a round: read the configuration, and use it when it has changed. Returns at once."""
        if reason not in self._reasons:
            self._reasons.append(reason)
        self._wanted.set()

    async def run(self) -> None:
        """Do what is requested, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            reason, self._reasons = ", ".join(self._reasons), []
            error = ""
            try:
                await self._round(reason)
            except ConfigError as refusal:
                error = str(refusal)
                self._refuse(reason, refusal.problems)
                self._host.refused([*self._state.files, *refusal.files])
            except Exception as bug:  # noqa: BLE001 - the old version must serve on, and the next round may work
                error = f"internal error: {bug!r}"
                self._refuse(reason, [Problem("internal.error", error)])
            self._state.rounds += 1
            self._supervisor.send(Reloaded(error))

    async def _round(self, reason: str) -> None:
        built = await self._build()
        serving = self._state.snapshot
        if serving is not None and serving.digest == built.snapshot.digest:
            self._clear_error()
            self._state.files = built.files
            self._host.built(built)
            self._log.info("config.unchanged", f"configuration unchanged ({reason})", version=serving.version)
            return
        await self._adopt(built, reason)

    async def _build(self) -> Built:
        """Read the files in a thread: the loop goes on serving the admin listener meanwhile."""
        version = self._state.workers.version + 1
        built = await self._build_with(await self._host.resolve(self._hosts), version)
        if built.hosts - self._hosts:
            built = await self._build_with(await self._host.resolve(built.hosts), version)
        self._hosts = built.hosts
        return built

    async def _build_with(self, addresses: Addresses, version: int) -> Built:
        call = partial(build_snapshot, self._paths, environ=os.environ, addresses=addresses, version=version)
        return await asyncio.get_running_loop().run_in_executor(None, call)

    async def _adopt(self, built: Built, reason: str) -> None:
        started = self._clock.monotonic()
        snapshot, before = built.snapshot, self._state.snapshot
        await self._host.check(built)
        await self._bind(snapshot)
        self._host.built(built)
        outcome = await self._state.workers.publish(snapshot, PATIENCE)
        if outcome.rejected and before is not None:
            await self._back_to(before)
            raise ConfigError(
                [Problem("worker.rejected", f"worker {slot}: {error}") for slot, error in outcome.rejected.items()]
            )
        for slot in outcome.silent:
            self._log.warning("worker.slow", f"worker {slot} has not taken version {snapshot.version}", slot=slot)
        seconds = self._clock.monotonic() - started
        self._note(built, reason, seconds)
        self._supervisor.send(Settled())
        self._supervisor.keep(snapshot.version, _ENCODER.encode(snapshot))

    async def _back_to(self, snapshot: Snapshot) -> None:
        """Publish the version before again, under a number of its own: numbers only grow."""
        again = msgspec.structs.replace(snapshot, version=self._state.workers.version + 1)
        await self._bind(again)
        await self._state.workers.publish(again, PATIENCE)
        self._state.snapshot = again
        self._supervisor.send(Settled())

    async def _bind(self, snapshot: Snapshot) -> None:
        admin = snapshot.admin.bind if snapshot.admin is not None else ""
        layout = Layout(
            snapshot.workers, snapshot.listeners, snapshot.drain_timeout, admin, rate_keys=snapshot.max_rate_keys
        )
        answer, sock = await self._supervisor.bind(layout)
        self._state.addresses, self._state.admin_address = answer.addresses, answer.admin
        await self._host.bound(sock)

    def _note(self, built: Built, reason: str, seconds: float) -> None:
        state, snapshot = self._state, built.snapshot
        if state.snapshot is not None:
            state.reloads += 1
        state.snapshot, state.applied = snapshot, self._clock.wall()
        state.warnings, state.files = built.problems, built.files
        self._clear_error()
        for problem in built.problems:
            self._log.warning(
                "config.warning", problem.message, code=problem.code, file=problem.file, line=problem.line
            )
        self._log.info(
            "config.applied",
            f"configuration applied ({reason})",
            version=snapshot.version,
            digest=snapshot.digest,
            seconds=round(seconds, 4),
            routes=len(snapshot.routes),
        )
        self._bus.publish(ConfigApplied(snapshot.version, snapshot.digest, seconds, reason))

    def _refuse(self, reason: str, problems: list[Problem]) -> None:
        state = self._state
        text = format_problems(problems).rstrip()
        state.last_error, state.last_problems, state.last_error_at = text, problems, self._clock.wall()
        state.refused += 1
        self._log.error("config.refused", f"configuration refused ({reason}); the old one serves on\n{text}")
        self._bus.publish(ConfigRejected(reason, text))

    def _clear_error(self) -> None:
        self._state.last_error, self._state.last_problems, self._state.last_error_at = "", [], 0.0
