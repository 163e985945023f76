"""What a scenario works with: cores, work directory, origin, started proxies, progress."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.macro.client import answers, fetch, free_port
from benchmarks.macro.curl import ask
from benchmarks.macro.gateway import Configuration, Setup
from benchmarks.macro.grpc_origin import ANSWER, CALL
from benchmarks.macro.origin import Origin, body_of
from benchmarks.macro.peers import Peer
from benchmarks.macro.peers.base import Task
from benchmarks.macro.procs import BenchError, Launcher, Process, cpu_seconds, cpu_times, pss_bytes, wait_until
from benchmarks.macro.protocols import PLAIN, Pair, Protocols, make_pair

ROOT = Path(__file__).resolve().parents[2]
GATEWAY = "gatewright"


@dataclass(frozen=True)
class Settings:
    """How long and how often. All scenarios keep to these, so that a run is bounded."""

    rounds: int
    seconds: float
    rate: int
    quick: bool
    before: Path | None = None  # another checkout of the gateway, to compare with

    def pick(self, quick: float, full: float) -> float:
        """A size for this kind of run."""
        return quick if self.quick else full


class Proxy:
    """A started proxy: the gateway or a peer."""

    def __init__(
        self,
        name: str,
        port: int,
        process: Process,
        configuration: Configuration | None = None,
        protocols: Protocols = PLAIN,
    ) -> None:
        self.name = name
        self.port = port
        self.process = process
        self.protocols = protocols
        self._configuration = configuration

    @property
    def is_peer(self) -> bool:
        """Whether it is something else than the gateway."""
        return self._configuration is None

    @property
    def configuration(self) -> Configuration:
        """The gateway's configuration. Peers have none that could be changed."""
        assert self._configuration is not None
        return self._configuration

    def cpu(self) -> float:
        """CPU seconds of the whole tree so far."""
        return cpu_seconds(self.process.pid)

    def user(self) -> float:
        """The part of it that was not spent in the kernel."""
        return cpu_times(self.process.pid)[0]

    def pss(self) -> int:
        """Memory of the whole tree now, in bytes."""
        return pss_bytes(self.process.pid)

    def check(self, workdir: Path, path: str) -> None:
        """The answer to ``path`` must be the origin's, byte by byte. Raises :class:`BenchError`."""
        if self.protocols.grpc:
            self._check_call(workdir, path)
            return
        if self.protocols.plain:
            status, body = fetch(self.port, path)
        else:
            answer = ask(self.port, path, self.protocols, workdir)
            status, body = answer.status, answer.body
            if answer.version != ("2" if self.protocols.http2 else "1.1"):
                raise BenchError(f"{self.name}: {path} was answered in HTTP/{answer.version}")
        expected = body_of(path, workdir)
        if status != 200 or body != expected:
            raise BenchError(
                f"{self.name}: {path} answered {status} with {len(body)} bytes, not 200 with the origin's "
                f"{len(expected)}: {body[:200]!r}"
            )

    def _check_call(self, workdir: Path, path: str) -> None:
        answer = ask(self.port, path, self.protocols, workdir, CALL)
        status = answer.fields.get("grpc-status")
        if answer.status != 200 or status != "0" or answer.body != ANSWER:
            raise BenchError(
                f"{self.name}: the call was answered {answer.status} with {len(answer.body)} bytes and grpc-status "
                f"{status}, not 200 with the origin's {len(ANSWER)} and 0: {answer.body[:200]!r}"
            )

    def answers(self, workdir: Path) -> bool:
        """Whether it answers now, in the protocols it was started for."""
        if self.protocols.plain:
            return answers(self.port, "/")
        try:
            return ask(self.port, "/", self.protocols, workdir, CALL if self.protocols.grpc else b"").status == 200
        except OSError:
            return False


class Bench:
    """The surroundings of one run. Made by :func:`opened`."""

    def __init__(self, launcher: Launcher, settings: Settings, peers: list[Peer], say: Callable[[str], None]) -> None:
        self.launcher = launcher
        self.settings = settings
        self.peers = peers
        self.say = say
        self.workdir = launcher.workdir
        cores = sorted(os.sched_getaffinity(0))
        #: Load generator and origin; the proxy under test has the other core for itself.
        self.load_core, self.proxy_core = cores[0], cores[-1]
        self.cores = cores
        self.open_files = _raise_open_files()
        self.origin = Origin(launcher, self.load_core, self.open_files)
        self._count = 0
        self._grpc_origin: int | None = None

    def setup(self, **changes: Any) -> Setup:
        """A gateway configuration: the plain proxy, changed."""
        protocols = changes.get("protocols", PLAIN)
        return Setup(origin=self.origin_port(protocols), open_files=self.open_files, **changes)

    def origin_port(self, protocols: Protocols) -> int:
        """Where the origin is that speaks what is wanted there. That for gRPC is started when it is first needed."""
        if not protocols.grpc:
            return self.origin.port
        if self._grpc_origin is None:
            command = [sys.executable, "-m", "benchmarks.macro.grpc_origin"]
            process = self.launcher.start("grpc-origin", command, [self.load_core], {"PYTHONPATH": str(ROOT)})
            wait_until("the gRPC origin", lambda: process.log.read_text().endswith("\n"), process)
            self._grpc_origin = int(process.log.read_text())
        return self._grpc_origin

    @cached_property
    def pair(self) -> Pair:
        """The certificate for everybody, made when it is first needed."""
        return make_pair(self.workdir)

    @contextmanager
    def gateway(self, setup: Setup, *, name: str = GATEWAY, spread: bool = False) -> Iterator[Proxy]:
        """The gateway, serving ``setup`` on the proxy's core (on all cores with ``spread``)."""
        self._count += 1
        configuration = Configuration(setup, self.workdir / f"gateway-{self._count}.yaml")
        cores = self.cores if spread else [self.proxy_core]
        environ = {"PYTHONPATH": str(setup.source / "src")} if setup.source else None
        process = self.launcher.start(f"gateway-{self._count}", configuration.command(), cores, environ)
        proxy = Proxy(name, configuration.port, process, configuration, setup.protocols)
        try:
            wait_until(name, lambda: proxy.answers(self.workdir), process, 60.0)
            yield proxy
        finally:
            self.launcher.stop(process)

    @contextmanager
    def peer(self, peer: Peer, protocols: Protocols) -> Iterator[Proxy]:
        """A peer, serving on the proxy's core."""
        task = Task(self.workdir, free_port(), self.origin_port(protocols), self.open_files, protocols)
        process = self.launcher.start(peer.name, peer.command(task), [self.proxy_core], peer.environ)
        proxy = Proxy(peer.name, task.port, process, protocols=protocols)
        try:
            wait_until(peer.name, lambda: proxy.answers(self.workdir), process)
            yield proxy
        finally:
            self.launcher.stop(process)

    def named(self, *names: str) -> list[Peer]:
        """Those of the chosen peers that have one of these names."""
        return [peer for peer in self.peers if peer.name in names]

    def python(
        self, module: str, *arguments: str, environ: Mapping[str, str] | None = None, timeout: float = 120.0
    ) -> dict[str, Any]:
        """Run a module of the benchmark on the load core; its output is one JSON object."""
        command = ["taskset", "-c", str(self.load_core), sys.executable, "-m", f"benchmarks.macro.{module}", *arguments]
        done = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, **(environ or {})},
        )
        if done.returncode:
            raise BenchError(f"{module} failed: {done.stderr.strip()[-500:]}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def _raise_open_files() -> int:
    """Raise the limit of open files for this process and all it starts; returns the new one."""
    wanted = 65_536
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
    except (ValueError, PermissionError):  # only some may go above the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


@contextmanager
def opened(settings: Settings, peers: list[Peer], say: Callable[[str], None]) -> Iterator[Bench]:
    """A work directory and the origin; whatever runs is stopped and everything is removed at the end."""
    if len(os.sched_getaffinity(0)) < 2:
        raise BenchError("two processor cores are needed: one for the proxy, one for load generator and origin")
    with (
        tempfile.TemporaryDirectory(prefix="gatewright-bench-") as directory,
        Launcher(Path(directory)) as launcher,
    ):
        yield Bench(launcher, settings, peers, say)


def pause(seconds: float) -> None:
    """Let things settle; never a substitute for waiting for an event."""
    time.sleep(seconds)
