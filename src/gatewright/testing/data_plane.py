"""One worker's data plane in the test's own loop, on real sockets: no processes, no controller.

::

    async with DataPlaneServer(text) as server, RawClient(server.port) as client:
        response = await client.get()
        assert server.records[0].status == 200
"""

from __future__ import annotations

import gc
import socket
import tempfile
from pathlib import Path
from typing import Any, Self

from gatewright.clock import SystemClock
from gatewright.ipc.messages import Log, Message
from gatewright.proxy.endpoints import Endpoint
from gatewright.proxy.exchange import Exchange
from gatewright.proxy.shared import SharedTable
from gatewright.snapshot.build import build_snapshot
from gatewright.testing.raw_client import DEADLINE, eventually
from gatewright.worker.server import DataPlane


class DataPlaneServer:
    """Serves a configuration from the running loop. Listeners with a port other than 0 get a free one, too.

    Args:
        config: YAML text, or the path of a file.

    Attributes:
        plane: The data plane itself.
        records: The exchanges that have ended, in order; kept here instead of being logged.
        messages: What a controller would have been told, except for counters.
    """

    def __init__(self, config: str | Path) -> None:
        self.config = config
        self.records: list[Exchange] = []
        self.messages: list[Message] = []
        self.plane: DataPlane
        self._addresses: dict[str, tuple[str, int]] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="gatewright-")

    async def __aenter__(self) -> Self:
        self.plane = DataPlane(0, SystemClock(), SharedTable.private(), self.messages.append)
        await self.apply(self.config)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def apply(self, config: str | Path) -> None:
        """Serve this configuration from the next request on. Raises ConfigError; the old one then stays."""
        snapshot = build_snapshot([self._file(config)], environ={"GATEWRIGHT_WORKERS": "1"}).snapshot
        await self.plane.apply(snapshot)
        self.plane.world.log = self.records.append
        for listener in snapshot.listeners:
            if listener.name not in self._addresses:
                sock = _bound(listener.bind)
                self._addresses[listener.name] = _name(sock)
                self.plane.listen(listener.name, listener, sock)

    def _file(self, config: str | Path) -> Path:
        if isinstance(config, Path):
            return config
        file = Path(self._folder.name, "gateway.yaml")
        file.write_text(config, encoding="utf-8")
        return file

    async def close(self, drain: float = 0.0) -> None:
        """End it: what is in flight has ``drain`` seconds."""
        await self.plane.drain(drain)
        for endpoint in self.endpoints:
            endpoint.pool.close()
        await eventually(lambda: not any(endpoint.pool.open for endpoint in self.endpoints))
        gc.unfreeze()  # a worker keeps its configuration out of the collector's way; a test run has many
        self._folder.cleanup()

    # --- where it is --------------------------------------------------------------------------------------------------

    def address(self, listener: str = "") -> tuple[str, int]:
        """Host and port of a listener, by default the first; for a Unix socket its path and 0."""
        return self._addresses[listener] if listener else next(iter(self._addresses.values()))

    @property
    def port(self) -> int:
        """Port of the first listener."""
        return self.address()[1]

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port`` of the first listener."""
        return f"http://127.0.0.1:{self.port}"

    # --- what is going on ---------------------------------------------------------------------------------------------

    @property
    def endpoints(self) -> list[Endpoint]:
        """All endpoints of the configuration that serves."""
        runtime = self.plane.runtime
        return [each for upstream in runtime.upstreams.values() for each in upstream.endpoints] if runtime else []

    @property
    def bugs(self) -> list[str]:
        """What must not happen and did, with tracebacks; empty in a good test."""
        logs = (message for message in self.messages if isinstance(message, Log))
        return [str(log.fields) for log in logs if log.event == "worker.bug"]

    async def record(self, number: int = 1) -> Exchange:
        """The ``number``-th exchange, when it has ended."""
        await eventually(lambda: len(self.records) >= number)
        return self.records[number - 1]

    def leaks(self) -> dict[str, Any]:
        """What is in use though nothing should be, by name; empty when all is given back.

        Idle connections, of clients and to endpoints, are no leak.
        """
        found: dict[str, Any] = {"exchanges": self.plane.exchanges, "tunnels": len(self.plane.world.tunnels)}
        for endpoint in self.endpoints:
            pool = endpoint.pool
            found[f"{endpoint.key} in flight"] = endpoint.in_flight
            found[f"{endpoint.key} active"] = pool.counts()[1] + pool.connecting
            found[f"{endpoint.key} waiting"] = len(pool.waiters)
        if self.bugs:
            found["bugs"] = self.bugs
        return {name: value for name, value in found.items() if value}

    async def settled(self, deadline: float = DEADLINE) -> None:
        """Wait until nothing is in use. Raises AssertionError naming what still is."""
        try:
            await eventually(lambda: not self.leaks(), deadline)
        except AssertionError:
            raise AssertionError(f"still in use: {self.leaks()}") from None


def _bound(bind: str) -> socket.socket:
    if bind.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(bind.removeprefix("unix:"))
    else:
        sock = socket.socket(socket.AF_INET6 if bind.startswith("[") else socket.AF_INET)
        sock.bind((bind.rpartition(":")[0].strip("[]"), 0))
    sock.listen(128)
    sock.setblocking(False)
    return sock


def _name(sock: socket.socket) -> tuple[str, int]:
    name = sock.getsockname()
    return (name, 0) if isinstance(name, str) else (name[0], name[1])
