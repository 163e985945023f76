"""The worker slots: each is filled by a process, and refilled when the process ends."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from typing import Any

from gatewright.clock import Clock
from gatewright.errorlog import ErrorLog
from gatewright.ipc.channel import ChannelError, SocketChannel, socket_pair
from gatewright.ipc.messages import (
    Drain,
    Heartbeat,
    Message,
    NewController,
    Offer,
    Ready,
    Withdraw,
    WorkerExited,
    WorkerStarted,
    WorkerToSupervisor,
)
from gatewright.supervisor.children import Child, Restarts, explain, fork
from gatewright.supervisor.listeners import ADMIN, Place
from gatewright.supervisor.loop import Loop

#: Seconds from ABRT (which leaves a traceback) to KILL.
ABORT_GRACE = 2.0
_FORK_RETRY = 1.0

#: Starts the worker's code in the child: slot, channel to the supervisor, channel to the controller → exit code.
Body = Callable[[int, Any, Any], int]
#: Tells the controller; False when there is none.
Tell = Callable[..., bool]


class Slot:
    """The place of one worker."""

    __slots__ = ("child", "index", "restarts", "retiring")

    def __init__(self, index: int) -> None:
        self.index = index
        self.child: Child | None = None
        self.restarts = Restarts()
        self.retiring = False


class Workers:
    """All slots.

    Args:
        loop: Where channels are watched.
        clock: For heartbeats and back-off.
        log: The supervisor's error log.
        body: What a child runs.
        tell: Sends a message, with descriptors, to the controller.
        on_change: Called when a worker became ready or a slot became empty for good.
    """

    def __init__(
        self, loop: Loop, clock: Clock, log: ErrorLog, body: Body, tell: Tell, on_change: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._log = log
        self._body = body
        self._tell = tell
        self._on_change = on_change
        self._closing = False
        self.slots: list[Slot] = []

    @property
    def running(self) -> list[Child]:
        """The processes there are."""
        return [slot.child for slot in self.slots if slot.child is not None]

    @property
    def all_ready(self) -> bool:
        """Whether every slot has a process that serves."""
        return bool(self.slots) and all(slot.child is not None and slot.child.ready for slot in self.slots)

    def grow(self, count: int) -> None:
        """Have at least ``count`` slots, with a process in each."""
        for slot in self.slots[:count]:
            if slot.retiring:
                slot.retiring = False
                if slot.child is None:
                    self._start(slot)
        while len(self.slots) < count:
            self.slots.append(Slot(len(self.slots)))
            self._start(self.slots[-1])

    def shrink(self, count: int, timeout: float) -> None:
        """Drain the workers of the slots from ``count`` on; the slots go when the processes have ended."""
        for slot in self.slots[count:]:
            slot.retiring = True
            self._drain(slot, Drain(timeout))
        self._forget_retired()

    def drain(self, timeout: float, handover: bool) -> None:
        """Let all finish; nothing is started again."""
        self._closing = True
        for slot in self.slots:
            self._drain(slot, Drain(timeout, handover))

    def kill(self, number: int) -> None:
        """Send a signal to every worker."""
        for child in self.running:
            child.kill(number)

    def tell_all(self, message: Message) -> None:
        """Send a message to every worker."""
        for child in self.running:
            child.channel.send(message)

    def offer(self, places: Iterable[Place]) -> None:
        """Hand the sockets of new places to the workers."""
        for place in places:
            if place.name == ADMIN:
                continue
            for slot in self.slots:
                if slot.child is not None:
                    slot.child.channel.send(Offer(place.name, place.bind), [place.of(slot.index).fileno()])

    def withdraw(self, places: Iterable[Place]) -> None:
        """Say that places are gone."""
        for place in places:
            if place.name != ADMIN:
                self.tell_all(Withdraw(place.name, place.bind))

    def introduce(self) -> None:
        """Give every running worker a channel to a new controller."""
        for slot in self.slots:
            child = slot.child
            if child is None:
                continue
            controllers, workers = socket_pair()
            with controllers, workers:
                if child.channel.send(NewController(), [workers.fileno()]):
                    self._tell(WorkerStarted(slot.index, child.pid, fresh=False), [controllers.fileno()])

    def ended(self, pid: int, status: int) -> bool:
        """A process ended. Returns whether it was one of ours."""
        slot = next((slot for slot in self.slots if slot.child is not None and slot.child.pid == pid), None)
        if slot is None or slot.child is None:
            return False
        child, slot.child = slot.child, None
        self._loop.unwatch(child.channel)
        child.channel.close()
        explanation = explain(status)
        self._tell(WorkerExited(slot.index, pid, explanation))
        if self._closing or slot.retiring:
            level = "info" if status == 0 else "warning"
            fields: dict[str, object] = {"slot": slot.index, "worker_pid": pid}
            self._log.write(level, "worker.exited", f"worker {slot.index} {explanation}", fields)
            self._forget_retired()
            self._on_change()
            return True
        delay = slot.restarts.delay(self._clock.monotonic())
        when = f"in {delay:.1f} s: it keeps ending" if delay else "at once"
        self._log.error(
            "worker.exited",
            f"worker {slot.index} {explanation}; starting it again {when}",
            slot=slot.index,
            worker_pid=pid,
            delay=delay,
        )
        self._start_later(slot, delay)
        return True

    def check_hearts(self, limit: float) -> None:
        """Abort, then kill, workers whose loop has not spoken for ``limit`` seconds."""
        now = self._clock.monotonic()
        for slot in self.slots:
            child = slot.child
            if child is None or now - child.last_beat <= limit:
                continue
            if not child.aborted_at:
                child.aborted_at = now
                self._log.error(
                    "worker.stuck",
                    f"worker {slot.index} has not answered for {now - child.last_beat:.0f} s: aborting it",
                    slot=slot.index,
                    worker_pid=child.pid,
                )
                child.kill(signal.SIGABRT)
            elif now - child.aborted_at > ABORT_GRACE:
                child.kill(signal.SIGKILL)

    def abandon(self) -> None:
        """In a child just forked: close the ends that belong to the supervisor."""
        for child in self.running:
            child.channel.close()

    def _start_later(self, slot: Slot, delay: float) -> None:
        if delay:
            self._loop.later(delay, lambda: self._start(slot))
        else:
            self._start(slot)

    def _start(self, slot: Slot) -> None:
        if self._closing or slot.retiring or slot.child is not None:
            return
        mine, workers_end = socket_pair()
        controllers_end, workers_line = socket_pair()

        def run() -> int:
            mine.close()
            controllers_end.close()
            return self._body(slot.index, workers_end, workers_line)

        try:
            pid = fork(run)
        except OSError as error:
            self._log.error("worker.fork", f"worker {slot.index} cannot be started: {error}", slot=slot.index)
            mine.close()
            controllers_end.close()
            self._loop.later(_FORK_RETRY, lambda: self._start(slot))
            return
        finally:
            workers_end.close()
            workers_line.close()
        channel: SocketChannel[WorkerToSupervisor] = SocketChannel(mine, WorkerToSupervisor)
        channel.on_backlog = lambda wanted: self._loop.want_write(channel, wanted)
        slot.child = child = Child(pid, channel, self._clock.monotonic())
        self._loop.watch(channel, lambda: self._read(slot, child), channel.flush)
        with controllers_end:
            self._tell(WorkerStarted(slot.index, pid), [controllers_end.fileno()])

    def _read(self, slot: Slot, child: Child) -> None:
        try:
            messages, is_open = child.channel.receive()
        except ChannelError as error:
            self._log.error("worker.channel", f"worker {slot.index}: {error}", slot=slot.index, worker_pid=child.pid)
            child.kill(signal.SIGABRT)
            messages, is_open = [], False
        for message, _ in messages:
            if isinstance(message, Heartbeat):
                child.last_beat = self._clock.monotonic()
            elif isinstance(message, Ready) and not child.ready:
                child.ready = True
                self._on_change()
        if not is_open:
            self._loop.unwatch(child.channel)  # its exit comes as SIGCHLD

    def _drain(self, slot: Slot, message: Drain) -> None:
        if slot.child is not None:
            slot.child.channel.send(message)

    def _forget_retired(self) -> None:
        while self.slots and self.slots[-1].retiring and self.slots[-1].child is None:
            self.slots.pop()
