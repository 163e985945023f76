"""Floods of many HTTP/2 connections on a whole gateway: what its worker uses, and what the operator sees."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import psutil
import pytest
from tests.h2.raw import (
    CALM,
    END_HEADERS,
    END_STREAM,
    INITIAL_WINDOW,
    RawH2,
    SocketLink,
    block,
    continuation,
    data,
    headers,
    literal,
    ping,
    request,
    rst,
    settings,
)

pytestmark = pytest.mark.processes

CONFIG = """
version: 1
telemetry: {access_log: {to: "off"}}
listeners: [{name: public, bind: "127.0.0.1:0"}]
routes: [{name: all, match: {paths: ["/*"]}, respond: {status: 200, body: ok}}]
"""
GET, POST = request(), request(method=b"POST")
CONNECTIONS = 20
#: Frames of one flood, sent in whole; a worker that did what they ask for would be busy for minutes.
MANY = 2000

FLOODS: dict[str, Callable[[], list[bytes]]] = {
    "rapid reset": lambda: [
        headers(stream, POST, END_HEADERS) + rst(stream) for stream, _ in zip(count(1, 2), range(MANY))
    ],
    "pings": lambda: [ping()] * MANY,
    "settings": lambda: [settings((INITIAL_WINDOW, 1))] * MANY,
    "empty data": lambda: [headers(1, POST, END_HEADERS), *[data(1, b"", 0)] * MANY],
    "continuations": lambda: [headers(1, block(GET), END_STREAM), *[continuation(1, b"", 0)] * MANY],
}


@pytest.fixture
def connect(gateway: Any) -> Iterator[Callable[[Any], RawH2]]:
    """Makes connections, all of which are closed in the end."""
    with ExitStack() as stack:

        def made(front: Any) -> RawH2:
            peer = RawH2(SocketLink(stack.enter_context(socket.create_connection(front.address()))))
            peer.shake_hands()
            return peer

        yield made


def ask(front: Any) -> int:
    client = http.client.HTTPConnection(*front.address(), timeout=5)
    client.request("GET", "/")
    with client.getresponse() as response:
        response.read()
        status = response.status
    client.close()
    return status


def test_floods_cost_little_and_are_counted(gateway: Any, connect: Callable[[Any], RawH2]) -> None:
    front = gateway(CONFIG, workers=1)
    workers = {name: pid for name, pid in front.pids.items() if "worker" in name}
    (pid,) = workers.values()
    worker = psutil.Process(pid)
    assert ask(front) == 200
    before, spent = worker.memory_info().rss, sum(worker.cpu_times()[:2])
    for make in FLOODS.values():
        frames = make()
        attackers = [connect(front) for _ in range(CONNECTIONS)]
        for attacker in attackers:
            attacker.send(*frames)
            assert ask(front) == 200
        for attacker in attackers:
            attacker.until(lambda attacker=attacker: attacker.closed)
            assert attacker.goaway is not None
            assert attacker.goaway.code == CALM
    floods = len(FLOODS) * CONNECTIONS
    front.until(lambda: front.metric("gatewright_requests_refused_total", reason="h2_flood") == floods)
    assert worker.memory_info().rss - before < 32 << 20
    assert sum(worker.cpu_times()[:2]) - spent < 5.0
    assert {name: pid for name, pid in front.pids.items() if "worker" in name} == workers


def test_bombs_are_refused_one_by_one(gateway: Any, connect: Callable[[Any], RawH2]) -> None:
    """64 MiB each, if anybody made them; nobody has to be sent away for it."""
    front = gateway(CONFIG, workers=1)
    (pid,) = [pid for name, pid in front.pids.items() if "worker" in name]
    worker = psutil.Process(pid)
    attackers = [connect(front) for _ in range(CONNECTIONS)]
    before = worker.memory_info().rss
    for attacker in attackers:
        attacker.send(headers(1, block(GET) + literal(b"bomb", b"x" * 4000, 0x40)))
        attacker.send(*(headers(stream, block(GET) + b"\xbe" * 16_000) for stream in range(3, 23, 2)))
    for attacker in attackers:
        attacker.until(lambda attacker=attacker: attacker.ended(21))
        assert {attacker.head(stream).status for stream in range(3, 23, 2)} == {431}
        assert attacker.is_alive()
    assert worker.memory_info().rss - before < 32 << 20
    number = 10 * CONNECTIONS
    front.until(lambda: front.metric("gatewright_requests_refused_total", reason="request.headers_too_large") == number)
    lines = front.log_lines(number)
    assert {(line["status"], line["protocol"], line["reason"]) for line in lines if line["status"] != 200} == {
        (431, "http2", "request.headers_too_large")
    }
