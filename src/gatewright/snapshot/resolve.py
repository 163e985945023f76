"""Models → snapshot: references followed, defaults filled, rules checked that concern more than one key."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final

import msgspec

from gatewright.config.base import Address, split_bind
from gatewright.config.consumer import Consumer
from gatewright.config.document import Document
from gatewright.config.gateway import AccessLog, Admin
from gatewright.config.listener import Listener
from gatewright.config.loader import Loaded
from gatewright.config.tree import Path
from gatewright.plugins.registry import Registry
from gatewright.proxy.patterns import PathPattern
from gatewright.snapshot import model
from gatewright.snapshot.credentials import Consumers
from gatewright.snapshot.listener_tls import TlsListeners
from gatewright.snapshot.policies import Policies
from gatewright.snapshot.routes import Routes
from gatewright.snapshot.unavailable import refuse_in_settings
from gatewright.snapshot.upstreams import Upstreams

CGROUP: Final = FilePath("/sys/fs/cgroup")
_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(slots=True)
class Resolved:
    """A snapshot, the host names whose addresses it needs, and the paths of its routes, parsed."""

    snapshot: model.Snapshot
    hosts: set[str]
    patterns: dict[str, PathPattern]


def resolve(
    loaded: Loaded,
    registry: Registry,
    *,
    plugins: Sequence[str] = (),
    addresses: Mapping[str, Sequence[str]] | None = None,
    version: int = 1,
) -> Resolved:
    """Resolve everything.

    Problems go to ``loaded.document``; with an error among them the snapshot is not fit for use. ``plugins`` are the
    configured ones with their files' whole paths; ``addresses`` gives the addresses of host names.
    """
    document, settings = loaded.document, loaded.settings
    refuse_in_settings(document, settings)
    listeners = _listeners(document, loaded.listeners, loaded.files)
    consumers = _consumers(document, loaded.consumers)
    upstreams = Upstreams(document, addresses or {}, loaded.files)
    policies = Policies(document, registry, loaded.files, upstreams)
    policies.set_global(loaded.policies)
    _unique_names(document, loaded.routes, "route")
    routes = Routes(document, policies, loaded.upstreams, loaded.names)
    named = upstreams.resolve(loaded.upstreams, loaded.names["upstreams"])
    resolved = routes.resolve(loaded.routes)
    snapshot = model.Snapshot(
        version=version,
        workers=settings.workers or processors(),
        drain_timeout=settings.drain_timeout,
        listeners=listeners,
        upstreams=named + tuple(policies.services.values()),
        routes=resolved,
        consumers=consumers,
        policies=policies.for_all(),
        plugins=tuple(plugins),
        access_log=_access_log(document, settings.telemetry.access_log),
        admin=_admin(document, settings.admin),
        max_rate_keys=settings.state.max_keys,
        max_metric_series=settings.telemetry.metrics.max_series,
        metadata=settings.metadata | _plugins_digest(registry),
    )
    _check_binds(document, loaded.listeners, settings.admin)
    digest = _digest(msgspec.structs.replace(snapshot, version=0))
    return Resolved(msgspec.structs.replace(snapshot, digest=digest), upstreams.hosts, routes.patterns)


def _digest(value: object) -> str:
    return hashlib.sha256(_encode(value)).hexdigest()


def _plugins_digest(registry: Registry) -> dict[str, str]:
    """Tells workers that plugins' code has changed, though not a word of the configuration has."""
    if not registry.files:
        return {}
    digest = hashlib.sha256()
    for file in sorted(set(registry.files)):
        try:
            digest.update(file.read_bytes())
        except OSError:
            digest.update(str(file).encode("utf-8", "surrogateescape"))  # gone since it was loaded
    return {"plugins_digest": digest.hexdigest()}


def _unique_names(document: Document, items: Iterable[tuple[Path, Any]], what: str) -> None:
    seen: dict[str, Path] = {}
    for path, item in items:
        first = seen.setdefault(item.name, path)
        if first is not path:
            document.problem(
                "config.duplicate",
                f"there is another {what} with the name '{item.name}'",
                (*path, "name"),
                related=[f"the first is at {document.node((*first, 'name')).place()}"],
            )


# --- listeners ----------------------------------------------------------------------------------------------------


def _listeners(
    document: Document, listeners: list[tuple[Path, Listener]], files: list[FilePath]
) -> tuple[model.Listener, ...]:
    _unique_names(document, listeners, "listener")
    if not listeners and not document.data.get("listeners"):
        hint = "listeners: [{name: public, bind: 127.0.0.1:8000}]"
        document.problem("config.missing_key", "there is no listener", (), hint=hint)
    tls = TlsListeners(document, files)
    found = []
    for path, listener in listeners:
        found.append(
            model.Listener(
                name=listener.name,
                bind=_bind(document, listener.bind, (*path, "bind")),
                protocols=listener.protocols or (("http1", "h2c") if listener.tls is None else ("http1", "h2")),
                trusted_proxies=listener.trusted_proxies,
                proxy_protocol=listener.proxy_protocol,
                limits=model.Limits(**listener.limits.model_dump()),
                tls=tls.resolve(listener, path),
            )
        )
    return tuple(found)


def _bind(document: Document, bind: str, path: Path) -> str:
    """The address, with the path of a unix socket made absolute."""
    if not bind.startswith("unix:"):
        return bind
    return f"unix:{(document.base(path) / bind[5:]).absolute()}"


def _check_binds(document: Document, listeners: list[tuple[Path, Listener]], admin: Admin | None) -> None:
    """Two listeners cannot have one address; one on every address takes the port from all others."""
    binds = [((*path, "bind"), listener.bind) for path, listener in listeners]
    if admin is not None:
        binds.append((("admin", "bind"), admin.bind))
    seen: list[tuple[Path, Address]] = []
    for path, bind in binds:
        address = split_bind(bind)
        clash = next((other for other in seen if _clash(address, other[1])), None)
        if clash is not None and document.node(path) is not document.node(clash[0]):
            where = document.node(clash[0]).place()
            message = f"the address {bind} is already taken"
            document.problem("config.bind", message, path, related=[f"by the one at {where}"])
        seen.append((path, address))


def _clash(one: Address, other: Address) -> bool:
    if one.port != other.port or one.port == 0:
        return False
    if one.host == other.host or one.port == -1:
        return one.host == other.host
    wide = {"0.0.0.0": ".", "::": ":"}  # noqa: S104 - only compared, never bound here
    return any(mark in second.host for first, second in ((one, other), (other, one)) if (mark := wide.get(first.host)))


# --- consumers ----------------------------------------------------------------------------------------------------


def _consumers(document: Document, consumers: list[tuple[Path, Consumer]]) -> tuple[model.Consumer, ...]:
    _unique_names(document, consumers, "consumer")
    resolver = Consumers(document)
    return tuple(resolver.resolve(consumer, path) for path, consumer in consumers)


# --- the rest -----------------------------------------------------------------------------------------------------


def _access_log(document: Document, log: AccessLog) -> model.AccessLog:
    path: Path = ("telemetry", "access_log")
    to = log.to
    if to not in ("stdout", "stderr", "off"):
        to = str((document.base((*path, "to")) / to).absolute())
    elif log.rotate.model_fields_set:
        document.problem("config.conflict", f"'rotate' needs a file, not {to}", (*path, "rotate"), key=True)
    return model.AccessLog(
        format=log.format,
        to=to,
        sample=log.sample,
        max_bytes=log.rotate.size,
        max_age=log.rotate.age,
        keep=log.rotate.keep,
        redact=log.redact,
    )


def _admin(document: Document, admin: Admin | None) -> model.Admin | None:
    if admin is None:
        return None
    address = split_bind(admin.bind)
    if not admin.token and address.port != -1 and not ipaddress.ip_address(address.host).is_loopback:
        message = "without a token the admin listener may only be bound to a loopback address"
        hint = "give it a token: ${env:GATEWRIGHT_ADMIN_TOKEN}, or bind it to 127.0.0.1"
        document.problem("config.admin", message, ("admin", "bind"), hint=hint)
    return model.Admin(_bind(document, admin.bind, ("admin", "bind")), admin.token)


def processors(cgroup: FilePath = CGROUP) -> int:
    """The processors this process may use: affinity, and the quota of its control group, rounded up."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (cgroup / "cpu.max").read_text("ascii").split()
        if quota != "max":
            count = min(count, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # not Linux, or no quota
    return max(1, count)
