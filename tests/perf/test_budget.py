"""What a request costs, counted in objects and calls instead of time: the same on every machine.

The real protocol classes run on the rig's connections. A change that makes a request dearer fails here; a change that
makes it cheaper may lower the bounds.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import sys
import timeit
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream
from gatewright.testing.wires import FakeTransport, Peer
from gatewright.wire import h1
from gatewright.worker.access_log import AccessLog
from gatewright.worker.net.timers import Wheel

#: Python functions called for one GET and its response, from the bytes of the client to those for the client.
PLAIN_CALLS = 59
#: The same with a key checked, a rate limited and a line logged.
FULL_CALLS = 77
#: One POST with its body in the same segment.
BODY_CALLS = 75

FIELDS = (
    b"Host: api.example.com\r\nUser-Agent: curl/8\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\nX-Api-Key: acme-key\r\n"
    b"Authorization: Bearer abc\r\nCookie: a=b; c=d\r\nCache-Control: no-cache\r\nReferer: https://example.com/\r\n"
)
GET = b"GET /api/widgets/%d?x=1 HTTP/1.1\r\n" + FIELDS + b"\r\n"
POST = b"POST /api/widgets/%d HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
ANSWER = b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: Sat, 21 Nov 2026 03:54:46 GMT\r\nContent-Length: 5\r\n\r\nhello"
KEY = hashlib.sha256(b"acme-key").hexdigest()
FULL = {
    "api_key": {"header": "x-api-key"},
    "rate_limit": {"limit": "1000000/s", "burst": 1_000_000, "by": "consumer"},
}


class Bench:
    """One client on one kept-alive connection, one endpoint behind another; both have been used before."""

    def __init__(self, rig: Rig, policies: dict[str, Any], request: bytes, log: AccessLog | None = None) -> None:
        consumer = model.Consumer("acme", credentials=(model.Credential("api_key", KEY),))
        rig.apply(route("widgets", "/api/widgets/{id}", to="a", policies=policies), upstream("a"), consumer)
        rig.world.log = log.append if log is not None else _nothing
        self.rig = rig
        self.request = request
        self.number = 0
        self.client: Peer = rig.client()
        self.client.send(request % 0)
        self.origin = rig.origin("a").accept()
        self.origin.send(ANSWER)
        for _ in range(3):  # whatever is computed once has been computed
            self.exchange()

    def exchange(self) -> None:
        """One request and its response, without the rig around them."""
        self.number += 1
        data = self.request % self.number
        self.client.protocol.data_received(data)
        self.origin.protocol.data_received(ANSWER)


def _nothing(_exchange: object) -> None:
    """No log."""


@pytest.fixture(params=["plain", "full", "body"])
def bench(rig: Rig, request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param != "full":
        yield Bench(rig, {}, GET if request.param == "plain" else POST)
        return
    log = AccessLog(model.AccessLog(to=str(tmp_path / "access.log")), rig.clock)
    yield Bench(rig, FULL, GET, log)
    log.flush()
    assert (tmp_path / "access.log").read_bytes().count(b"\n") >= 4
    log.close()


def kind(bench: Bench) -> str:
    if bench.request is POST:
        return "body"
    return "full" if bench.rig.world.log is not _nothing else "plain"


def calls_of(action: Callable[[], None]) -> Counter[str]:
    """Python functions called, by name; those of the rig's transports are not counted."""
    counted: Counter[str] = Counter()
    fakes = {FakeTransport.write.__code__.co_filename}

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename not in fakes:
            counted[frame.f_code.co_qualname] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(before)
    return counted


def test_calls(bench: Bench) -> None:
    bound = {"plain": PLAIN_CALLS, "full": FULL_CALLS, "body": BODY_CALLS}[kind(bench)]
    h1._REQUEST_LINES.clear()  # a line that has not been seen before
    counted = calls_of(bench.exchange)
    counted.pop("Bench.exchange", None)
    assert counted.total() <= bound, counted.most_common()
    assert counted.total() > bound - 6, f"only {counted.total()}: lower the bound"


def test_one_write_each_way(bench: Bench) -> None:
    transports = (bench.client.transport, bench.origin.transport)
    before = [transport.writes for transport in transports]
    bench.exchange()
    assert [transport.writes for transport in transports] == [count + 1 for count in before]


def test_no_task_no_future_no_timer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    world = type(bench.rig.world)
    for owner, name in (
        (world, "later"),
        (world, "wait"),
        (world, "connect"),
        (asyncio.BaseEventLoop, "create_task"),
        (asyncio.BaseEventLoop, "create_future"),
        (asyncio.BaseEventLoop, "call_at"),
        (asyncio.BaseEventLoop, "call_soon"),
    ):
        monkeypatch.setattr(owner, name, lambda *_args, name=name: made.append(name))
    registered = calls_of(lambda: [bench.exchange() for _ in range(20)] and None)
    assert made == []
    assert registered[Wheel.at.__qualname__] == 0
    assert len(bench.rig.world._wheel) <= 4


def test_no_cyclic_garbage(bench: Bench) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            bench.exchange()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_memory_does_not_grow(bench: Bench) -> None:
    for _ in range(50):
        bench.exchange()
    bench.client.transport.written.clear()
    bench.origin.transport.written.clear()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(200):
        bench.exchange()
    gc.collect()
    # Request lines are remembered, up to a bound.
    assert len(gc.get_objects()) - before < 2 * 200 + 50


def test_the_clock_is_asked_a_few_times(bench: Bench) -> None:
    asked = 0

    def clock() -> float:
        nonlocal asked
        asked += 1
        return timeit.default_timer()

    bench.rig.world.clock = clock
    bench.exchange()
    assert asked <= 3
