"""The supervisor: opens the sockets, forks the controller and the workers, restarts what dies, obeys signals.

It runs no event loop, thread or TLS context, and nothing but the standard library and small modules of ours, so that
it cannot be the thing that breaks. Its life::

    fork the controller ── Layout ──► open listeners ──► fork workers ──► all Ready: ready
          │                                                   │
          └── StartupFailed: exit 3, nothing bound            └── Reload, restarts, upgrade … ──► stop
"""

from __future__ import annotations

import gc
import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gatewright.clock import Clock, SystemClock
from gatewright.controller.seat import ControllerSeat
from gatewright.errorlog import ErrorLog
from gatewright.ipc.channel import ChannelError, SocketChannel, socket_pair
from gatewright.ipc.messages import (
    BindFailed,
    Bound,
    ControllerToSupervisor,
    Drain,
    Layout,
    Message,
    Published,
    Reload,
    Reloaded,
    ReopenLogs,
    Settled,
    StartupFailed,
)
from gatewright.supervisor import upgrade
from gatewright.supervisor.children import Child, Restarts, explain, fork, reap
from gatewright.supervisor.listeners import ADMIN, BindError, Listeners
from gatewright.supervisor.loop import Loop
from gatewright.supervisor.options import Options
from gatewright.supervisor.segment import Segment, adopt_or_create
from gatewright.supervisor.signals import Signals
from gatewright.supervisor.systemd import notify, take_activated
from gatewright.supervisor.workers import Workers
from gatewright.worker import main as worker_main
from gatewright.worker.seat import Shared, WorkerSeat

EXIT_OK, EXIT_FAILURE, EXIT_CONFIG = 0, 1, 3

#: Seconds that processes get beyond the drain timeout, and the controller after the workers.
_GRACE = 2.0
_AT_ONCE_GRACE = 0.5


def run(config_paths: Sequence[Path], options: Options | None = None) -> int:
    """Run a gateway in this process and its children until it is told to stop.

    Returns:
        The exit code: 0 stopped as asked, 1 failure at run time, 3 the configuration cannot be used or a listener
        cannot be opened.
    """
    options = options or Options()
    clock = SystemClock()
    log = ErrorLog("supervisor", clock, text=options.log_text)
    return Supervisor(config_paths, options, clock, log).run()


class Supervisor:
    """The parent of one gateway."""

    def __init__(self, paths: Sequence[Path], options: Options, clock: Clock, log: ErrorLog) -> None:
        self._paths = tuple(paths)
        self._options = options
        self._clock = clock
        self._log = log
        self._signals = Signals()
        self._loop = Loop(clock)
        self._legacy = upgrade.take_legacy()
        self._listeners = Listeners((*self._legacy.sockets, *take_activated()))
        self._workers = Workers(self._loop, clock, log, self._worker_process, self._tell, self._on_workers)
        self._controller: Child | None = None
        self._controller_restarts = Restarts()
        self._layout: Layout | None = None
        self._segment: Segment | None = None
        self._published = -1
        self._successor = 0  # process id of a new supervisor that is not ready yet
        self._successor_line = -1
        self._ready = False
        self._stopping = False
        self._handed_over = False
        self._failure = EXIT_OK
        self._exit_code: int | None = None

    def run(self) -> int:
        """The whole life. Returns the exit code."""
        _allow_descriptors()
        self._signals.install()
        self._loop.watch(self._signals, self._on_signals)
        gc.collect()
        gc.freeze()  # objects of before the fork stay shared: the collector does not write to their pages
        self._start_controller()
        while self._exit_code is None:
            self._loop.turn()
        self._listeners.close(unlink=not self._handed_over)
        self._legacy.abandon()
        self._remove_pid_file()
        self._log.info("gateway.stopped", "stopped", code=self._exit_code)
        return self._exit_code

    # --- signals -----------------------------------------------------------------------------------------------------

    def _on_signals(self) -> None:
        for number in self._signals.take():
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGHUP:
                self._reload()
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._on_stop_signal(signal.Signals(number).name)
            elif number == signal.SIGQUIT:
                self._log.warning("gateway.quit", "stopping at once (SIGQUIT)")
                self._stop_at_once()
            elif number == signal.SIGUSR1:
                self._workers.tell_all(ReopenLogs())
            elif number == signal.SIGUSR2:
                self._upgrade()

    def _reload(self) -> None:
        notify(f"RELOADING=1\nMONOTONIC_USEC={int(self._clock.monotonic() * 1e6)}")
        if not self._tell(Reload()):
            # A controller that is being started reads the configuration anyway.
            self._log.warning("config.reload", "the controller is not running; it reads the configuration when it does")

    def _on_stop_signal(self, name: str) -> None:
        if self._stopping:
            self._log.warning("gateway.quit", f"stopping at once (second signal, {name})")
            self._stop_at_once()
            return
        timeout = self._layout.drain_timeout if self._layout else 0.0
        self._log.info("gateway.stopping", f"stopping within {timeout:g} s ({name})", drain_timeout=timeout)
        self._stop(timeout)

    # --- stopping ----------------------------------------------------------------------------------------------------

    def _stop(self, timeout: float, handover: bool = False) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._handed_over = handover
        if not handover:
            notify("STOPPING=1")
        if self._successor:
            self._kill_successor(signal.SIGTERM)
        self._tell(Drain(timeout, handover))
        self._workers.drain(timeout, handover)
        self._loop.later(timeout + _GRACE, self._kill_workers)
        self._on_workers()

    def _stop_at_once(self) -> None:
        self._stop(0.0)
        self._workers.drain(0.0, self._handed_over)  # again: the first one may have allowed more time
        self._loop.later(_AT_ONCE_GRACE, self._kill_workers)

    def _kill_workers(self) -> None:
        left = len(self._workers.running)
        if left:
            self._log.warning("gateway.killed", f"{left} workers did not end in time and were killed", workers=left)
            self._workers.kill(signal.SIGKILL)

    def _on_workers(self) -> None:
        """A worker became ready, or has ended while stopping."""
        if self._stopping:
            if not self._workers.running:
                self._end_controller()
        elif not self._ready and self._workers.all_ready:
            self._on_ready()

    def _end_controller(self) -> None:
        child = self._controller
        if child is None:
            self._exit_code = self._failure
            return
        self._loop.unwatch(child.channel)
        child.channel.close()  # end of file tells it to end
        self._loop.later(_GRACE, lambda: child.kill(signal.SIGKILL) if child is self._controller else None)

    # --- ready -------------------------------------------------------------------------------------------------------

    def _on_ready(self) -> None:
        self._ready = True
        self._listeners.forget_inherited()
        pid_file = self._options.pid_file
        if pid_file is not None:
            try:
                pid_file.write_text(f"{os.getpid()}\n", encoding="ascii")
            except OSError as error:
                self._log.error("gateway.pid_file", f"{pid_file} cannot be written: {error.strerror}")
        addresses = self._addresses()
        where = ", ".join(f"{name} on {address}" for name, address in addresses.items())
        self._log.info("gateway.ready", f"serving {where}", listeners=addresses, admin=self._admin_address())
        notify(f"READY=1\nMAINPID={os.getpid()}")
        self._legacy.report_ready()

    def _remove_pid_file(self) -> None:
        path = self._options.pid_file
        if path is None:
            return
        try:
            if path.read_text(encoding="ascii").strip() == str(os.getpid()):  # not our successor's
                path.unlink()
        except OSError:
            return  # never written, or removed by somebody else

    def _addresses(self) -> dict[str, str]:
        return {place.name: place.address for place in self._listeners.places.values() if place.name != ADMIN}

    def _admin_address(self) -> str:
        if self._layout is None or not self._layout.admin:
            return ""
        return self._listeners.places[ADMIN, self._layout.admin].address

    # --- children ----------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        for pid, status in reap():
            if self._controller is not None and pid == self._controller.pid:
                self._on_controller_end(status)
            elif pid == self._successor:
                self._on_successor_end(status)
            else:
                self._workers.ended(pid, status)  # or a stranger's child: we may be process 1

    def _abandon(self) -> None:
        """In a child just forked: close everything that belongs to the supervisor or to other children."""
        self._loop.close()
        self._signals.close()
        self._workers.abandon()
        self._listeners.close(unlink=False)
        self._legacy.abandon()
        if self._controller is not None:
            self._controller.channel.close()
        for fd in (self._published, self._successor_line):
            if fd >= 0:
                os.close(fd)

    def _worker_process(self, slot: int, supervisor: Any, controller: Any) -> int:
        """What a worker's process runs."""
        offered = {key: place.of(slot).dup() for key, place in self._listeners.places.items() if place.name != ADMIN}
        segment = self._segment
        assert segment is not None  # noqa: S101 - workers are forked after the first layout
        shared = Shared(memoryview(segment.map), segment.fd, segment.column(slot), segment.columns, segment.keys)
        clock, log = self._clock, self._log.named(f"worker {slot}")
        self._abandon()
        return worker_main.run(WorkerSeat(slot, supervisor, controller, offered, shared, clock, log))

    # --- controller --------------------------------------------------------------------------------------------------

    def _start_controller(self) -> None:
        if self._stopping or self._controller is not None:
            return
        mine, its = socket_pair()

        def body() -> int:
            # Imported here: what the controller needs is heavy, and workers must not carry it.
            from gatewright.controller import main as controller_main  # noqa: PLC0415

            published = os.dup(self._published) if self._published >= 0 else -1
            seat = ControllerSeat(
                its, self._paths, published, self._options.watch, self._clock, self._log.named("controller"), parent
            )
            mine.close()
            self._abandon()
            return controller_main.run(seat)

        parent = os.getpid()
        try:
            pid = fork(body)
        except OSError as error:
            self._log.error("controller.fork", f"the controller cannot be started: {error}")
            mine.close()
            self._loop.later(_GRACE, self._start_controller)
            return
        finally:
            its.close()
        channel: SocketChannel[ControllerToSupervisor] = SocketChannel(mine, ControllerToSupervisor)
        channel.on_backlog = lambda wanted: self._loop.want_write(channel, wanted)
        self._controller = Child(pid, channel, self._clock.monotonic())
        self._loop.watch(channel, self._read_controller, channel.flush)
        self._workers.introduce()

    def _tell(self, message: Message, descriptors: Sequence[int] = ()) -> bool:
        return self._controller is not None and self._controller.channel.send(message, descriptors)

    def _read_controller(self) -> None:
        child = self._controller
        if child is None:
            return
        try:
            messages, is_open = child.channel.receive()
        except ChannelError as error:
            self._log.error("controller.channel", str(error))
            child.kill(signal.SIGKILL)
            messages, is_open = [], False
        if not is_open:
            self._loop.unwatch(child.channel)  # its exit comes as SIGCHLD
        for message, descriptors in messages:
            self._on_message(message, descriptors)

    def _on_message(self, message: ControllerToSupervisor, descriptors: list[int]) -> None:
        if isinstance(message, Layout):
            self._on_layout(message)
        elif isinstance(message, Settled):
            self._on_settled()
        elif isinstance(message, Published):
            if self._published >= 0:
                os.close(self._published)
            self._published = descriptors.pop()
        elif isinstance(message, StartupFailed):
            self._failure = message.code
        elif isinstance(message, Reloaded):
            status = f"reload refused: {message.error}" if message.error else "serving"
            notify("READY=1\nSTATUS=" + status.replace("\n", " "))

    def _on_controller_end(self, status: int) -> None:
        self._read_controller()  # its last words
        child, self._controller = self._controller, None
        if child is not None:
            self._loop.unwatch(child.channel)
            child.channel.close()
        if self._stopping:
            if not self._workers.running:
                self._exit_code = self._failure
            return
        if self._layout is None:
            if self._failure == EXIT_OK:
                self._failure = EXIT_FAILURE
                self._log.error("controller.exited", f"the controller {explain(status)} before it was ready")
            self._stop(0.0)
            return
        delay = self._controller_restarts.delay(self._clock.monotonic())
        self._log.error(
            "controller.exited",
            f"the controller {explain(status)}; workers serve on; starting it again",
            controller_pid=child.pid if child else 0,
            delay=delay,
        )
        self._loop.later(delay, self._start_controller)

    # --- layout ------------------------------------------------------------------------------------------------------

    def _wanted(self, layout: Layout) -> list[tuple[str, str]]:
        wanted = [(listener.name, listener.bind) for listener in layout.listeners]
        return [*wanted, (ADMIN, layout.admin)] if layout.admin else wanted

    def _slots(self, layout: Layout) -> int:
        """How many workers; never more than the shared memory has columns for."""
        return min(layout.workers, self._segment.slots) if self._segment else layout.workers

    def _on_layout(self, layout: Layout) -> None:
        if self._stopping:
            return
        slots = self._slots(layout)
        if slots < layout.workers:
            self._log.warning(
                "gateway.workers",
                f"workers: {layout.workers} takes effect at the next restart or upgrade; until then {slots} run",
            )
        try:
            new = self._listeners.open(self._wanted(layout), max(slots, len(self._workers.slots)))
        except BindError as error:
            if self._layout is None:
                self._log.error("listener.bind", str(error), listener=error.name, bind=error.bind)
                self._failure = EXIT_CONFIG
                self._stop(0.0)
            else:
                self._tell(BindFailed(error.name, error.bind, str(error)))
            return
        first, self._layout = self._layout is None, layout
        if first:
            self._segment = adopt_or_create(layout.workers, layout.rate_keys, self._legacy.segment)
            self._loop.later(self._options.heartbeat_timeout / 4, self._check_hearts)
        admin = self._admin_address()
        sockets = [self._listeners.places[ADMIN, layout.admin].of(0).fileno()] if admin else []
        self._tell(Bound(self._addresses(), admin), sockets)
        self._workers.offer(new)
        self._workers.grow(slots)

    def _on_settled(self) -> None:
        layout = self._layout
        if layout is None or self._stopping:
            return
        slots = self._slots(layout)
        self._workers.shrink(slots, layout.drain_timeout)
        self._workers.withdraw(self._listeners.settle(self._wanted(layout), slots))

    def _check_hearts(self) -> None:
        self._workers.check_hearts(self._options.heartbeat_timeout)
        self._loop.later(self._options.heartbeat_timeout / 4, self._check_hearts)

    # --- upgrade -----------------------------------------------------------------------------------------------------

    def _upgrade(self) -> None:
        refusal = self._upgrade_refusal()
        if refusal:
            self._log.error("gateway.upgrade", f"no upgrade: {refusal}")
            return
        assert self._segment is not None  # noqa: S101 - ready implies a segment
        try:
            self._successor, line = upgrade.start(self._listeners.places.values(), self._segment)
        except OSError as error:
            self._log.error("gateway.upgrade", f"no upgrade: the new process cannot be started: {error}")
            return
        self._successor_line = line
        successor = self._successor
        self._log.info("gateway.upgrade", "upgrading: a new process tree is starting", successor=successor)
        self._loop.watch(_Descriptor(line), self._on_successor_line)
        self._loop.later(
            self._options.upgrade_timeout,
            lambda: self._kill_successor(signal.SIGKILL) if successor == self._successor else None,
        )

    def _upgrade_refusal(self) -> str:
        if self._stopping or not self._ready:
            return "the gateway is starting or stopping"
        if self._successor:
            return "an upgrade is under way"
        if self._legacy.lives():
            return "the process tree before this one has not ended yet"
        if os.getpid() == 1:
            return "process 1 of a container cannot hand over; replace the container"
        return ""

    def _on_successor_line(self) -> None:
        ready = os.read(self._successor_line, 1) == b"1"
        self._close_successor_line()
        if not ready:
            return  # it has failed; its end is reported as SIGCHLD
        successor, self._successor = self._successor, 0
        timeout = self._layout.drain_timeout if self._layout else 0.0
        self._log.info("gateway.handover", "the new process tree serves; draining this one", successor=successor)
        notify(f"MAINPID={successor}")
        self._stop(timeout, handover=True)

    def _on_successor_end(self, status: int) -> None:
        self._successor = 0
        self._close_successor_line()
        self._log.error("gateway.upgrade", f"the new process tree {explain(status)}; this one serves on")

    def _kill_successor(self, number: int) -> None:
        self._log.warning("gateway.upgrade", "ending the new process tree: it is not ready", successor=self._successor)
        os.kill(self._successor, number)

    def _close_successor_line(self) -> None:
        if self._successor_line >= 0:
            self._loop.unwatch(_Descriptor(self._successor_line))
            os.close(self._successor_line)
            self._successor_line = -1


def _allow_descriptors() -> None:
    """Use all the descriptors that the machine grants: a soft limit of 1,024 would be 1,000 connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _Descriptor:
    """A bare descriptor, for the loop."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd
