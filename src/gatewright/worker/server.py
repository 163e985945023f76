"""The data plane of one worker: listeners, the runtime they serve from, and the messages that change it."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatewright.clock import Clock
from gatewright.ipc.messages import BreakerChange, HealthChange, Message, Stats
from gatewright.plugins.registry import Registry, load_registry
from gatewright.proxy.record import WorkerStats
from gatewright.proxy.runtime import Runtime
from gatewright.proxy.shared import SharedTable
from gatewright.snapshot.compile import compile_snapshot
from gatewright.snapshot.model import AccessLog as AccessLogSpec
from gatewright.snapshot.model import Listener as ListenerSpec
from gatewright.snapshot.model import Snapshot
from gatewright.worker.access_log import AccessLog
from gatewright.worker.net.listener import Listener
from gatewright.worker.stats import StatsCollector
from gatewright.worker.world import AnyPool, World

_SLICE = 0.005  # seconds of compiling between two turns of the loop
_DRAIN_STEP = 0.05
_NEW_PATIENCE = 1.0  # seconds a connection without a first request is kept when draining


class DataPlane:
    """Serves traffic. Everything it is told comes through these methods, on the loop's thread.

    Args:
        slot: Number of the worker, for its messages.
        clock: Time.
        shared: Counters shared with the other workers.
        publish: Sends a message to the controller; must never block.
    """

    def __init__(self, slot: int, clock: Clock, shared: SharedTable, publish: Callable[[Message], Any]) -> None:
        self.policy_clock = clock
        self.shared = shared
        self._publish = publish
        self._stats = WorkerStats()
        self._collector = StatsCollector(slot, self._stats)
        self.world = World(asyncio.get_running_loop(), clock, self._stats, publish)
        self.world.start()
        self.note = self.world.note
        self.registry = Registry()
        self._plugins: tuple[Any, ...] = ()
        self.runtime: Runtime | None = None
        self._listeners: dict[str, Listener] = {}
        self._closing: list[Listener] = []
        self._log: AccessLog | None = None
        self._log_spec: AccessLogSpec | None = None
        self._opening: set[asyncio.Task[None]] = set()

    # --- configuration ------------------------------------------------------------------------------------------------

    async def apply(self, snapshot: Snapshot) -> float:
        """Compile ``snapshot`` between other work and serve it from the next request on.

        Returns the seconds of compiling. Raises when it cannot be compiled; the old runtime then serves on.
        """
        clock = self.world.clock
        registry = self._registry_for(snapshot)
        before, self.registry = self.registry, registry
        spent = 0.0
        compiling = compile_snapshot(snapshot, self, self.runtime)
        # Compiling makes many objects and hardly any garbage: a collection in between would look at them all, in one
        # pause. Afterwards they are frozen; they hold no cycles and are freed when nobody uses them.
        gc.disable()
        runtime: Runtime
        try:
            log = self._log if snapshot.access_log == self._log_spec else self._new_log(snapshot.access_log)
            while True:
                began = clock()
                try:
                    while clock() - began < _SLICE:
                        next(compiling)
                except StopIteration as done:
                    runtime = done.value
                    spent += clock() - began
                    break
                spent += clock() - began
                await asyncio.sleep(0)
            self._use(runtime, log)
        except BaseException:
            self.registry = before
            raise
        finally:
            gc.freeze()
            gc.enable()
        return spent

    def _registry_for(self, snapshot: Snapshot) -> Registry:
        wanted = (snapshot.plugins, snapshot.metadata.get("plugins_digest"))
        if self._plugins == wanted:
            return self.registry
        registry = load_registry(snapshot.plugins, Path())
        self._plugins = wanted
        return registry

    def _use(self, runtime: Runtime, log: AccessLog | None) -> None:
        """Swap: one step, nothing that can fail half-way."""
        snapshot = runtime.snapshot
        self.runtime = runtime
        self._stats.max_series = snapshot.max_metric_series
        if log is not None and log is not self._log:
            if self._log is not None:
                self._log.close()
            self._log, self._log_spec = log, snapshot.access_log
            self.world.log_to(log.append if log.enabled else None, log.flush)
        for name, listener in self._listeners.items():
            served = runtime.listeners.get(name)
            if served is not None:
                listener.configure(served, snapshot.workers)
        self._stats.retain(set(runtime.listeners), set(runtime.upstreams))

    def _new_log(self, spec: AccessLogSpec) -> AccessLog:
        """Raises OSError when its place cannot be opened: the configuration is then refused."""
        return AccessLog(spec, self.policy_clock, self._stats, self._publish, new_id=self.world.new_id)

    def notify(self, change: HealthChange | BreakerChange) -> None:
        """This worker's traffic has changed what is thought of an endpoint: tell the controller."""
        self._publish(change)

    # --- listeners ----------------------------------------------------------------------------------------------------

    def listen(self, name: str, spec: ListenerSpec, sock: socket.socket) -> None:
        """Accept connections on ``sock`` for the listener ``name``; again with a changed ``spec`` replaces it."""
        old = self._listeners.pop(name, None)
        if old is not None:
            old.close()
            self._closing.append(old)
        runtime = self.runtime
        if runtime is None:
            raise RuntimeError("a listener needs a runtime to serve from")
        listener = Listener(self.world, runtime.listeners[name], runtime.snapshot.workers)
        self._listeners[name] = listener
        task = asyncio.get_running_loop().create_task(listener.open(sock))
        self._opening.add(task)
        task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.world.bug("opening a listener", task.exception())  # type: ignore[arg-type]

    def unlisten(self, name: str) -> None:
        """Accept no more for ``name``; what is open may finish."""
        listener = self._listeners.pop(name)
        listener.close()
        listener.drain(new_too=False)
        self._closing = [each for each in self._closing if each.connections]
        self._closing.append(listener)

    # --- health -------------------------------------------------------------------------------------------------------

    def health_change(self, change: HealthChange) -> None:
        """The active checks, or another worker, have a verdict on an endpoint."""
        if self.runtime is not None and change.upstream in self.runtime.upstreams:
            self.runtime.upstreams[change.upstream].apply_health(change)

    def breaker_change(self, change: BreakerChange) -> None:
        """Another worker's breaker has changed its state."""
        if self.runtime is not None and change.upstream in self.runtime.upstreams:
            self.runtime.upstreams[change.upstream].apply_breaker(change)

    # --- end ----------------------------------------------------------------------------------------------------------

    async def drain(self, seconds: float) -> None:
        """Accept no more, let what is in flight finish within ``seconds``, close everything."""
        world = self.world
        until = world.clock() + seconds
        patient_until = world.clock() + _NEW_PATIENCE
        everywhere = [*self._listeners.values(), *self._closing]
        await asyncio.sleep(0)  # what the kernel has accepted for us already is taken first
        for listener in everywhere:
            listener.close()
            listener.drain(new_too=False)
        for tunnel in tuple(world.tunnels):
            tunnel.drain()
        while any(listener.connections for listener in everywhere) and world.clock() < until:
            await asyncio.sleep(_DRAIN_STEP)
            for listener in everywhere:
                listener.drain(new_too=world.clock() >= patient_until)
        for listener in everywhere:
            listener.abort()
        await asyncio.sleep(0)
        if self._log is not None:
            self._log.close()

    def reopen_logs(self) -> None:
        """Open log files anew, after they have been moved away."""
        if self._log is not None:
            self._log.reopen()

    # --- figures ------------------------------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """Client connections open now."""
        return sum(len(listener.connections) for listener in self._listeners.values())

    @property
    def exchanges(self) -> int:
        """Requests in flight now."""
        listeners = [*self._listeners.values(), *self._closing]
        open_ones = sum(each.in_flight() for listener in listeners for each in listener.connections)
        return open_ones + len(self.world.tunnels)

    def stats(self) -> Stats:
        """What has changed since the last call."""
        self._stats.exchanges = self.exchanges
        self._stats.in_flight = {}
        if self.runtime is not None:
            for upstream in self.runtime.upstreams.values():
                for endpoint in upstream.endpoints:
                    if endpoint.in_flight:
                        self._stats.in_flight[upstream.name, endpoint.key] = endpoint.in_flight
                pools: list[AnyPool] = [endpoint.pool for endpoint in upstream.endpoints]
                counts = self._stats.pool(upstream.name)
                connections = [pool.counts() for pool in pools]
                counts.idle = sum(idle for idle, _ in connections)
                counts.active = sum(busy for _, busy in connections)
                counts.waiting = sum(len(pool.waiters) for pool in pools)
                counts.created = max(counts.created, sum(pool.created for pool in pools))
                counts.reused = max(counts.reused, sum(pool.reused for pool in pools))
        return self._collector.collect()
