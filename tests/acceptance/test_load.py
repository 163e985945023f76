"""Many requests at once: none is lost, whatever changes meanwhile."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from functools import partial
from typing import Any

import psutil
import pytest
import websockets

from gatewright.testing import origins
from gatewright.testing.gateway import Gateway
from gatewright.testing.raw_client import RawClient, eventually

pytestmark = pytest.mark.processes

CONFIG = """
version: 1
workers: 2
listeners: [{{name: public, bind: "127.0.0.1:0"}}]
upstreams:
  echo: {{endpoints: ["{echo}"]}}
  sockets: {{endpoints: ["{sockets}"]}}
routes:
  - {{name: socket, match: {{paths: ["/ws"]}}, to: sockets}}
  - name: all
    match: {{paths: ["/*"]}}
    to: echo
    policies:
      - headers: {{response: {{set: {{x-version: "{version}"}}}}}}
  - {{name: fresh, match: {{paths: ["/fresh/{version}"]}}, respond: {{status: 200, body: "{version}"}}}}
"""


def test_wrk(plain: Gateway) -> None:
    wrk = shutil.which("wrk")
    if wrk is None:
        pytest.skip("wrk is not installed")
    before = plain.metric("gatewright_requests_total", route="all")
    command = [wrk, "-t1", "-c16", "-d2s", "--timeout", "10s", plain.url + "/robots.txt"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    found = re.search(r"(\d+) requests in", done.stdout)
    assert found is not None, done.stdout
    served = int(found[1])
    assert served > 100
    assert "Socket errors" not in done.stdout, done.stdout
    assert "Non-2xx" not in done.stdout, done.stdout
    plain.until(lambda: plain.metric("gatewright_requests_total", route="all") >= before + served)
    failed = [line for line in plain.log_lines() if line["path"] == "/robots.txt" and line["status"] not in {200, 499}]
    assert failed == []


class Clients:
    """Connections that are kept and used again and again, each with one request at a time."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.served = 0
        self.failures: list[str] = []
        self.versions: Counter[bytes | None] = Counter()
        self.going = True

    async def run(self, number: int) -> None:
        while self.going:
            async with RawClient(self.port, deadline=20) as client:
                await self._use(client, number)

    async def _use(self, client: RawClient, number: int) -> None:
        while self.going:
            try:
                answer = await client.get(b"/client/%d" % number)
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                self.failures.append(repr(error))
                return
            if answer.status != 200 or b"/client/%d" % number not in answer.body:
                self.failures.append(repr(answer))
            self.served += 1
            self.versions[answer.get(b"x-version")] += 1
            if answer.get(b"connection") == b"close":
                return

    async def more(self, count: int, failures: int = 0) -> None:
        """Wait until so many more are served, or more have failed than ``failures``."""
        goal = self.served + count
        await eventually(lambda: self.served >= goal or len(self.failures) > failures, 30)


async def test_ten_changes_under_load_cost_nothing(gateway: Any) -> None:
    async with origins.echo() as echo, origins.websocket_echo() as sockets:
        texts = [CONFIG.format(echo=echo.url, sockets=sockets.url, version=version) for version in range(11)]
        made: Gateway = await asyncio.to_thread(gateway, texts[0])
        clients = Clients(made.port)
        async with websockets.connect(f"ws://127.0.0.1:{made.port}/ws", proxy=None) as socket:
            tasks = [asyncio.ensure_future(clients.run(number)) for number in range(64)]
            for version, text in enumerate(texts[1:], 1):
                await clients.more(64)
                event = await asyncio.to_thread(made.reload, text)
                assert event["event"] == "config.applied"
                async with RawClient(made.port) as fresh:
                    assert (await fresh.get(b"/fresh/%d" % version)).body == b"%d" % version
                await socket.send(f"still here at {version}")
                assert await socket.recv() == f"still here at {version}"
            await clients.more(64)
            clients.going = False
            await asyncio.gather(*tasks)
        assert clients.failures == []
        assert set(clients.versions) == {b"%d" % version for version in range(11)}
        assert not [event for event in made.events if event["level"] in {"warning", "error"}]
    assert await asyncio.to_thread(made.stop) == 0
    print([e for e in made.events if e["level"] != "info"])
    lines = await asyncio.to_thread(made.log_lines, clients.served + 11)
    assert Counter(line["status"] for line in lines) == {200: clients.served + 10, 101: 1}


async def test_a_killed_worker_fails_what_it_was_serving_and_nothing_else(gateway: Any) -> None:
    async with origins.echo() as echo:
        made: Gateway = await asyncio.to_thread(gateway, CONFIG.format(echo=echo.url, sockets=echo.url, version=1))
        clients = Clients(made.port)
        tasks = [asyncio.ensure_future(clients.run(number)) for number in range(32)]
        loop = asyncio.get_running_loop()
        took, lost = [], 0
        for number in range(1, 4):
            await clients.more(200, failures=lost)
            victim = (await asyncio.to_thread(lambda: made.pids))["worker 0"]
            held = sum(each.status == "ESTABLISHED" for each in connections(victim, made.port))
            began = loop.time()
            os.kill(victim, signal.SIGKILL)
            event = await asyncio.to_thread(made.wait_for, "worker.exited", number)
            assert event["worker_pid"] == victim
            served_again = partial(another_than, made, victim)
            await asyncio.to_thread(made.until, served_again)
            async with asyncio.TaskGroup() as group:  # some of these wait in the queue of the slot
                for _ in range(8):
                    group.create_task(one(made.port))
            took.append(loop.time() - began)
            assert len(clients.failures) - lost <= held, "the other worker's connections go on"
            lost = len(clients.failures)
        await clients.more(200, failures=lost)
        clients.going = False
        await asyncio.gather(*tasks)
    assert min(took) < 0.5, took
    assert lost > 0, "nobody was there when it happened"
    assert all("reset" in failure.lower() or "Incomplete" in failure for failure in clients.failures), clients.failures
    statuses = Counter(line["status"] for line in await asyncio.to_thread(made.log_lines))
    assert set(statuses) == {200}


def another_than(made: Gateway, pid: int) -> bool:
    return made.pids.get("worker 0") not in {pid, None}


def connections(pid: int, port: int) -> list[Any]:
    """The connections of a process on a port of its own."""
    return [each for each in psutil.Process(pid).net_connections("tcp") if each.laddr and each.laddr.port == port]


async def one(port: int) -> None:
    async with RawClient(port, deadline=20) as client:
        assert (await client.get(b"/one")).status == 200
