from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gatewright.cli.demo.origin import Origin
from gatewright.cli.demo.tries import TRIES, Try, send


@pytest.fixture
async def port() -> AsyncIterator[int]:
    origin = Origin("one")
    yield await origin.start(0)
    await origin.stop()


def test_the_command_can_be_pasted() -> None:
    request = Try("", "/hello", 200, "", (("x-canary", "1"),))
    assert request.curl("127.0.0.1:8000") == "curl -i -H 'x-canary: 1' http://127.0.0.1:8000/hello"


def test_there_are_five() -> None:
    assert len({request.path + str(request.headers) for request in TRIES}) == 5


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (Try("", "/", 200, '"upstream": "one"'), ""),
        (Try("", "/", 404, ""), "expected status 404"),
        (Try("", "/", 200, "two"), "expected 'two' in the answer"),
    ],
)
async def test_answers_are_compared(port: int, request_: Try, problem: str) -> None:
    answer = await asyncio.to_thread(send, request_, "127.0.0.1", port)
    assert answer.problem == problem
    assert answer.text.startswith("200 OK\ncontent-type: application/json")


def test_no_answer_is_a_problem_too() -> None:
    assert send(Try("", "/", 200, ""), "127.0.0.1", 9).problem.startswith("no answer: ")
