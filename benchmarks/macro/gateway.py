"""The gateway under test: its configurations, and a started instance."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.macro.client import free_port
from benchmarks.macro.protocols import PLAIN, Protocols

#: The C one where PyYAML was built with it: ten thousand routes are a long file.
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

Policies = list[dict[str, dict[str, Any]]]

#: The policies of the ``full`` scenario; limits so high that nothing is ever refused, but everything is counted.
FULL: Policies = [
    {"api_key": {"header": "x-api-key"}},
    {"rate_limit": {"limit": "10000000/s", "burst": 10_000_000, "by": "consumer"}},
]


@dataclass
class Setup:
    """A configuration to be written. The defaults are the plain reverse proxy that the peers are."""

    origin: int
    open_files: int
    workers: int = 1
    policies: Policies = field(default_factory=list)
    access_log: str = "off"
    routes: list[dict[str, Any]] = field(default_factory=list)  # before the route that takes everything
    plugins: list[str] = field(default_factory=list)
    extra_upstreams: dict[str, Any] = field(default_factory=dict)
    protocols: Protocols = PLAIN
    source: Path | None = None  # the checkout to run; None for the installed gateway

    def document(self, port: int, admin: int) -> dict[str, Any]:
        """The configuration as data."""
        connections = self.open_files // 2 - 64
        return {
            "version": 1,
            "workers": self.workers,
            "listeners": [
                {
                    "name": "public",
                    "bind": f"127.0.0.1:{port}",
                    "limits": {"connections": self.open_files, "idle_timeout": "600s"},
                    **self._tls(),
                }
            ],
            "upstreams": {
                "origin": {
                    **({"protocol": "grpc"} if self.protocols.grpc else {}),
                    "endpoints": [f"http://127.0.0.1:{self.origin}"],
                    "pool": {"max_connections": connections, "max_idle": connections, "idle_timeout": "600s"},
                },
                **self.extra_upstreams,
            },
            "consumers": [{"name": "acme", "credentials": [{"api_key": "acme-secret-key"}]}],
            "routes": [
                *self.routes,
                {"name": "everything", "match": {"paths": ["/*"]}, "to": "origin", "policies": self.policies},
            ],
            "plugins": self.plugins,
            "admin": {"bind": f"127.0.0.1:{admin}"},
            "telemetry": {"access_log": {"format": "json", "to": self.access_log}},
        }

    def _tls(self) -> dict[str, Any]:
        pair = self.protocols.tls
        return {"tls": {"certificates": [{"cert": str(pair.cert), "key": str(pair.key)}]}} if pair else {}


class Configuration:
    """The file of one instance; :meth:`write` replaces it in one step, as an editor or a deployment would."""

    def __init__(self, setup: Setup, path: Path) -> None:
        self.setup = setup
        self.path = path
        self.port = free_port()
        self.admin = free_port()
        self.write()

    def write(self) -> None:
        """Write the file anew from :attr:`setup`."""
        part = self.path.with_suffix(".part")
        document = self.setup.document(self.port, self.admin)
        part.write_text(yaml.dump(document, Dumper=_Dumper, sort_keys=False))
        part.replace(self.path)

    def command(self) -> list[str]:
        """The command that serves it."""
        return [sys.executable, "-m", "gatewright", "run", "-c", str(self.path)]


def reload(pid: int) -> None:
    """Ask the supervisor to read its configuration again."""
    os.kill(pid, signal.SIGHUP)
