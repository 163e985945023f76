"""Services that policies ask, as upstreams that stand in no route."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gatewright.proxy.flights import Flights
from gatewright.proxy.retry import IDEMPOTENT, RetryPolicy
from gatewright.proxy.service import ServiceClient
from gatewright.sdk.service import Service, ServiceSpec, split_url
from gatewright.snapshot.model import SERVICE, Retries, Timeouts

if TYPE_CHECKING:
    from gatewright.proxy.endpoints import Upstream
    from gatewright.proxy.ports import World

_RETRIES = RetryPolicy(Retries())
_REPEATED = RetryPolicy(Retries(methods=tuple(method.decode() for method in sorted({*IDEMPOTENT, b"POST"}))))


def spec_of(service: ServiceSpec | str) -> ServiceSpec:
    """What a policy has said of a service; a URL alone will do."""
    return ServiceSpec(service) if isinstance(service, str) else service


def upstream_name(spec: ServiceSpec) -> str:
    """Name of the upstream that stands for a service: ``service https://auth:9000``.

    No upstream of a configuration can have it, for it has a space. Raises ValueError for what is not a URL.
    """
    origin, _ = split_url(spec.url)
    authorities = f" (ca {hashlib.sha256(spec.ca.encode()).hexdigest()[:8]})" if spec.ca else ""
    return f"{SERVICE}{origin}{authorities}"


class Services:
    """What policies ask with, in one runtime."""

    __slots__ = ("_flights", "_upstreams", "_world")

    def __init__(self, world: World, upstreams: Mapping[str, Upstream]) -> None:
        self._world = world
        self._upstreams = upstreams
        self._flights: dict[str, Flights] = {}

    def flights(self, name: str) -> Flights:
        """Questions under way, made on first use."""
        found = self._flights.get(name)
        if found is None:
            found = self._flights[name] = Flights(self._world)
        return found

    def of(self, service: ServiceSpec | str) -> Service:
        """What asks a service. Raises ValueError when the snapshot holds no upstream for it."""
        spec = spec_of(service)
        upstream = self._upstreams.get(upstream_name(spec))
        if upstream is None:
            raise ValueError(f"the policy has not named {spec.url} among its services")
        _, target = split_url(spec.url)
        return ServiceClient(
            self._world,
            upstream,
            target.encode(),
            Timeouts(first_byte=spec.timeout + 1.0, idle=spec.timeout + 1.0),
            _REPEATED if spec.repeatable else _RETRIES,
            spec.timeout,
            spec.max_body,
        )
