"""The origin everybody proxies to: nginx with fixed answers, one worker, on the load generator's core."""

from __future__ import annotations

from pathlib import Path

from benchmarks.macro.client import answers, free_port
from benchmarks.macro.procs import Launcher, Process, wait_until

#: What every scenario but ``bodies`` asks for: a small JSON document.
SMALL = (
    '{"id":42,"status":"shipped","customer":"acme","total":{"amount":"129.90","currency":"EUR"},'
    '"items":[{"sku":"GW-1001","quantity":2},{"sku":"GW-2044","quantity":1}],"updated":"2026-01-15T10:30:00Z"}'
)
#: Static files by name and size.
FILES = {"1k": 1024, "64k": 64 * 1024, "10m": 10 * 1024 * 1024}

_CONFIG = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
error_log {root}/origin-error.log error;
pid {root}/origin.pid;
events {{ worker_connections {files}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=100;
    client_max_body_size 0;
    client_body_buffer_size 4m;
    client_body_temp_path {root}/origin-body;
    proxy_temp_path {root}/origin-proxy;
    fastcgi_temp_path {root}/origin-fastcgi;
    uwsgi_temp_path {root}/origin-uwsgi;
    scgi_temp_path {root}/origin-scgi;
    server {{
        listen 127.0.0.1:{port} backlog=16384;
        default_type application/json;
        location / {{ return 200 '{small}'; }}
        location /files/ {{ alias {root}/files/; }}
        # The whole body is read before this second hop answers: an upload is an upload.
        location = /upload {{
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_pass http://127.0.0.1:{port}/uploaded;
        }}
    }}
}}
"""


class Origin:
    """The running origin."""

    def __init__(self, launcher: Launcher, core: int, open_files: int) -> None:
        root = launcher.workdir
        (root / "files").mkdir(exist_ok=True)
        for name, size in FILES.items():
            (root / "files" / name).write_bytes(pattern(size))
        self.port = free_port()
        config = root / "origin.conf"
        config.write_text(_CONFIG.format(root=root, port=self.port, small=SMALL, files=open_files))
        root.chmod(0o755)  # nginx gives up root and has to read the files
        self.process: Process = launcher.start("origin", ["nginx", "-p", str(root), "-c", str(config)], [core])
        wait_until("origin", lambda: answers(self.port, "/"), self.process)


def pattern(size: int) -> bytes:
    """Bytes that show when a piece is lost, doubled or moved: a counter every 16 bytes."""
    return b"".join(b"%015d\n" % i for i in range(0, size, 16))[:size]


def body_of(path: str, root: Path) -> bytes:
    """What the origin answers to ``path``."""
    return (root / path.lstrip("/")).read_bytes() if path.startswith("/files/") else SMALL.encode()
