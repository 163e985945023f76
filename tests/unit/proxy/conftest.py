"""Upstreams on a manual clock, with a random source that the test decides about."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from gatewright.http.head import RequestHead
from gatewright.http.headers import Fields, Headers
from gatewright.ipc.messages import BreakerChange, HealthChange
from gatewright.proxy.endpoints import OK, Endpoint, Upstream
from gatewright.snapshot import model


def request(headers: dict[str, str] | None = None, query: bytes | None = None, **more: Any) -> Any:
    """What a balancer reads of an exchange."""
    fields = Fields([(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()])
    head = RequestHead(b"GET", b"/", b"/", query, b"x", b"x", b"http", 11, Headers(fields))
    return SimpleNamespace(request=head, params={}, client_addr="192.0.2.1", client_certificate=None, **more)


def endpoint_spec(host: str, **more: Any) -> model.Endpoint:
    return model.Endpoint(key=f"http://{host}:80", host=host, port=80, **more)


@dataclass
class Bench:
    """An upstream, what it told the others, and the time."""

    upstream: Upstream
    told: list[HealthChange | BreakerChange]
    now: float = 1000.0
    flying: list[tuple[Endpoint, float]] = field(default_factory=list)

    def pick(
        self, headers: dict[str, str] | None = None, exclude: tuple[Endpoint, ...] = (), **more: Any
    ) -> Endpoint | None:
        return self.upstream.pick(request(headers, **more), self.now, exclude)

    def names(self, count: int, **more: Any) -> list[str]:
        """The hosts of so many picks."""
        return [self.host(self.pick(**more)) for _ in range(count)]

    @staticmethod
    def host(endpoint: Endpoint | None) -> str:
        return "-" if endpoint is None else endpoint.host

    def end(self, endpoint: Endpoint, outcome: int = OK, seconds: float = 0.01, times: int = 1, **more: float) -> None:
        """Whole tries at one endpoint, whatever the balancer says."""
        for _ in range(times):
            self.upstream.started(endpoint)
            self.upstream.finished(endpoint, outcome, seconds, self.now, **more)

    def __getitem__(self, name: str) -> Endpoint:
        return self.upstream.by_key[f"http://{name}:80"]


class MakeBench:
    """Makes a :class:`Bench`; endpoints are names or specs."""

    endpoint = staticmethod(endpoint_spec)
    request = staticmethod(request)

    def spec(self, *endpoints: str | model.Endpoint, **settings: Any) -> model.Upstream:
        specs = tuple(endpoint_spec(item) if isinstance(item, str) else item for item in endpoints)
        return model.Upstream("u", specs, **settings)

    def __call__(
        self, *endpoints: str | model.Endpoint, seed: int | None = None, secret: bytes = b"", **settings: Any
    ) -> Bench:
        told: list[HealthChange | BreakerChange] = []
        rand = Random(seed).random if seed is not None else float  # float() is 0.0: always the first
        return Bench(Upstream(self.spec(*endpoints, **settings), told.append, rand, secret=secret), told)


@pytest.fixture
def bench() -> MakeBench:
    return MakeBench()
