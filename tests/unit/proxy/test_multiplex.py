"""Many exchanges on few connections: who gets a stream, who waits, and what becomes of those that wait."""

from __future__ import annotations

from typing import Any

import pytest

from gatewright.proxy import ports
from gatewright.proxy.multiplex import MultiplexPool
from gatewright.snapshot.model import Pool as Spec


class World:
    """Time, and connections that are asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self.dialled: list[MultiplexPool] = []
        self.watched: list[Any] = []

    def connect(self, pool: MultiplexPool, _endpoint: Any) -> None:
        self.dialled.append(pool)

    def watch(self, timed: Any) -> None:
        if timed not in self.watched:
            self.watched.append(timed)

    def unwatch(self, timed: Any) -> None:
        if timed in self.watched:
            self.watched.remove(timed)


class Connection:
    """Takes so many streams."""

    def __init__(self, pool: MultiplexPool, room: int) -> None:
        self.pool = pool
        self.alive = self.ready = True
        self.awaited = self.pooled = False
        self.room = room
        self.given = 0

    def stream(self) -> Any:
        self.room -= 1
        self.given += 1
        return self, self.given

    def busy(self) -> bool:
        return self.given > 0

    def retire(self) -> None:
        self.room = 0
        self.pool.retired(self)  # type: ignore[arg-type]


class Waiter:
    """An exchange that waits."""

    def __init__(self) -> None:
        self.wait_until = 0.0
        self.got: Any = None
        self.failed = ""

    def connected(self, stream: Any) -> None:
        self.got = stream

    def upstream_failed(self, condition: str) -> None:
        self.failed = condition


@pytest.fixture
def world() -> World:
    return World()


def pool_of(world: World, **limits: Any) -> MultiplexPool:
    pool = MultiplexPool(None, world)  # type: ignore[arg-type]
    pool.configure(Spec(**limits), 1.0, 1)
    return pool


def waiting(pool: MultiplexPool, count: int = 1) -> list[Waiter]:
    waiters = [Waiter() for _ in range(count)]
    for waiter in waiters:
        pool.wait(waiter)  # type: ignore[arg-type]
    return waiters


def test_the_first_connection_is_filled_before_the_next(world: World) -> None:
    pool = pool_of(world)
    one, two = Connection(pool, 2), Connection(pool, 2)
    for connection in (one, two):
        pool.open += 1
        pool.connecting += 1
        pool.connected(connection)
    assert [pool.take(), pool.take(), pool.take()] == [(one, 1), (one, 2), (two, 1)]
    assert pool.counts() == (0, 2)
    assert (pool.take(), pool.take()) == ((two, 2), None)
    assert pool.reused == 4


def test_one_connection_is_opened_for_many(world: World) -> None:
    pool = pool_of(world)
    waiters = waiting(pool, 100)
    assert len(world.dialled) == 1
    waiters += waiting(pool)
    assert (len(world.dialled), pool.open, pool.connecting) == (2, 2, 2)
    pool.connected(Connection(pool, 3))
    assert [waiter.got is not None for waiter in waiters[:4]] == [True, True, True, False]


def test_a_connection_that_is_not_ready_comes_back(world: World) -> None:
    pool = pool_of(world)
    (waiter,) = waiting(pool)
    connection = Connection(pool, 1)
    connection.ready = False
    pool.connected(connection)
    assert (waiter.got, connection.awaited, pool.connecting) == (None, True, 1)
    connection.ready = True
    pool.connected(connection)
    assert waiter.got == (connection, 1)
    assert (pool.connecting, connection.pooled) == (0, True)


def test_those_who_waited_for_a_connection_fail_with_it(world: World) -> None:
    pool = pool_of(world)
    waiters = waiting(pool, 3)
    pool.failed(ports.CONNECT_TIMEOUT)
    assert [waiter.failed for waiter in waiters] == [ports.CONNECT_TIMEOUT] * 3
    assert (pool.open, pool.connecting) == (0, 0)


def test_a_connection_that_died_at_once_has_failed(world: World) -> None:
    pool = pool_of(world)
    (waiter,) = waiting(pool)
    connection = Connection(pool, 1)
    connection.alive = False
    pool.connected(connection)
    assert waiter.failed == ports.CONNECT


def test_a_stream_that_ends_makes_room_for_who_waits_longest(world: World) -> None:
    pool = pool_of(world, max_connections=1)
    connection = Connection(pool, 1)
    first, second, third = waiting(pool, 3)
    pool.connected(connection)
    assert first.got is not None
    assert second.got is None
    connection.room = 1
    pool.has_room(connection)  # type: ignore[arg-type]
    assert (second.got, third.got) == ((connection, 2), None)


def test_waiting_is_bounded_in_number_and_time(world: World) -> None:
    pool = pool_of(world, max_connections=1, max_waiting=2, wait_timeout=5.0)
    pool.open = 1  # full
    first, second, third = waiting(pool, 3)
    assert (first.failed, third.failed) == ("", ports.OVERLOADED)
    assert world.watched == [pool]
    world.now = 5.0
    pool.on_deadline(5.0)
    assert (first.failed, second.failed) == (ports.OVERLOADED, ports.OVERLOADED)
    assert not pool.waiters


def test_who_no_longer_waits_is_forgotten(world: World) -> None:
    pool = pool_of(world)
    (waiter,) = waiting(pool)
    pool.forget(waiter)  # type: ignore[arg-type]
    pool.forget(waiter)  # type: ignore[arg-type]
    pool.connected(Connection(pool, 1))
    assert waiter.got is None


def test_a_lost_connection_leaves_its_place_to_another(world: World) -> None:
    pool = pool_of(world, max_connections=1)
    connection = Connection(pool, 1)
    first, _ = waiting(pool, 2)
    pool.connected(connection)
    assert first.got is not None
    pool.lost(connection)  # type: ignore[arg-type]
    assert (pool.open, pool.connecting, len(world.dialled)) == (1, 1, 2)


def test_a_closed_pool_takes_no_connection_into_use(world: World) -> None:
    pool = pool_of(world)
    old = Connection(pool, 5)
    waiting(pool)
    pool.connected(old)
    pool.close()
    assert (pool.connections, pool.take()) == ([], None)
    late = Connection(pool, 5)
    pool.connecting += 1
    pool.connected(late)
    assert (late.room, pool.connections) == (0, [])
