"""What the language knows and this version does not do yet. Refused with its place, so that nothing is ignored.

A line goes when its feature comes.
"""

from __future__ import annotations

from gatewright.config.document import Document
from gatewright.config.gateway import Gateway
from gatewright.config.listener import Listener
from gatewright.config.tree import Path
from gatewright.config.upstream import Upstream


def _refuse(document: Document, what: str, path: Path, hint: str = "") -> None:
    document.problem("config.unavailable", f"not available in this version: {what}", path, key=True, hint=hint)


def refuse_in_settings(document: Document, settings: Gateway) -> None:
    """Everything outside of listeners, upstreams, consumers and routes."""
    if settings.state.url != "memory":
        _refuse(document, "counters outside of this machine", ("state",), "write memory, or leave it out")
    if settings.store is not None:
        _refuse(document, "a store for consumers, versions and the audit log", ("store",), "leave it out")
    if settings.telemetry.tracing is not None:
        _refuse(document, "tracing", ("telemetry", "tracing"), "leave it out")


def refuse_in_listener(document: Document, listener: Listener, path: Path) -> None:
    """TLS termination."""
    if listener.tls is not None:
        _refuse(document, "TLS listeners", (*path, "tls"))


def refuse_in_upstream(document: Document, upstream: Upstream, path: Path) -> None:
    """HTTP/2 and gRPC towards endpoints, and what needs them."""
    if upstream.protocol != "http1":
        _refuse(document, f"the upstream protocol {upstream.protocol}", (*path, "protocol"), "write http1")
    if upstream.balance.algorithm == "geo":
        names = "round_robin, weighted, least_connections, p2c, random, ewma or {hash: …}"
        _refuse(document, "the balance geo", (*path, "balance"), f"write {names}")
    if upstream.health.active is not None and upstream.health.active.type == "grpc":
        _refuse(document, "health checks by gRPC", (*path, "health", "active", "type"), "write http or tcp")
