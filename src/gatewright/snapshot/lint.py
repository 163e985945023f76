"""Warnings: what works, but hardly as it was meant."""

from __future__ import annotations

from collections.abc import Mapping

from gatewright.config.document import Document
from gatewright.config.loader import Loaded
from gatewright.config.tree import Path
from gatewright.proxy.patterns import PathPattern
from gatewright.snapshot.model import SERVICE, Route, Snapshot
from gatewright.snapshot.shadows import Shadows
from gatewright.snapshot.upstream_tls import trusts_nobody

#: Policies that let nobody pass when no consumer has a credential of that kind.
_NEEDED = {"api_key": "an API key", "basic": "a password", "hmac": "a key for signatures"}


def lint(loaded: Loaded, snapshot: Snapshot, patterns: Mapping[str, PathPattern]) -> None:
    """Add warnings to the document. ``patterns`` are the paths of all routes, parsed."""
    document = loaded.document
    _unreachable_routes(document, loaded, snapshot, patterns)
    _unused_upstreams(document, snapshot)
    _authorities(document, snapshot)
    _consumers(document, loaded, snapshot)
    _listeners(document, loaded, snapshot)
    for (path, _), route in zip(loaded.routes, snapshot.routes, strict=True):
        _prefix(document, route, path)
    if not snapshot.routes and not document.data.get("routes"):
        _warn(document, "lint.no_routes", "there are no routes: every request is answered with 404", ())


def _warn(document: Document, code: str, message: str, path: Path, hint: str = "", related: str = "") -> None:
    notes = [related] if related else None
    document.problem(code, message, path, hint=hint, severity="warning", related=notes)


def _unreachable_routes(
    document: Document, loaded: Loaded, snapshot: Snapshot, patterns: Mapping[str, PathPattern]
) -> None:
    for route, by, path in Shadows(snapshot.routes, patterns).find():
        place, name = loaded.routes[route][0], snapshot.routes[route].name
        other = snapshot.routes[by]
        where = f"'{other.name}' is at {document.node((*loaded.routes[by][0], 'name')).place()}"
        why = "has a higher priority" if other.priority > snapshot.routes[route].priority else "stands before it"
        if path is None:
            message = f"the route '{name}' is never reached: '{other.name}' takes all of its requests and {why}"
            _warn(document, "lint.unreachable", message, (*place, "name"), related=where)
        else:
            message = f"the path {snapshot.routes[route].match.paths[path]} is never reached here: '{other.name}' {why}"
            _warn(document, "lint.unreachable", message, (*place, "match", "paths", path), related=where)


def _unused_upstreams(document: Document, snapshot: Snapshot) -> None:
    failover = {upstream.name: upstream.failover for upstream in snapshot.upstreams}
    used: set[str] = set()
    waiting = [split.upstream for route in snapshot.routes for split in route.to]
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            following = failover.get(name)
            if following is not None:
                waiting.append(following)
    for upstream in snapshot.upstreams:
        if upstream.name not in used and not upstream.name.startswith(SERVICE):
            message = f"no route leads to the upstream '{upstream.name}'"
            path: Path = ("upstreams", upstream.name)
            document.problem("lint.unused_upstream", message, path, key=True, severity="warning")


def _authorities(document: Document, snapshot: Snapshot) -> None:
    """Where the system trusts nobody, no certificate can be verified with its trust."""
    for upstream in snapshot.upstreams:
        if upstream.tls is not None and upstream.tls.verify and not upstream.tls.ca and trusts_nobody():
            message = "this machine has no certificates of authorities: what the endpoints show cannot be verified"
            hint = "install the package ca-certificates, or write tls: {ca: FILE}"
            service = upstream.name.startswith(SERVICE)
            path: Path = () if service else ("upstreams", upstream.name, "endpoints")
            _warn(document, "lint.certificate", f"{upstream.name}: {message}" if service else message, path, hint)


def _consumers(document: Document, loaded: Loaded, snapshot: Snapshot) -> None:
    for path, consumer in loaded.consumers:
        if not consumer.credentials:
            message = f"the consumer '{consumer.name}' has no credentials, so nobody can be it"
            _warn(document, "lint.no_credentials", message, path)
    kinds = {credential.kind for consumer in snapshot.consumers for credential in consumer.credentials}
    for (path, _), route in zip(loaded.routes, snapshot.routes, strict=True):
        for spec in route.policies:
            what = _NEEDED.get(spec.type)
            if what is not None and spec.type not in kinds and not spec.config.get("optional"):
                message = f"no consumer has {what}, so the route '{route.name}' refuses every request"
                _warn(document, "lint.no_consumers", message, (*path, "name"))


def _listeners(document: Document, loaded: Loaded, snapshot: Snapshot) -> None:
    for path, listener in loaded.listeners:
        if snapshot.routes and not any(
            not route.listeners or listener.name in route.listeners for route in snapshot.routes
        ):
            message = f"no route is for the listener '{listener.name}': every request is answered with 404"
            _warn(document, "lint.no_routes", message, (*path, "name"))


def _prefix(document: Document, route: Route, path: Path) -> None:
    """A prefix that the route's paths do not have is never taken off."""
    if route.rewrite is None or route.rewrite.strip_prefix is None:
        return
    prefix = route.rewrite.strip_prefix.rstrip("/")
    for pattern in route.match.paths:
        if (
            not pattern.startswith("~")
            and not f"{pattern}/".startswith(f"{prefix}/")
            and "{" not in pattern[: len(prefix)]
        ):
            message = f"the path {pattern} does not begin with {prefix}"
            _warn(document, "lint.prefix", message, (*path, "rewrite", "strip_prefix"))
