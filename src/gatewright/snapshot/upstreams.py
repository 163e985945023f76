"""Upstreams of the configuration → upstreams of the snapshot."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Final

from gatewright.config import upstream as written
from gatewright.config.document import Document, suggestion
from gatewright.config.endpoint import EndpointUrl, parse_url
from gatewright.config.tree import Path
from gatewright.sdk.service import ServiceSpec, split_url
from gatewright.snapshot import model
from gatewright.snapshot.services import upstream_name
from gatewright.snapshot.unavailable import refuse_in_upstream
from gatewright.snapshot.upstream_tls import resolve_tls
from gatewright.tls.certificates import read_chain

#: Type of an active check → keys that it does not look at.
_MEANINGLESS: Final = {
    "http": frozenset({"service"}),
    "tcp": frozenset({"path", "method", "host", "headers", "body", "statuses", "service"}),
    "grpc": frozenset({"path", "method", "body", "statuses"}),
}


class Upstreams:
    """Resolves all upstreams and collects the names that must be looked up; what is read is added to ``files``."""

    def __init__(self, document: Document, addresses: Mapping[str, Sequence[str]], files: list[FilePath]) -> None:
        self._document = document
        self._addresses = addresses
        self._files = files
        self.hosts: set[str] = set()
        self._circles: set[str] = set()  # upstreams in a circle that has been reported

    def resolve(self, upstreams: Mapping[str, written.Upstream], names: set[str]) -> tuple[model.Upstream, ...]:
        """All upstreams; ``names`` are those that are written anywhere."""
        found = []
        for name, upstream in upstreams.items():
            path: Path = ("upstreams", name)
            refuse_in_upstream(self._document, upstream, path)
            self._check(upstream, path)
            self._check_failover(name, upstream, upstreams, names)
            found.append(self._one(name, upstream, path))
        return tuple(found)

    def _one(self, name: str, upstream: written.Upstream, path: Path) -> model.Upstream:
        return model.Upstream(
            name=name,
            endpoints=self._endpoints(upstream, path),
            protocol=upstream.protocol,
            host=upstream.host,
            balance=_balance(upstream.balance),
            sticky=model.Sticky(**upstream.sticky.model_dump()) if upstream.sticky is not None else None,
            zone=upstream.zone,
            slow_start=upstream.slow_start or None,
            panic_threshold=upstream.panic_threshold,
            active=_active(upstream.health.active),
            passive=model.PassiveHealth(**upstream.health.passive.model_dump()) if upstream.health.passive else None,
            breaker=model.Breaker(**upstream.circuit_breaker.model_dump()) if upstream.circuit_breaker else None,
            timeouts=model.Timeouts(**upstream.timeouts.model_dump()),
            retries=retries(upstream.retries),
            pool=model.Pool(**upstream.pool.model_dump()),
            failover=upstream.failover,
            tls=resolve_tls(self._document, self._files, upstream, path),
        )

    def service(self, spec: ServiceSpec) -> model.Upstream:
        """What stands for a service that policies ask.

        Raises:
            ValueError: The URL leads nowhere (PydanticCustomError).
            CertificateError: The authorities cannot be used.
        """
        url = parse_url(split_url(spec.url)[0])
        if spec.ca:
            read_chain(spec.ca)
        return model.Upstream(
            name=upstream_name(spec),
            endpoints=tuple(self._resolved(written.Endpoint(url=url))),
            host="upstream",
            breaker=model.Breaker(),
            tls=model.UpstreamTls(ca=spec.ca) if url.scheme == "https" else None,
        )

    # --- endpoints ------------------------------------------------------------------------------------------------

    def _endpoints(self, upstream: written.Upstream, path: Path) -> tuple[model.Endpoint, ...]:
        found: list[model.Endpoint] = []
        seen: dict[str, Path] = {}
        keys: set[str] = set()
        for index, endpoint in enumerate(upstream.endpoints):
            place = (*path, "endpoints", index)
            shown = f"{endpoint.url.scheme}://{endpoint.url.authority}"
            unique = f"unix:{endpoint.url.host}" if endpoint.url.unix else shown
            if unique in seen:
                self._document.problem(
                    "config.duplicate",
                    f"the endpoint {unique} stands here twice",
                    place,
                    hint="give one of them a weight",
                    related=[f"the first is at {self._document.node(seen[unique]).place()}"],
                )
            seen.setdefault(unique, place)
            for resolved in self._resolved(endpoint):
                if resolved.key not in keys:  # two names may lead to one address
                    keys.add(resolved.key)
                    found.append(resolved)
        if found and not any(endpoint.weight for endpoint in found):
            message = "every endpoint has the weight 0, so none would ever be used"
            self._document.problem("config.weights", message, (*path, "endpoints"), key=True)
        return tuple(found)

    def _resolved(self, endpoint: written.Endpoint) -> list[model.Endpoint]:
        url = endpoint.url
        hosts: Sequence[str] = [url.host]
        if not url.literal:
            hosts = self._lookup(url)
        return [
            model.Endpoint(
                key=_key(url, host),
                host=host,
                port=url.port,
                scheme=url.scheme,
                name=url.authority,
                weight=endpoint.weight,
                zone=endpoint.zone,
                metadata=endpoint.metadata,
            )
            for host in hosts
        ]

    def _lookup(self, url: EndpointUrl) -> Sequence[str]:
        known = self._addresses.get(url.host)
        if url.host == "localhost" or url.host.endswith(".localhost"):
            return known or ["127.0.0.1"]  # RFC 6761 section 6.3: never asked of a name server
        self.hosts.add(url.host)
        return known or [""]

    # --- rules ----------------------------------------------------------------------------------------------------

    def _check(self, upstream: written.Upstream, path: Path) -> None:
        document = self._document
        by = upstream.balance.hash
        if by is not None and by.by != "address" and not by.name:
            message = f"hash by {by.by} needs the name of the {by.by}"
            document.problem("config.missing_key", message, (*path, "balance", "hash"), hint="name: x-user")
        if by is not None and by.by == "address" and by.name:
            message = "hash by address takes no name"
            document.problem("config.conflict", message, (*path, "balance", "hash", "name"), key=True)
        active = upstream.health.active
        if active is not None:
            self._check_active(upstream, active, (*path, "health", "active"))
        same_site = upstream.sticky
        if same_site is not None and same_site.same_site == "None" and not same_site.secure:
            message = "browsers take a cookie with same_site None only when it is secure"
            document.problem("config.conflict", message, (*path, "sticky", "same_site"), hint="secure: true")

    def _check_active(self, upstream: written.Upstream, active: written.ActiveHealth, path: Path) -> None:
        document = self._document
        for key in sorted(active.model_fields_set & _MEANINGLESS[active.type]):
            message = f"'{key}' has no meaning for a check of type {active.type}"
            document.problem("config.conflict", message, (*path, key), key=True)
        if active.type == "grpc" and upstream.protocol == "http1":
            message = "a check by gRPC needs HTTP/2"
            document.problem("config.conflict", message, (*path, "type"), hint="protocol: grpc for the upstream")
        if active.timeout > active.interval:
            message = "a check may not take longer than the time between two checks"
            document.problem("config.value", message, (*path, "timeout"))

    def _check_failover(
        self, name: str, upstream: written.Upstream, upstreams: Mapping[str, written.Upstream], names: set[str]
    ) -> None:
        if upstream.failover is None:
            return
        path: Path = ("upstreams", name, "failover")
        if upstream.failover not in names:
            unknown_upstream(self._document, upstream.failover, path, names)
            return
        chain = [name]
        at: str | None = upstream.failover
        while at is not None and at not in chain:
            chain.append(at)
            following = upstreams.get(at)
            at = following.failover if following is not None else None
        if at == name and self._circles.isdisjoint(chain):
            self._circles.update(chain)
            circle = " → ".join([*chain, name])
            self._document.problem("config.cycle", f"the failover leads back to where it began: {circle}", path)


def unknown_upstream(document: Document, name: str, path: Path, names: set[str]) -> None:
    """Report a reference that leads nowhere."""
    known = sorted(names)
    hint = suggestion(name, known)
    if not hint:
        hint = f"upstreams are {', '.join(known)}" if 0 < len(known) <= 12 else ""
    document.problem("config.unknown_upstream", f"there is no upstream '{name}'", path, hint=hint)


def retries(given: written.Retries) -> model.Retries:
    """Retries as the snapshot holds them."""
    return model.Retries(**given.model_dump())


def _balance(balance: written.Balance) -> model.Balance:
    if balance.hash is None:
        return model.Balance(balance.algorithm)
    key = balance.hash.name.lower() if balance.hash.by == "header" else balance.hash.name
    return model.Balance("hash", balance.hash.by, key)


def _active(active: written.ActiveHealth | None) -> model.ActiveHealth | None:
    return model.ActiveHealth(**active.model_dump()) if active is not None else None


def _key(url: EndpointUrl, host: str) -> str:
    if url.unix:
        return f"unix:{url.host}"
    if not host:
        return f"{url.scheme}://{url.host}:{url.port}"
    try:
        shown = f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        shown = host
    return f"{url.scheme}://{shown}:{url.port}"
