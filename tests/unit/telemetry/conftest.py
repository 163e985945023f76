"""A finished exchange for tests, with the attributes that the access log reads."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from gatewright.http.head import HTTP11, RequestHead
from gatewright.http.headers import Fields, Headers


@dataclass
class Named:
    name: str = ""
    key: str = ""


def head(
    method: bytes = b"GET",
    target: bytes = b"/orders/1",
    host: bytes = b"api.example.com",
    agent: bytes | None = b"curl/8",
    path: bytes = b"/orders/1",
) -> RequestHead:
    pairs = [(b"host", host)] + ([] if agent is None else [(b"user-agent", agent)])
    query = target.partition(b"?")[2] if b"?" in target else None
    return RequestHead(method, target, path, query, host, host, b"http", HTTP11, Headers(Fields(pairs)))


@dataclass
class Finished:
    request: RequestHead = field(default_factory=head)
    request_id: bytes = b"id-1"
    client_addr: str = "192.0.2.1"
    status: int = 200
    reason: str = ""
    started: float = 1000.25
    ended: float = 1000.2623
    bytes_in: int = 3
    bytes_out: int = 512
    upstream_name: str = "orders"
    upstream_seconds: float = 0.0111
    tries: int = 1
    protocol: str = "http1"
    listener_name: str = "public"
    grpc_status: str = ""
    route: Named = field(default_factory=lambda: Named("order-by-id"))
    consumer: Named | None = field(default_factory=lambda: Named("acme"))
    endpoint: Named | None = field(default_factory=lambda: Named(key="http://127.0.0.1:9001"))


@pytest.fixture(scope="session")
def finished() -> Callable[..., Finished]:
    """Makes an exchange that is over; words of its request head may be given with the others."""

    def make(**values: object) -> Finished:
        words = {name: values.pop(name) for name in ("method", "target", "host", "agent", "path") if name in values}
        return Finished(request=head(**words), **values)  # type: ignore[arg-type]

    return make
