"""The few client calls the benchmark itself makes: checks and waits, never measurements."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping

#: What a browser or a service sends along: ten fields with Host, the same for every peer.
HEADERS = {
    "Host": "api.example.com",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
    "Accept": "application/json, text/plain;q=0.9, */*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
    "Cache-Control": "no-cache",
    "Cookie": "session=2f8c1b0e7d5a49c3; theme=dark",
    "Referer": "https://app.example.com/orders?page=3",
    "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "X-Api-Key": "acme-secret-key",
}


def free_port() -> int:
    """A port of 127.0.0.1 that is free right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(port: int, path: str, headers: Mapping[str, str] | None = None, timeout: float = 10.0) -> tuple[int, bytes]:
    """GET ``path`` on a new connection: status and body. Raises OSError or HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers={**HEADERS, **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def answers(port: int, path: str, status: int = 200) -> bool:
    """Whether ``path`` is answered with ``status`` now."""
    try:
        return fetch(port, path, timeout=2.0)[0] == status
    except (OSError, http.client.HTTPException):
        return False
