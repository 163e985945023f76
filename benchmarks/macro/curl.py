"""Checks with curl, for what Python's own client does not speak: HTTP/2, and answers with trailers."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.macro.client import HEADERS
from benchmarks.macro.protocols import HOST, Protocols


@dataclass(frozen=True)
class Answer:
    """``version`` as curl says it ("1.1", "2"); ``fields`` are those of the head and of the trailers, in lower case."""

    version: str
    status: int
    body: bytes
    fields: dict[str, str]


def ask(port: int, path: str, protocols: Protocols, folder: Path, message: bytes = b"") -> Answer:
    """One request on a new connection: GET, or a gRPC call with the ``message``.

    Raises OSError when there is no answer.
    """
    command = ["curl", "--silent", "--show-error", "--max-time", "10", "--connect-to", f"::127.0.0.1:{port}"]
    fields, body = folder / "curl-fields", folder / "curl-body"
    command += ["--dump-header", str(fields), "--output", str(body), "--write-out", "%{http_version} %{http_code}"]
    if protocols.tls:
        command += ["--cacert", str(protocols.tls.cert), "--http2" if protocols.http2 else "--http1.1"]
    else:
        command += ["--http2-prior-knowledge" if protocols.http2 else "--http1.1"]
    sent = dict(HEADERS)
    if message:
        sent = {"Content-Type": "application/grpc", "TE": "trailers"}
        (folder / "curl-message").write_bytes(message)
        command += ["--data-binary", f"@{folder / 'curl-message'}"]
    command += [part for name, value in sent.items() if name != "Host" for part in ("--header", f"{name}: {value}")]
    command += [f"{protocols.scheme}://{HOST}{path}"]
    for file in (fields, body):
        file.unlink(missing_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip() or f"curl ended with {done.returncode}")
    version, status = done.stdout.split()
    lines = (line.partition(":") for line in fields.read_text().splitlines()[1:])
    return Answer(
        version,
        int(status),
        body.read_bytes() if body.exists() else b"",
        {name.lower(): value.strip() for name, colon, value in lines if colon},
    )
