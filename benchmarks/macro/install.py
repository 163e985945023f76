"""Set up what is missing: wrk and the peers, from packages only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.macro.peers import PEERS, Peer
from benchmarks.macro.procs import BenchError

#: Programs every run needs, with the Debian package that brings each.
NEEDED = {
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "curl": "curl",
    "nginx": "nginx-light",
    "taskset": "util-linux",
    "setpriv": "util-linux",
}
_PATH = "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/sbin:/bin"


def install(names: Iterable[str], venv: Path, say: Callable[[str], None]) -> list[Peer]:
    """Install what is missing and return the usable peers.

    A peer that cannot be installed is left out with a message; what the benchmark itself needs raises
    :class:`BenchError`.
    """
    peers = [PEERS[name](venv) for name in names]
    missing = {package for program, package in NEEDED.items() if not shutil.which(program, path=_PATH)}
    missing |= {peer.debian for peer in peers if peer.debian and peer.program() is None}
    if missing:
        _debian(sorted(missing), say)
    projects = [peer.pypi for peer in peers if peer.pypi and peer.program() is None]
    if projects:
        _pypi(projects, venv, say)
    for program, package in NEEDED.items():
        if not shutil.which(program, path=_PATH):
            raise BenchError(f"{program} is missing: install the package {package} and start again")
    for peer in peers:
        if peer.program() is None:
            say(f"{peer.name}: not installed, left out")
    return [peer for peer in peers if peer.program() is not None]


def _debian(packages: list[str], say: Callable[[str], None]) -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        say(f"not installed (needs root and apt-get): {', '.join(packages)}")
        return
    say(f"installing {', '.join(packages)}")
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            say(f"{' '.join(command[:2])} failed: {done.stderr.strip()[-300:]}")
            return


def _pypi(projects: list[str], venv: Path, say: Callable[[str], None]) -> None:
    say(f"installing {', '.join(projects)}")
    if not (venv / "bin" / "pip").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=120)
    for project in projects:  # one by one: a wheel that does not fit this machine must not cost the others
        done = subprocess.run(
            [str(venv / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", project],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode:
            say(f"{project}: {done.stderr.strip()[-300:]}")
