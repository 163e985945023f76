from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from gatewright.cli.demo.origin import Origin, parse_head


@pytest.fixture
async def port() -> AsyncIterator[int]:
    origin = Origin("one")
    yield await origin.start(0)
    await origin.stop()


async def talk(port: int, data: bytes) -> bytes:
    """Send, and read until the origin closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    return answer


def test_a_head_is_taken_apart() -> None:
    method, target, headers = parse_head(b"GET /a?b HTTP/1.1\r\nHost: x\r\nX-Empty:\r\n\r\n")
    assert (method, target, headers) == ("GET", "/a?b", {"host": "x", "x-empty": ""})


async def test_it_tells_what_it_was_sent(port: int) -> None:
    answer = await talk(port, b"POST /a?b=1 HTTP/1.1\r\nX-One: 1\r\nContent-Length: 3\r\nconnection: close\r\n\r\nabc")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    seen = json.loads(body)
    assert seen["upstream"] == "one"
    assert (seen["method"], seen["target"], seen["bytes"]) == ("POST", "/a?b=1", 3)
    assert seen["headers"]["x-one"] == "1"


async def test_chunked_bodies_are_read_to_their_end(port: int) -> None:
    first = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\na: b\r\n\r\n"
    answer = await talk(port, first + b"HEAD /healthz HTTP/1.1\r\nconnection: close\r\n\r\n")
    assert b'"bytes": 5' in answer
    assert answer.count(b"HTTP/1.1 200 OK") == 2


async def test_events_come_in_chunks(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewright.cli.demo.origin.EVENT_INTERVAL", 0.0)
    answer = await talk(port, b"GET /events HTTP/1.1\r\nconnection: close\r\n\r\n")
    assert b"content-type: text/event-stream" in answer
    assert answer.count(b"data: event ") == 5
    assert answer.endswith(b"\r\n0\r\n\r\n")


async def test_nonsense_closes_the_connection_and_nothing_else(port: int) -> None:
    assert await talk(port, b"\r\n\r\n") == b""
    assert b"200 OK" in await talk(port, b"GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n")
