"""The pool: limits hold, waiters are served in their order, and what was opened is accounted for."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gatewright.proxy import ports
from gatewright.proxy.pool import Pool
from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream
from gatewright.worker.net.timers import Wheel

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class World:
    """Time and connection attempts, both at the test's command."""

    def __init__(self) -> None:
        self.now = 10.0
        self.wheel = Wheel(self.now, pytest.fail)  # type: ignore[arg-type]
        self.watch, self.unwatch = self.wheel.at, self.wheel.drop
        self.dialled = 0

    def connect(self, pool: Pool, endpoint: object) -> None:
        self.dialled += 1


class Connection:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.alive = True
        self.pooled = False
        self.deadline = 0.0
        self.wheel_at = 0

    def close(self) -> None:
        self.alive = False

    def on_deadline(self, now: float) -> None:
        self.close()

    def lose(self) -> None:
        self.alive = False
        self.pool.world.unwatch(self)  # type: ignore[arg-type]
        if self.pooled:
            self.pool.lost(self)  # type: ignore[arg-type]


class Waiter:
    """An exchange, as a pool sees it."""

    def __init__(self, log: list[Waiter]) -> None:
        self.log = log
        self.wait_until = 0.0
        self.connection: Connection | None = None
        self.failure = ""

    def connected(self, connection: Connection) -> None:
        assert self.connection is None
        assert not self.failure
        assert connection.alive
        self.connection = connection
        self.log.append(self)

    def upstream_failed(self, condition: str) -> None:
        assert self.connection is None
        assert not self.failure
        self.failure = condition


SPECS = st.sampled_from(
    [
        model.Pool(max_connections=2, max_idle=1, max_waiting=3, wait_timeout=2.0, idle_timeout=5.0),
        model.Pool(max_connections=1, max_idle=4, max_waiting=0, wait_timeout=2.0),
        model.Pool(max_connections=3, max_idle=0, max_waiting=9, wait_timeout=2.0),
    ]
)


class PoolMachine(RuleBasedStateMachine):
    """Exchanges come, are served, give up; connections are made, fail, die; limits change; time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.pool = Pool(object(), self.world)  # type: ignore[arg-type]
        self.most = 0
        self.served: list[Waiter] = []
        self.waiting: list[Waiter] = []
        self.busy: deque[Waiter] = deque()
        self.connections: list[Connection] = []
        self.configure(model.Pool(max_connections=2, max_idle=1, max_waiting=3, wait_timeout=2.0))

    def configure(self, spec: model.Pool) -> None:
        self.pool.configure(spec, 1.0, 1)
        self.most = max(self.pool.most_open, self.pool.open)

    @rule(spec=SPECS)
    def new_limits(self, spec: model.Pool) -> None:
        self.configure(spec)

    @rule()
    def an_exchange_comes(self) -> None:
        waiter = Waiter(self.served)
        connection = self.pool.take()
        if connection is not None:
            waiter.connected(connection)  # type: ignore[arg-type]
        else:
            self.waiting.append(waiter)
            self.pool.wait(waiter)  # type: ignore[arg-type]

    @rule(i=st.integers(0, 5))
    def an_exchange_gives_up(self, i: int) -> None:
        if self.waiting:
            waiter = self.waiting.pop(i % len(self.waiting))
            self.pool.forget(waiter)  # type: ignore[arg-type]
            self.pool.forget(waiter)  # type: ignore[arg-type]

    @rule(alive=st.sampled_from([True, True, True, False]))
    def a_connection_is_made(self, alive: bool) -> None:
        if self.world.dialled:
            self.world.dialled -= 1
            connection = Connection(self.pool)
            connection.alive = alive
            self.connections.append(connection)
            self.pool.connected(connection)  # type: ignore[arg-type]

    @rule(condition=st.sampled_from([ports.CONNECT, ports.CONNECT_TIMEOUT]))
    def a_connection_fails(self, condition: str) -> None:
        if self.world.dialled:
            self.world.dialled -= 1
            self.pool.failed(condition)

    @rule(alive=st.booleans())
    def an_exchange_ends(self, alive: bool) -> None:
        if self.busy:
            connection = self.busy.popleft().connection
            assert connection is not None
            if alive and connection.alive:
                self.pool.give_back(connection)  # type: ignore[arg-type]
            else:
                self.connections.remove(connection)
                connection.lose()

    @rule(i=st.integers(0, 5))
    def a_connection_dies(self, i: int) -> None:
        """One that is idle, or that the pool has closed."""
        unused = [each for each in self.connections if all(each is not waiter.connection for waiter in self.busy)]
        if unused:
            connection = unused[i % len(unused)]
            self.connections.remove(connection)
            connection.lose()

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds
        self.world.wheel.tick(self.world.now)

    @rule()
    def the_endpoint_goes(self) -> None:
        self.pool.close()
        assert not self.pool.idle

    @invariant()
    def all_is_in_order(self) -> None:
        pool = self.pool
        while self.served:
            waiter = self.served.pop(0)
            self.busy.append(waiter)
            if waiter in self.waiting:
                assert waiter is next(each for each in self.waiting if not each.failure), "out of turn"
                self.waiting.remove(waiter)
        self.waiting = [each for each in self.waiting if not each.failure]
        assert list(pool.waiters) == self.waiting
        self.most = max(pool.most_open, min(self.most, pool.open))
        assert 0 <= pool.connecting == self.world.dialled
        assert pool.connecting <= pool.open <= self.most
        assert len(pool.idle) <= max(pool.spec.max_idle, 4)
        assert len(pool.waiters) <= 9 + 3  # of the largest limits: who waits and who is being connected for
        if pool.waiters:  # somebody is being connected for, or the time of all is being kept
            assert not [each for each in pool.idle if each.alive]
            kept = pool.wheel_at and pool.deadline <= pool.waiters[0].wait_until
            assert kept or pool.connecting >= 1
            assert pool.connecting >= min(len(pool.waiters), pool.most_open - pool.open) or pool.open >= pool.most_open
        elif pool.wheel_at:
            raise AssertionError("a deadline is left")

    def teardown(self) -> None:
        while self.world.dialled or self.busy or self.connections:
            if self.world.dialled:
                self.a_connection_fails(ports.CONNECT)
            elif self.busy:
                self.an_exchange_ends(alive=False)
            else:
                self.a_connection_dies(0)
            self.all_is_in_order()
        assert not self.waiting, "starved"
        assert (self.pool.open, self.pool.connecting, self.pool.idle) == (0, 0, [])
        assert len(self.world.wheel) == 0


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@pytest.fixture
def rig(rig: Rig) -> Rig:
    rig.apply(
        route("all", to="a"),
        upstream(
            "a",
            pool=model.Pool(max_connections=2, max_waiting=2, wait_timeout=2.0),
            passive=None,
            retries=model.Retries(attempts=0),
        ),
    )
    return rig


def pool_of(rig: Rig) -> Pool:
    pool = rig.origin("a").endpoint.pool
    assert isinstance(pool, Pool)
    return pool


def test_the_newest_idle_connection_is_used_first(rig: Rig) -> None:
    for client in (rig.client(), rig.client()):
        client.send(GET)
    first, second = rig.origin("a").accept(), rig.origin("a").accept()
    first.send(OK), second.send(OK)
    first.take(), second.take()
    rig.client().send(GET)
    assert (first.take(), second.take() != b"") == (b"", True)
    assert (pool_of(rig).created, pool_of(rig).reused) == (2, 1)


def test_who_comes_too_much_is_refused_and_who_waits_too_long(rig: Rig) -> None:
    clients = [rig.client() for _ in range(5)]
    for client in clients:
        client.send(GET)
    assert [client.received[:13] for client in clients[3:]] == [b"", b"HTTP/1.1 503 "]
    rig.origin("a").accept()
    rig.origin("a").accept()
    rig.advance(1.9)
    assert clients[2].received == b""
    rig.advance(0.2)
    assert [b"upstream.overloaded" in client.received for client in clients] == [False, False, True, True, True]


def test_when_a_connection_fails_the_next_waiter_gets_another_one(rig: Rig) -> None:
    clients = [rig.client() for _ in range(3)]
    for client in clients:
        client.send(GET)
    rig.origin("a").refuse()
    rig.origin("a").refuse()
    assert rig.origin("a").waiting == 1
    rig.origin("a").accept().send(OK)
    rig.advance(0.0)
    assert clients[2].received.startswith(b"HTTP/1.1 200 ")


def test_a_connection_nobody_waits_for_any_more_is_not_kept_for_ever(rig: Rig) -> None:
    client = rig.client()
    client.send(GET)
    client.reset()
    origin = rig.origin("a").accept()
    assert len(pool_of(rig).idle) == 1
    rig.advance(pool_of(rig).spec.idle_timeout + 0.1)
    assert origin.closed
    assert pool_of(rig).open == 0


def test_a_connection_that_is_gone_before_its_pool_has_it_is_a_failed_attempt(rig: Rig) -> None:
    client = rig.client()
    client.send(GET)
    pool = pool_of(rig)
    dead = Connection(pool)
    dead.lose()
    rig.origin("a")._dialled.popleft()
    pool.connected(dead)  # type: ignore[arg-type]
    assert (pool.open, pool.connecting) == (1, 1) or client.received.startswith(b"HTTP/1.1 502 ")


def test_a_connection_that_is_being_closed_is_not_handed_out(rig: Rig) -> None:
    client = rig.client()
    client.send(GET)
    rig.origin("a").accept().send(OK)
    pool = pool_of(rig)
    pool.idle[0].alive = False
    assert pool.take() is None
    assert pool.idle == []


def test_a_closed_pool_keeps_nothing_that_comes_back(rig: Rig) -> None:
    client = rig.client()
    client.send(GET)
    origin = rig.origin("a").accept()
    pool = pool_of(rig)
    pool.close()
    assert not origin.closed
    origin.send(OK)
    assert client.received.startswith(b"HTTP/1.1 200 ")
    assert origin.closed
    assert pool.open == 0


def test_each_worker_has_its_share() -> None:
    pool = Pool(object(), World())  # type: ignore[arg-type]
    pool.configure(model.Pool(max_connections=10, max_idle=3), 1.0, 4)
    assert (pool.most_open, pool.most_idle) == (3, 1)
    pool.configure(model.Pool(max_connections=1, max_idle=0), 1.0, 4)
    assert (pool.most_open, pool.most_idle) == (1, 0)


def test_an_endpoint_that_does_not_read_the_end_of_a_request_does_not_hold_its_place(rig: Rig) -> None:
    client = rig.client()
    client.send(b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n" + b"x" * 50_000)
    origin = rig.origin("a").accept()
    slow_close(origin.transport)
    origin.send(OK)
    assert not origin.closed
    rig.advance(11.0)
    assert origin.aborted


def slow_close(transport: Any) -> None:
    """As a real transport with unsent bytes: closing waits for them, aborting does not."""

    def close() -> None:
        transport.closing = True

    def abort() -> None:
        transport.aborted = True
        transport._rig.soon(transport._lose)

    transport.close, transport.abort = close, abort
