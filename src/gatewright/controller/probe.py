"""One active health check: connect, and for HTTP ask and read the status. No connection is kept."""

from __future__ import annotations

import asyncio
import os
import re

from gatewright.snapshot.model import ActiveHealth, Endpoint, Upstream

#: Longest head of an answer.
HEAD_LIMIT = 64 * 1024
#: Interim answers (1xx) that are skipped.
MOST_INTERIM = 8

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r\n")


class ProbeFailed(Exception):
    """The endpoint is not well; the message says why."""


async def probe(upstream: Upstream, endpoint: Endpoint, check: ActiveHealth) -> str:
    """Check an endpoint once. Returns what was seen (``status 200``, ``connected``).

    Raises:
        ProbeFailed: The check did not succeed within its time limit.
    """
    try:
        async with asyncio.timeout(check.timeout):
            return await _probe(upstream, endpoint, check)
    except TimeoutError:
        raise ProbeFailed(f"no answer within {check.timeout:g} s") from None
    except OSError as error:
        raise ProbeFailed(os.strerror(error.errno) if error.errno else str(error)) from error


async def _probe(upstream: Upstream, endpoint: Endpoint, check: ActiveHealth) -> str:
    if endpoint.host.startswith("/"):
        reader, writer = await asyncio.open_unix_connection(endpoint.host, limit=HEAD_LIMIT)
    else:
        reader, writer = await asyncio.open_connection(endpoint.host, check.port or endpoint.port, limit=HEAD_LIMIT)
    try:
        if check.type == "tcp":
            return "connected"
        writer.write(request(upstream, endpoint, check))
        status = await _read_status(reader)
        if not any(low <= status <= high for low, high in check.statuses):
            raise ProbeFailed(f"status {status}")
        return f"status {status}"
    finally:
        writer.transport.abort()  # nothing is waited for, not even by a server that never closes


async def _read_status(reader: asyncio.StreamReader) -> int:
    for _ in range(MOST_INTERIM):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise ProbeFailed(
                "closed before the end of the head" if error.partial else "closed without answer"
            ) from None
        except asyncio.LimitOverrunError:
            raise ProbeFailed("the head of the answer is too long") from None
        found = _STATUS_LINE.match(head)
        if found is None:
            raise ProbeFailed("the answer is not HTTP/1.1")
        status = int(found[1])
        if status >= 200 or status == 101:
            return status
    raise ProbeFailed("too many interim answers")


def request(upstream: Upstream, endpoint: Endpoint, check: ActiveHealth) -> bytes:
    """The request of an HTTP check."""
    headers = {
        "host": check.host or _host(upstream, endpoint),
        "user-agent": "gatewright-health",
        "accept": "*/*",
        "connection": "close",
    }
    body = check.body.encode()
    if body or check.method in {"POST", "PUT", "PATCH"}:
        headers["content-length"] = str(len(body))
    headers |= {name.lower(): value for name, value in check.headers.items()}
    lines = [f"{check.method} {check.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def _host(upstream: Upstream, endpoint: Endpoint) -> str:
    """What real traffic would send, as far as it is known."""
    if upstream.host not in {"preserve", "upstream"}:
        return upstream.host
    if endpoint.name:
        return endpoint.name
    if endpoint.host.startswith("/"):
        return "localhost"
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"{host}:{endpoint.port}"
