"""nginx."""

from __future__ import annotations

from benchmarks.macro.peers.base import Peer, Task
from benchmarks.macro.protocols import CIPHER

_CONFIG = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
error_log {root}/nginx-error.log error;
pid {root}/nginx.pid;
events {{ worker_connections {files}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_max_body_size 0;
    client_body_temp_path {root}/nginx-body;
    proxy_temp_path {root}/nginx-proxy;
    fastcgi_temp_path {root}/nginx-fastcgi;
    uwsgi_temp_path {root}/nginx-uwsgi;
    scgi_temp_path {root}/nginx-scgi;
    upstream origin {{
        server 127.0.0.1:{origin};
        keepalive {connections};
        keepalive_requests 1000000000;
        keepalive_timeout 600s;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=16384{listen};
{tls}        location / {{
{location}        }}
    }}
}}
"""

_PROXY = """\
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            # Stream: nothing goes through temporary files on the disk.
            proxy_max_temp_file_size 0;
            proxy_request_buffering off;
"""
_GRPC = """\
            grpc_pass grpc://origin;
            grpc_set_header Host $host;
            grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            grpc_set_header X-Forwarded-Proto $scheme;
"""
_TLS = """\
        ssl_certificate {cert};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ciphers {cipher};
        ssl_ecdh_curve X25519:prime256v1;
        ssl_session_tickets on;
"""


class Nginx(Peer):
    """One worker process under its master."""

    name = "nginx"
    debian = "nginx-light"

    def version_command(self) -> list[str]:
        return ["-v"]

    def command(self, task: Task) -> list[str]:
        config = task.workdir / "nginx.conf"
        spoken = task.protocols
        config.write_text(
            _CONFIG.format(
                root=task.workdir,
                port=task.port,
                origin=task.origin,
                files=task.open_files,
                connections=task.connections,
                listen=f"{' ssl' if spoken.tls else ''}{' http2' if spoken.http2 else ''}",
                tls=_TLS.format(cert=spoken.tls.cert, key=spoken.tls.key, cipher=CIPHER) if spoken.tls else "",
                location=_GRPC if spoken.grpc else _PROXY,
            )
        )
        return [str(self.program()), "-p", str(task.workdir), "-c", str(config)]
