"""A real process tree, its error log as events, and an origin that waits until it is told to answer."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest

PATIENCE = 20.0
_RUN = """
import os, sys, time
from pathlib import Path, PosixPath
from gatewright.supervisor.main import run
from gatewright.supervisor.options import Options
options = eval(sys.argv[2])
if options.pop("stranger", False) and os.fork() == 0:
    time.sleep(60)
    os._exit(0)
sys.exit(run([Path(sys.argv[1])], Options(**options)))
"""

Event = dict[str, Any]


def open_socket(address: tuple[str, int] | str) -> socket.socket:
    if isinstance(address, str):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(address)
        return client
    return socket.create_connection(address, PATIENCE)


def answer(client: socket.socket) -> tuple[int, bytes]:
    """Status and body, read to the end of the connection."""
    data = b""
    while piece := client.recv(65536):
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 "):
        raise ConnectionResetError(f"not an answer: {data!r}")
    return int(head[9:12]), body


def ask(address: tuple[str, int] | str, path: str = "/") -> tuple[int, bytes]:
    """Status and body of one request on a connection of its own."""
    with open_socket(address) as client:
        client.sendall(b"GET %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" % path.encode())
        return answer(client)


class Pending:
    """A request whose answer has not been read yet."""

    def __init__(self, address: tuple[str, int], path: str) -> None:
        self.client = open_socket(address)
        self.client.sendall(b"GET %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" % path.encode())

    def answer(self) -> tuple[int, bytes]:
        with self.client:
            return answer(self.client)


class Tree:
    """A gateway started from a configuration file."""

    def __init__(self, config: Path, **options: object) -> None:
        self.config = config
        self.events: list[Event] = []
        self.other_lines: list[str] = []
        self._heard = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [sys.executable, "-c", _RUN, str(config), repr(options)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=config.parent,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            for line in stderr:
                with self._heard:
                    try:
                        self.events.append(json.loads(line))
                    except ValueError:
                        self.other_lines.append(line.decode())
                    self._heard.notify_all()
        with self._heard:
            self._ended = True
            self._heard.notify_all()

    def wait_for(self, event: str, number: int = 1, timeout: float = PATIENCE, **fields: object) -> Event:
        """The event with this name and these fields, the ``number``-th of its kind."""

        def find() -> Event | None:
            found = [line for line in self.events if line["event"] == event and fields.items() <= line.items()]
            return found[number - 1] if len(found) >= number else None

        with self._heard:
            self._heard.wait_for(lambda: find() or self._ended, timeout)
        found = find()
        assert found is not None, f"no {event} {fields} in {self.events} {self.other_lines}"
        return found

    def ready(self, number: int = 1) -> Event:
        return self.wait_for("gateway.ready", number)

    def address(self, listener: str = "public") -> tuple[str, int]:
        host, _, port = self.ready()["listeners"][listener].rpartition(":")
        return host, int(port)

    def get(self, path: str = "/") -> tuple[int, bytes]:
        return ask(self.address(), path)

    def begin(self, path: str) -> Pending:
        """Send a request; its answer is for later."""
        return Pending(self.address(), path)

    def stop(self) -> int:
        """TERM, and the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def children(self, name: str, pid: int = 0) -> list[psutil.Process]:
        """Children by the start of their name: ``gw-worker``, ``gw-controller``."""
        return [child for child in psutil.Process(pid or self.process.pid).children() if child.name().startswith(name)]

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit code; only when all that writes to the error log has ended."""
        code = self.process.wait(timeout)
        self._reader.join(timeout)
        return code

    def end(self) -> None:
        """Whatever is left of it."""
        left: list[psutil.Process] = []
        # A successor outlives the process that was started here.
        successors = {int(event["successor"]) for event in self.events if "successor" in event}
        for pid in (self.process.pid, *successors):
            try:
                process = psutil.Process(pid)
                if str(self.config) in process.cmdline():  # still that process, and not another with its number
                    left += [*process.children(recursive=True), process]
            except psutil.NoSuchProcess:
                continue
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass
        self.process.kill()
        self.process.wait()


Start = Callable[..., Tree]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a gateway from YAML text; ends it after the test."""
    trees: list[Tree] = []

    def launch(text: str, **options: object) -> Tree:
        config = tmp_path / "gateway.yaml"
        config.write_text(text)
        trees.append(Tree(config, **options))
        return trees[-1]

    yield launch
    for tree in trees:
        tree.end()


class Origin:
    """Answers when released; knows how many requests have come."""

    def __init__(self) -> None:
        self.arrived = threading.Semaphore(0)
        self.release = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            while b"\r\n\r\n" not in (data := connection.recv(65536)):
                if not data:
                    return
            self.arrived.release()
            self.release.wait(PATIENCE)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ndone")

    @property
    def route(self) -> str:
        """Configuration that leads ``/slow`` here."""
        return f"""
  - name: slow
    match: {{paths: ["/slow"]}}
    to: slow
upstreams:
  slow: {{endpoints: ["http://127.0.0.1:{self.port}"]}}
"""

    def close(self) -> None:
        self.release.set()
        self._listener.close()


@pytest.fixture
def origin() -> Iterator[Origin]:
    made = Origin()
    yield made
    made.close()


class Load:
    """Clients that send one request after the other, each on a connection of its own, and note what fails."""

    def __init__(self, address: tuple[str, int], clients: int = 4) -> None:
        self.failures: list[str] = []
        self.bodies: set[bytes] = set()
        self.served = 0
        self._stop = threading.Event()
        self._count = threading.Condition()
        self._threads = [threading.Thread(target=self._run, args=(address,)) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, address: tuple[str, int]) -> None:
        while not self._stop.is_set():
            try:
                status, body = ask(address)
            except OSError as error:
                self.failures.append(repr(error))
                continue
            with self._count:
                self.served += 1
                self._count.notify_all()
                self.bodies.add(body)
                if status != 200:
                    self.failures.append(f"{status} {body!r}")

    def more(self, count: int = 50) -> None:
        """Wait until so many more requests have been served."""
        with self._count:
            goal = self.served + count
            assert self._count.wait_for(lambda: self.served >= goal, PATIENCE)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)


@pytest.fixture
def load() -> Iterator[Callable[[tuple[str, int]], Load]]:
    loads: list[Load] = []

    def begin(address: tuple[str, int]) -> Load:
        loads.append(Load(address))
        return loads[-1]

    yield begin
    for each in loads:
        each.stop()


class Config(Protocol):
    """Makes YAML text."""

    def __call__(
        self, body: str = "hello", *, workers: int = 2, bind: str = "127.0.0.1:0", drain: str = "5s", extra: str = ""
    ) -> str: ...


@pytest.fixture
def config() -> Config:
    """A configuration whose route ``/`` answers ``body``."""

    def make(
        body: str = "hello", *, workers: int = 2, bind: str = "127.0.0.1:0", drain: str = "5s", extra: str = ""
    ) -> str:
        return f"""
version: 1
workers: {workers}
drain_timeout: {drain}
telemetry: {{access_log: {{to: "off"}}}}
listeners:
  - {{name: public, bind: "{bind}"}}
admin: {{bind: "127.0.0.1:0"}}
routes:
  - name: hello
    match: {{paths: ["/"]}}
    respond: {{status: 200, body: "{body}"}}
{extra}"""

    return make
