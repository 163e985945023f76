"""HAProxy."""

from __future__ import annotations

from benchmarks.macro.peers.base import Peer, Task
from benchmarks.macro.protocols import CIPHER

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
    bind 127.0.0.1:{port} backlog 16384{bind}
    http-request set-header X-Forwarded-Proto {scheme}
    default_backend origin
backend origin
    server origin 127.0.0.1:{origin}{server} pool-max-conn {connections} pool-purge-delay 600s
"""


class HAProxy(Peer):
    """One process, one thread."""

    name = "haproxy"
    debian = "haproxy"

    def version_command(self) -> list[str]:
        return ["-v"]

    def command(self, task: Task) -> list[str]:
        config = task.workdir / "haproxy.cfg"
        spoken = task.protocols
        bind = " proto h2" if spoken.http2 else ""
        if spoken.tls:
            bind = f" ssl crt {spoken.tls.together} alpn h2,http/1.1 ssl-min-ver TLSv1.2"
            bind += f" ciphers {CIPHER} curves X25519:P-256"
        config.write_text(
            _CONFIG.format(
                port=task.port,
                origin=task.origin,
                connections=task.connections,
                bind=bind,
                scheme=spoken.scheme,
                server=" proto h2" if spoken.grpc else "",
            )
        )
        return [str(self.program()), "-db", "-f", str(config)]
