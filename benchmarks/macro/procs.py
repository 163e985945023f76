"""Processes under test: start them pinned, read their CPU time and memory, stop them for certain."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The benchmark cannot go on; the message tells the user why."""


def fields(pid: int) -> list[str]:
    """Fields of ``/proc/PID/stat`` from the third on (state, ppid, …); empty when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()  # the name may hold spaces and parentheses


def tree(root: int) -> list[int]:
    """``root`` and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (stat := fields(int(entry.name))):
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, ())
    return found


def cpu_times(root: int) -> tuple[float, float]:
    """User and system seconds of the process tree, including children that have ended and were waited for."""
    user = system = 0
    for pid in tree(root):
        stat = fields(pid)
        if stat:
            user += int(stat[11]) + int(stat[13])
            system += int(stat[12]) + int(stat[14])
    return user / TICKS, system / TICKS


def cpu_seconds(root: int) -> float:
    """User and system time of the process tree, added up."""
    return sum(cpu_times(root))


def stolen_seconds(core: int) -> float:
    """Time the host took a core away from this virtual machine: what makes a round worthless."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            return int(line.split()[8]) / TICKS
    return 0.0


def pss_bytes(root: int) -> int:
    """Proportional set size of the process tree: shared pages count once, divided among those who share them."""
    total = 0
    for pid in tree(root):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for line in rollup.splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def established(pid: int, port: int) -> int:
    """How many established TCP connections to its local ``port`` a process holds."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[3] == "01" and int(columns[1].rpartition(":")[2], 16) == port:
            inodes.add(f"socket:[{columns[9]}]")
    return sum(_link(entry) in inodes for entry in Path(f"/proc/{pid}/fd").iterdir())


def _link(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except FileNotFoundError:  # closed since the folder was read
        return ""


class Process:
    """A started program and its descendants."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.popen = popen
        self.log = log
        self._seen: set[int] = {popen.pid}

    @property
    def pid(self) -> int:
        """The root of the tree."""
        return self.popen.pid

    def pids(self) -> list[int]:
        """The living tree; remembered, so that nothing that was seen once outlives :meth:`stop`."""
        found = tree(self.pid)
        self._seen.update(found)
        return found

    def alive(self) -> bool:
        """Whether the root still runs."""
        return self.popen.poll() is None

    def tail(self, lines: int = 12) -> str:
        """The end of what it printed."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def stop(self, patience: float = 5.0) -> None:
        """TERM, wait, then KILL whatever of the tree is left. Safe to call twice."""
        if self.alive():
            self.pids()
            self.popen.terminate()
            try:
                self.popen.wait(patience)
            except subprocess.TimeoutExpired:
                self.pids()
                self.popen.kill()
                self.popen.wait()
        orphans = [pid for pid in self._seen - {self.pid} if self._ours(pid)]
        for pid in orphans:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        end = time.monotonic() + patience
        while any(self._ours(pid) for pid in orphans) and time.monotonic() < end:
            time.sleep(0.002)  # they are nobody's children here, so there is no waiting for them but looking

    def _ours(self, pid: int) -> bool:
        """Whether the process still runs. The number may be somebody else's by now: ours are in the root's session."""
        stat = fields(pid)
        return bool(stat) and stat[0] != "Z" and int(stat[3]) == self.pid


class Launcher:
    """Starts programs and stops all of them at the end. Use as a context manager."""

    def __init__(self, workdir: Path) -> None:
        self.workdir = workdir
        self._running: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        for process in reversed(self._running):  # a second Ctrl-C must not leave half of them behind
            process.stop()
        self._running.clear()
        for number, handler in before.items():
            signal.signal(number, handler)

    def start(
        self,
        name: str,
        command: Sequence[str],
        cores: Iterable[int],
        environ: Mapping[str, str] | None = None,
    ) -> Process:
        """Start ``command`` bound to ``cores``, in a session of its own; it dies when the benchmark dies."""
        log = self.workdir / f"{name}.log"
        pinned = ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", ",".join(map(str, cores)), *command]
        with log.open("ab") as output:
            popen = subprocess.Popen(
                pinned,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.workdir,
                env={**os.environ, **(environ or {})},
                start_new_session=True,
            )
        process = Process(name, popen, log)
        self._running.append(process)
        return process

    def stop(self, process: Process) -> None:
        """Stop one of them now."""
        process.stop()
        self._running.remove(process)


def wait_until(
    what: str,
    ready: Callable[[], bool],
    process: Process | None = None,
    seconds: float = 15.0,
    pause: float = 0.02,
) -> None:
    """Call ``ready`` until it answers true; raises :class:`BenchError` with the program's output when it does not."""
    end = time.monotonic() + seconds
    while not ready():
        if process is not None and not process.alive():
            raise BenchError(f"{what}: {process.name} ended with {process.popen.returncode}\n{process.tail()}")
        if time.monotonic() > end:
            raise BenchError(f"{what}: not within {seconds:.0f} s\n{process.tail() if process else ''}")
        time.sleep(pause)
