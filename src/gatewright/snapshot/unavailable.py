"""What the language knows and this version does not do yet. Refused with its place, so that nothing is ignored.

A line goes when its feature comes.
"""

from __future__ import annotations

from gatewright.config.document import Document
from gatewright.config.gateway import Gateway
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


def refuse_in_upstream(document: Document, upstream: Upstream, path: Path) -> None:
    """What upstreams cannot do yet."""
    if upstream.balance.algorithm == "geo":
        names = "round_robin, weighted, least_connections, p2c, random, ewma or {hash: …}"
        _refuse(document, "the balance geo", (*path, "balance"), f"write {names}")
