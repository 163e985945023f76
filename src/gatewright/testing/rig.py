r"""The rig: the gateway's real data plane on scripted connections and a clock that stands still.

A test reads like a sequence of events::

    def test_head_is_forwarded(rig: Rig) -> None:
        rig.apply(route("all", "/*", "a"), upstream("a"))
        client = rig.client()
        client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        origin = rig.origin("a").accept()
        assert origin.received.startswith(b"GET / HTTP/1.1\r\n")
        origin.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert client.received.startswith(b"HTTP/1.1 204 ")

Nothing happens by itself: no socket, no task, no sleep. Time passes with :meth:`Rig.advance` only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from pathlib import Path
from typing import Any, cast

from gatewright.clock import Clock, ManualClock
from gatewright.config.endpoint import parse_url
from gatewright.ipc.messages import Message
from gatewright.plugins.registry import Registry, load_registry
from gatewright.proxy import ports
from gatewright.proxy.endpoints import Endpoint
from gatewright.proxy.exchange import Exchange
from gatewright.proxy.record import WorkerStats
from gatewright.proxy.runtime import Runtime
from gatewright.proxy.shared import SharedTable
from gatewright.sdk.policy import Policy
from gatewright.sdk.service import split_url
from gatewright.snapshot import model
from gatewright.snapshot.build import build_snapshot
from gatewright.snapshot.compile import compile_snapshot
from gatewright.snapshot.services import spec_of, upstream_name
from gatewright.testing.wires import Peer
from gatewright.worker.net.listener import Listener
from gatewright.worker.net.timers import TICK
from gatewright.worker.world import AnyPool, World


class Waiting:
    """An awaitable that the test completes: what a policy waits for."""

    def __init__(self) -> None:
        self.result: Any = None
        self.done = False
        self.wake: Callable[[], None] | None = None

    def __await__(self) -> Generator[Waiting, None, Any]:
        if not self.done:
            yield self
        return self.result

    def complete(self, result: Any = None) -> None:
        """Let whoever waits go on."""
        self.result = result
        self.done = True
        if self.wake is not None:
            self.wake()


class _Promise:
    """A promise of the world: whoever waits goes on in the next turn."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._done = False
        self._result: Any = None
        self.wake: Callable[[], None] | None = None

    def __await__(self) -> Generator[_Promise, None, Any]:
        if not self._done:
            yield self
        return self._result

    def done(self) -> bool:
        """Whether it has its result."""
        return self._done

    def set_result(self, result: Any) -> None:
        """Let whoever waits go on."""
        assert not self._done, "a promise is kept once"  # noqa: S101
        self._done = True
        self._result = result
        self._rig.soon(self._wake)

    def _wake(self) -> None:
        if self.wake is not None:
            self.wake()


class _Task:
    """A coroutine that runs from one thing it waits for to the next; ``cancel`` gives it up where it waits."""

    def __init__(self, rig: Rig, coroutine: Coroutine[Waiting | _Promise, None, None]) -> None:
        self._rig = rig
        self._coroutine = coroutine
        self._waiting: Waiting | _Promise | None = None
        rig.tasks += 1

    def step(self) -> None:
        """Run on."""
        self._waiting = None
        try:
            self._waiting = waiting = self._coroutine.send(None)
        except StopIteration:
            self._end()
        else:
            waiting.wake = self.step

    def cancel(self) -> None:
        """Raise CancelledError where it waits."""
        if self._waiting is None:
            return
        self._waiting.wake = None
        try:
            self._coroutine.throw(asyncio.CancelledError())
        except (asyncio.CancelledError, StopIteration):
            self._end()

    def _end(self) -> None:
        self._waiting = None
        self._rig.tasks -= 1


class _Call:
    """A call that is to come; ``cancel`` prevents it."""

    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """It is not to come."""
        self.callback = None


class _RigWorld(World):
    """The world with scripted connections, calls and waiting."""

    __slots__ = ("bugs", "rig")

    def __init__(self, rig: Rig) -> None:
        super().__init__(cast("Any", None), rig.clock, rig.stats, rig.messages.append)
        self.rig = rig
        self.bugs: list[tuple[str, BaseException]] = []

    def later(self, delay: float, callback: Callable[[], None]) -> ports.Timer:
        """In rig time."""
        call = _Call(self.rig.clock.now + delay, callback)
        self.rig.calls.append(call)
        return call

    def soon(self, callback: Callable[[], None]) -> None:
        """In the next turn of the rig."""
        self.rig.soon(callback)

    def connect(self, pool: AnyPool, endpoint: Endpoint) -> None:
        """The test decides what becomes of it."""
        self.rig.origin_at(endpoint).dialled(pool)

    def wait(self, awaitable: Awaitable[Any], resume: Callable[[Any, BaseException | None], None]) -> ports.Timer:
        """Run a coroutine up to the next :class:`Waiting` or promise."""

        async def run() -> None:
            try:
                result = await awaitable
            except Exception as error:  # noqa: BLE001 - as the worker does
                resume(None, error)
            else:
                resume(result, None)

        task = _Task(self.rig, run())
        task.step()
        return task

    def promise(self) -> ports.Promise:
        """Kept in rig time."""
        return _Promise(self.rig)

    def bug(self, where: str, error: BaseException) -> None:
        """Kept; a test that does not expect it fails in :meth:`Rig.check_idle`."""
        self.bugs.append((where, error))


class Origin:
    """An endpoint's address: takes or refuses connections."""

    def __init__(self, rig: Rig, endpoint: Endpoint) -> None:
        self._rig = rig
        self.endpoint = endpoint
        self._dialled: deque[AnyPool] = deque()
        self.connections: list[Peer] = []

    def dialled(self, pool: AnyPool) -> None:
        """The gateway wants a connection."""
        self._dialled.append(pool)

    @property
    def waiting(self) -> int:
        """Connection attempts that have not been answered."""
        return len(self._dialled)

    def accept(self) -> Peer:
        """Take the oldest attempt. Raises AssertionError when there is none."""
        assert self._dialled, f"the gateway has not tried to connect to {self.endpoint.key}"  # noqa: S101
        pool = self._dialled.popleft()
        connection = self._rig.world.client(pool)
        peer = Peer(self._rig, connection, (self.endpoint.host, self.endpoint.port))
        connection.connection_made(peer.transport)
        self.connections.append(peer)
        pool.connected(connection)
        self._rig.settle()
        return peer

    def refuse(self, condition: str = ports.CONNECT) -> None:
        """Refuse the oldest attempt, or let it time out."""
        assert self._dialled, f"the gateway has not tried to connect to {self.endpoint.key}"  # noqa: S101
        self._dialled.popleft().failed(condition)
        self._rig.settle()


class Rig:
    """A worker's data plane without a worker. See the module's example."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.policy_clock: Clock = self.clock
        self.messages: list[Message] = []
        self.stats = WorkerStats()
        self.shared = SharedTable.private(256)
        self.registry: Registry = load_registry()
        self.calls: list[_Call] = []
        self.tasks = 0
        self._soon: deque[Callable[[], None]] = deque()
        self.world = _RigWorld(self)
        self.note = self.world.note
        self.world.log = self._record
        #: Every exchange that has ended.
        self.records: list[Exchange] = []
        self.runtime: Runtime | None = None
        self._listeners: dict[str, Listener] = {}
        self._origins: dict[str, Origin] = {}
        self.clients: list[Peer] = []

    # --- configuration ------------------------------------------------------------------------------------------------

    def apply(self, *parts: model.Route | model.Upstream | model.Listener | model.Consumer, **settings: Any) -> Runtime:
        """Serve these routes and upstreams from now on; listener ``public`` is added when none is given."""
        listeners = tuple(part for part in parts if isinstance(part, model.Listener))
        routes = tuple(part for part in parts if isinstance(part, model.Route))
        snapshot = model.Snapshot(
            listeners=listeners or (model.Listener("public", "127.0.0.1:0"),),
            upstreams=tuple(part for part in parts if isinstance(part, model.Upstream)) + self._services(routes),
            routes=routes,
            consumers=tuple(part for part in parts if isinstance(part, model.Consumer)),
            **settings,
        )
        return self.apply_snapshot(snapshot)

    def _services(self, routes: Sequence[model.Route]) -> tuple[model.Upstream, ...]:
        """What stands for the services that the routes' policies ask: ``rig.origin("auth")`` for ``http://auth``."""
        found: dict[str, model.Upstream] = {}
        for spec in (spec for each in routes for spec in each.policies):
            policy = self.registry.policies[spec.type]
            for service in map(spec_of, policy.services(policy.config.model_validate(spec.config))):
                url = parse_url(split_url(service.url)[0])
                name = upstream_name(service)
                found[name] = upstream(name, endpoint(url.host, url.port), host="upstream", breaker=model.Breaker())
        return tuple(found.values())

    def load(self, path: Path, environ: dict[str, str] | None = None) -> Runtime:
        """Serve a configuration file from now on."""
        built = build_snapshot([path], environ=environ or {})
        self.registry = built.registry
        return self.apply_snapshot(built.snapshot)

    def apply_snapshot(self, snapshot: model.Snapshot) -> Runtime:
        """Compile and serve."""
        compiling = compile_snapshot(snapshot, self, self.runtime)
        runtime = self.runtime = _result_of(compiling)
        for name, served in runtime.listeners.items():
            if name in self._listeners:
                self._listeners[name].configure(served, 1)
            else:
                self._listeners[name] = Listener(self.world, served, 1)
        return runtime

    def add_policy(self, policy: type[Policy[Any]]) -> None:
        """Make a policy class known, as a plugin would."""
        self.registry.policies[policy.name] = policy

    def notify(self, change: Message) -> None:
        """What the exchange's traffic has found out about endpoints."""
        self.messages.append(change)

    # --- peers --------------------------------------------------------------------------------------------------------

    def client(self, listener: str = "public", address: tuple[str, int] | None = ("127.0.0.1", 50_000)) -> Peer:
        """Connect a client; one without an address comes over a unix socket."""
        protocol = self._listeners[listener].serve()
        peer = Peer(self, protocol, address)
        protocol.connection_made(peer.transport)
        self.clients.append(peer)
        self.settle()
        return peer

    def origin(self, name: str) -> Origin:
        """The origin of an upstream with one endpoint, or of the endpoint with this key or host."""
        assert self.runtime is not None, "apply a configuration first"  # noqa: S101
        for upstream in self.runtime.upstreams.values():
            for endpoint in upstream.endpoints:
                if name in {upstream.name, endpoint.key, endpoint.host, endpoint.name}:
                    return self.origin_at(endpoint)
        raise LookupError(f"no endpoint is called {name}")

    def origin_at(self, endpoint: Endpoint) -> Origin:
        """The origin behind an endpoint."""
        origin = self._origins.get(endpoint.key)
        if origin is None:
            origin = self._origins[endpoint.key] = Origin(self, endpoint)
        return origin

    # --- time ---------------------------------------------------------------------------------------------------------

    def soon(self, callback: Callable[[], None]) -> None:
        """Call in the next turn."""
        self._soon.append(callback)

    def settle(self) -> None:
        """Let everything happen that is about to."""
        while self._soon:
            self._soon.popleft()()

    def advance(self, seconds: float) -> None:
        """Let time pass, tick by tick."""
        left = seconds
        while left > 0:
            step = min(left, TICK)
            left -= step
            self.clock.advance(step)
            self.world.tick()
            due = [call for call in self.calls if call.at <= self.clock.now]
            self.calls = [call for call in self.calls if call.at > self.clock.now]
            for call in due:
                if call.callback is not None:
                    call.callback()
            self.settle()

    # --- after the test -----------------------------------------------------------------------------------------------

    def _record(self, exchange: Exchange) -> None:
        self.records.append(exchange)

    def check_idle(self) -> None:
        """Raise AssertionError when anything is left over: exchanges, waiters, acquired endpoints, bugs, timers."""
        assert not self.world.bugs, self.world.bugs  # noqa: S101
        for client in self.clients:
            if not client.closed:
                client.reset()
        runtime = self.runtime
        for upstream in runtime.upstreams.values() if runtime is not None else ():
            for endpoint in upstream.endpoints:
                assert endpoint.in_flight == 0, f"{endpoint.key} has {endpoint.in_flight} in flight"  # noqa: S101
                assert not endpoint.pool.waiters, f"{endpoint.key} has waiters"  # noqa: S101
        for origin in self._origins.values():
            for connection in origin.connections:
                if not connection.closed:
                    connection.reset()
        assert not self.world.tunnels, "a tunnel is left"  # noqa: S101
        assert all(call.callback is None for call in self.calls), "a call is left"  # noqa: S101
        assert self.tasks == 0, "something still waits"  # noqa: S101
        for listener in self._listeners.values():
            assert not listener.connections, "a client connection is left"  # noqa: S101
        assert self.world.watched == 0, "a deadline is left"  # noqa: S101


def _result_of(generator: Generator[None, None, Runtime]) -> Runtime:
    """Run a generator to its end, and return what it returns."""
    while True:
        try:
            next(generator)
        except StopIteration as done:
            return cast("Runtime", done.value)


def endpoint(name: str, port: int = 80, **options: Any) -> model.Endpoint:
    """An endpoint whose host is its name."""
    return model.Endpoint(f"http://{name}:{port}", name, port, name=f"{name}:{port}", **options)


def upstream(name: str, *endpoints: str | model.Endpoint, **options: Any) -> model.Upstream:
    """An upstream; without endpoints it has one of its own name."""
    made = tuple(endpoint(each) if isinstance(each, str) else each for each in endpoints or (name,))
    return model.Upstream(name, made, **options)


def route(name: str, path: str = "/*", to: str | tuple[model.Split, ...] = "", **options: Any) -> model.Route:
    """A route for ``path``; ``policies`` may be given as ``{type: config}``."""
    match = options.pop("match", model.Match(paths=(path,)))
    splits = (model.Split(to),) if isinstance(to, str) and to else to or ()
    policies = options.pop("policies", {})
    if isinstance(policies, dict):
        policies = tuple(model.PolicySpec(kind, config, scope=name) for kind, config in policies.items())
    return model.Route(name, match, to=splits, policies=policies, **options)
