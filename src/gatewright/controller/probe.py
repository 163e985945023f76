"""One active health check: connect, with TLS where real traffic does, ask and read the status. No connection is kept.

TLS sessions are not resumed: a resumed one would not show that a certificate has expired meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import re
from functools import lru_cache

from gatewright.snapshot.model import ActiveHealth, Endpoint, Upstream, UpstreamTls
from gatewright.tls.client import ClientContext, ClientTls, TlsFailure, client_context, failure_of, name_of

#: Longest head of an answer.
HEAD_LIMIT = 64 * 1024
#: Interim answers (1xx) that are skipped.
MOST_INTERIM = 8
#: Settings of TLS that are kept ready.
MOST_CONTEXTS = 64

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r\n")


class ProbeFailed(Exception):
    """The endpoint is not well; the message says why."""


async def probe(upstream: Upstream, endpoint: Endpoint, check: ActiveHealth) -> str:
    """Check an endpoint once. Returns what was seen (``status 200``, ``connected``, ``SERVING``).

    Raises:
        ProbeFailed: The check did not succeed within its time limit.
    """
    try:
        async with asyncio.timeout(check.timeout):
            return await _probe(upstream, endpoint, check)
    except TimeoutError:
        raise ProbeFailed(f"no answer within {check.timeout:g} s") from None
    except TlsFailure as failure:
        raise ProbeFailed(f"no secure connection: {failure}") from failure
    except OSError as error:
        failed = failure_of(error)
        if failed is not None:
            raise ProbeFailed(f"no secure connection: {failed}") from error
        raise ProbeFailed(os.strerror(error.errno) if error.errno else str(error) or "closed too early") from error


async def _probe(upstream: Upstream, endpoint: Endpoint, check: ActiveHealth) -> str:
    reader, writer = await _connect(upstream, endpoint, check)
    try:
        if check.type == "tcp":
            return "connected"
        if upstream.protocol != "http1":
            # Not at the top: what it needs is loaded where such an upstream is checked, and nowhere else.
            from gatewright.controller import probe_h2  # noqa: PLC0415

            if check.type == "grpc":
                return await probe_h2.ask_grpc(reader, writer, upstream, endpoint, check)
            status = await probe_h2.ask(reader, writer, upstream, endpoint, check)
        else:
            writer.write(request(upstream, endpoint, check))
            status = await _read_status(reader)
        if not any(low <= status <= high for low, high in check.statuses):
            raise ProbeFailed(f"status {status}")
        return f"status {status}"
    finally:
        writer.transport.abort()  # nothing is waited for, not even by a server that never closes


async def _connect(
    upstream: Upstream, endpoint: Endpoint, check: ActiveHealth
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection as real traffic would have it. Raises OSError or TlsFailure."""
    if endpoint.host.startswith("/"):
        return await asyncio.open_unix_connection(endpoint.host, limit=HEAD_LIMIT)
    port = check.port or endpoint.port
    if endpoint.scheme != "https" or upstream.tls is None:
        return await asyncio.open_connection(endpoint.host, port, limit=HEAD_LIMIT)
    context, name = _context(upstream.tls, upstream.protocol), name_of(upstream.tls, endpoint)
    reader, writer = await asyncio.open_connection(
        endpoint.host, port, limit=HEAD_LIMIT, ssl=context, server_hostname=name
    )
    try:
        ClientTls(context, name, upstream.name).begun(writer.get_extra_info("ssl_object"))
    except TlsFailure:
        writer.transport.abort()
        raise
    return reader, writer


@lru_cache(maxsize=MOST_CONTEXTS)
def _context(spec: UpstreamTls, protocol: str) -> ClientContext:
    return client_context(spec, protocol)


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
        "host": check.host or host_of(upstream, endpoint),
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


def host_of(upstream: Upstream, endpoint: Endpoint) -> str:
    """What real traffic would send, as far as it is known."""
    if upstream.host not in {"preserve", "upstream"}:
        return upstream.host
    if endpoint.name:
        return endpoint.name
    if endpoint.host.startswith("/"):
        return "localhost"
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"{host}:{endpoint.port}"
