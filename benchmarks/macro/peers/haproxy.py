"""HAProxy."""

from __future__ import annotations

from benchmarks.macro.peers.base import Peer, Task

_CONFIG = """\
global
    nbthread 1
    maxconn {connections}
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
    option forwardfor
    http-reuse always
    no log
frontend public
    bind 127.0.0.1:{port} backlog 16384
    http-request set-header X-Forwarded-Proto http
    default_backend origin
backend origin
    server origin 127.0.0.1:{origin} pool-max-conn {connections} pool-purge-delay 600s
"""


class HAProxy(Peer):
    """One process, one thread."""

    name = "haproxy"
    debian = "haproxy"

    def version_command(self) -> list[str]:
        return ["-v"]

    def command(self, task: Task) -> list[str]:
        config = task.workdir / "haproxy.cfg"
        config.write_text(_CONFIG.format(port=task.port, origin=task.origin, connections=task.connections))
        return [str(self.program()), "-db", "-f", str(config)]
