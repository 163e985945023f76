"""Many requests want to know the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from gatewright.proxy.flights import Flights
from gatewright.sdk import Answer, Env, ExchangeView, Policy, PolicyConfig, Reply, ServiceError
from gatewright.testing.rig import Rig, route, upstream


class Asked:
    """Counts questions; the test answers them."""

    def __init__(self) -> None:
        self.answers: list[asyncio.Future[Any]] = []

    def __call__(self) -> Awaitable[Any]:
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]


class World:
    """What flights need of one."""

    def promise(self) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()


@pytest.fixture
def flights() -> Flights:
    return Flights(cast("Any", World()))


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


Start = Callable[[bytes], asyncio.Task[Any]]


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def start(flights: Flights, asked: Asked) -> Start:
    async def run(key: bytes) -> Any:
        return await flights.join(key, asked)

    return lambda key: asyncio.get_running_loop().create_task(run(key))


async def test_one_asks_and_all_hear(flights: Flights, asked: Asked, start: Start) -> None:
    tasks = [start(b"a") for _ in range(3)]
    other = start(b"b")
    await turns()
    assert (len(asked.answers), len(flights)) == (2, 2)
    asked.answers[0].set_result(1)
    asked.answers[1].set_result(2)
    assert [await task for task in [*tasks, other]] == [1, 1, 1, 2]
    assert len(flights) == 0


async def test_who_comes_later_asks_anew(asked: Asked, start: Start) -> None:
    for answer in (1, 2):
        task = start(b"a")
        await turns()
        asked.answers[-1].set_result(answer)
        assert await task == answer
    assert len(asked.answers) == 2


async def test_a_failure_is_everybodys(flights: Flights, asked: Asked, start: Start) -> None:
    tasks = [start(b"a") for _ in range(3)]
    await turns()
    asked.answers[0].set_exception(ServiceError("upstream.timeout"))
    for task in tasks:
        with pytest.raises(ServiceError, match=r"upstream\.timeout"):
            await task
    assert len(asked.answers) == 1
    assert len(flights) == 0


async def test_when_the_one_who_asks_is_given_up_another_one_asks(flights: Flights, asked: Asked, start: Start) -> None:
    tasks = [start(b"a") for _ in range(3)]
    await turns()
    tasks[0].cancel()
    await turns()
    assert len(asked.answers) == 2
    assert asked.answers[0].cancelled()
    asked.answers[1].set_result(7)
    assert [await task for task in tasks[1:]] == [7, 7]
    assert len(flights) == 0


async def test_one_who_waits_may_leave(flights: Flights, asked: Asked, start: Start) -> None:
    tasks = [start(b"a") for _ in range(3)]
    await turns()
    tasks[1].cancel()
    asked.answers[0].set_result(7)
    assert (await tasks[0], await tasks[2]) == (7, 7)
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    assert (len(asked.answers), len(flights)) == (1, 0)


class Nothing(PolicyConfig):
    """Nothing to choose."""


class Together(Policy[Nothing]):
    """Asks once for all."""

    __slots__ = ("_flights", "_service")
    name, stage, config = "together", "authorize", Nothing

    def __init__(self, config: Nothing, env: Env) -> None:
        self._service = env.service(*self.services(config))
        self._flights = env.flights("together")

    @classmethod
    def services(cls, config: Nothing) -> tuple[str, ...]:
        return ("http://auth",)

    async def on_request(self, ex: ExchangeView) -> Reply | None:
        answer = await self._flights.join(b"key", self._ask)
        return Reply(answer.status, "together.answer")

    def _ask(self) -> Awaitable[Answer]:
        return self._service.ask(b"GET", b"")


def test_a_client_that_leaves_leaves_its_question_to_the_next(rig: Rig) -> None:
    rig.add_policy(Together)
    rig.apply(upstream("a"), route("all", to="a", policies={"together": {}}))
    clients = [rig.client() for _ in range(3)]
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    first = rig.origin("auth").accept()
    assert not rig.origin("auth").waiting
    clients[0].reset()
    assert first.aborted
    rig.origin("auth").accept().send(b"HTTP/1.1 402 Pay\r\ncontent-length: 0\r\n\r\n")
    assert [client.received[:12] for client in clients] == [b"", b"HTTP/1.1 402", b"HTTP/1.1 402"]
