"""Upstreams: groups of endpoints, and how they are chosen, watched and called."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from gatewright.config.base import Count, Metadata, Method, Model, OrOff, PathText, Port, Positive, TlsVersion, wrong
from gatewright.config.endpoint import ServerName, Url
from gatewright.proxy.grpc import CONDITIONS as GRPC_STATUSES
from gatewright.sdk.types import Duration, HeaderName, HeaderValue, Share

ALGORITHMS = ("round_robin", "weighted", "least_connections", "p2c", "random", "ewma", "geo")
#: What may be worth another try, besides statuses.
CONDITIONS = ("connect", "reset", "timeout")
#: The same for gRPC calls: every status but OK (see :mod:`gatewright.proxy.grpc`).
GRPC_CONDITIONS = tuple(GRPC_STATUSES)
HASH_BY = ("header", "cookie", "query", "param", "address")


class Endpoint(Model):
    """One address of an upstream."""

    url: Url
    """http://host:port, https://host:port or unix:/path."""
    weight: Annotated[int, Field(ge=0, le=65535)] = 1
    """Share of the traffic, compared with the other endpoints; 0 takes none."""
    zone: str = ""
    """Where it is; endpoints in the upstream's own zone are preferred."""
    metadata: Metadata = Field(default_factory=dict)
    """Free text for your own use."""


def _endpoint_shape(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


class Hash(Model):
    """Consistent hashing: the same value goes to the same endpoint."""

    by: Literal["header", "cookie", "query", "param", "address"]
    """What is hashed; ``address`` is the client's."""
    name: str = ""
    """Name of the header field, cookie, query parameter or path parameter."""


class HashBalance(Model):
    """The written form of consistent hashing."""

    hash: Hash
    """What is hashed."""


Algorithm = Literal["round_robin", "weighted", "least_connections", "p2c", "random", "ewma", "geo"]


class Balance(Model):
    """How an endpoint is chosen, after the short form has been unfolded."""

    algorithm: Literal["round_robin", "weighted", "least_connections", "p2c", "random", "ewma", "geo", "hash"] = (
        "round_robin"
    )
    hash: Hash | None = None


def _balance_shape(value: object) -> object:
    if isinstance(value, str):
        if value == "hash":
            raise wrong("balance", "hash needs to know what is hashed", "write {hash: {by: header, name: x-user}}")
        return {"algorithm": value}
    if isinstance(value, dict) and set(value) == {"hash"}:
        return {"algorithm": "hash", "hash": value["hash"]}
    raise wrong(
        "balance", "balance is the name of an algorithm, or {hash: …}", f"algorithms are {', '.join(ALGORITHMS)}"
    )


class Sticky(Model):
    """A cookie that leads a client back to the endpoint it had."""

    cookie: Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
    """Name of the cookie."""
    ttl: OrOff[Positive] = None
    """How long the cookie lives; without it, as long as the browser's session."""
    path: str = "/"
    """Path attribute of the cookie."""
    secure: bool = False
    """Send it only over TLS."""
    http_only: bool = True
    """Keep it from scripts."""
    same_site: Literal["Lax", "Strict", "None"] = "Lax"
    """SameSite attribute of the cookie."""


def _statuses(value: object) -> tuple[int, int]:
    found = re.fullmatch(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?", str(value))
    if found is None or isinstance(value, bool):
        raise wrong("statuses", f"'{value}' is neither a status nor a range of them", "write 200 or 200-399")
    low, high = int(found[1]), int(found[2] or found[1])
    if low > high:
        raise wrong("statuses", f"the range {value} is empty", f"did you mean '{high}-{low}'?")
    return low, high


StatusRange = Annotated[
    tuple[int, int],
    BeforeValidator(
        _statuses, json_schema_input_type=int | Annotated[str, Field(pattern="^[1-5][0-9]{2}-[1-5][0-9]{2}$")]
    ),
]


class ActiveHealth(Model):
    """Checks that the gateway makes by itself."""

    type: Literal["http", "tcp", "grpc"] = "http"
    """http asks for a path, tcp only connects, grpc asks the health service (grpc.health.v1)."""
    path: Annotated[str, Field(pattern="^/")] = "/"
    """Path and query that are asked for."""
    method: Method = "GET"
    """Method of the check."""
    host: str = ""
    """Host header field; the endpoint's own when empty."""
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Header fields of the check."""
    body: str = ""
    """Body of the check."""
    service: Annotated[str, Field(max_length=256)] = ""
    """Name of the service that a check by grpc asks about; the server as a whole when empty."""
    port: Port | None = None
    """Port to check instead of the endpoint's."""
    statuses: Annotated[tuple[StatusRange, ...], Field(min_length=1)] = ((200, 399),)
    """Statuses that mean healthy: 200 or 200-399."""
    interval: Positive = 5.0
    """Time between two checks."""
    timeout: Positive = 1.0
    """How long a check may take."""
    healthy_after: Annotated[int, Field(ge=1, le=1000)] = 2
    """Good checks in a row that make an endpoint healthy."""
    unhealthy_after: Annotated[int, Field(ge=1, le=1000)] = 3
    """Failed checks in a row that make it unhealthy."""


class PassiveHealth(Model):
    """Ejection of endpoints by what real traffic shows. Each ejection in a row lasts longer."""

    consecutive_failures: Count = 5
    """Failures in a row that eject an endpoint."""
    failure_rate: OrOff[Share] = None
    """Share of failures within the window that ejects."""
    min_requests: Count = 20
    """Requests within the window before failure_rate counts."""
    window: Positive = 10.0
    """Time over which failure_rate is measured."""
    eject_for: Positive = 30.0
    """How long the first ejection lasts."""
    max_eject_for: Positive = 300.0
    """The longest an ejection may last."""
    max_ejected: Share = 0.5
    """Share of the endpoints that may be ejected at one time."""


class Health(Model):
    """How endpoints that fail are found."""

    active: ActiveHealth | None = None
    """Checks that the gateway makes by itself."""
    passive: OrOff[PassiveHealth] = PassiveHealth()
    """Ejection by what real traffic shows; on unless it is off."""


class CircuitBreaker(Model):
    """When an upstream that fails is left alone for a while."""

    scope: Literal["upstream", "endpoint"] = "upstream"
    """Whether the whole upstream opens, or one endpoint."""
    consecutive_failures: OrOff[Count] = 5
    """Failures in a row that open it."""
    failure_rate: OrOff[Share] = 0.5
    """Share of failures within the window that opens it."""
    min_requests: Count = 20
    """Requests within the window before failure_rate counts."""
    window: Positive = 30.0
    """Time over which failure_rate is measured."""
    open_for: Positive = 10.0
    """How long it stays open before it lets requests try."""
    half_open_requests: Count = 3
    """Requests that may try, and must succeed to close it."""


class Timeouts(Model):
    """How long each part of a call may take."""

    connect: Positive = 2.0
    """Opening a connection."""
    first_byte: Positive = 15.0
    """From the end of the request to the head of the response."""
    idle: Positive = 60.0
    """Silence while a body is sent or received."""
    total: OrOff[Positive] = None
    """The whole exchange."""


def _condition(value: object) -> str:
    text = str(value)
    if text in CONDITIONS or text in GRPC_CONDITIONS or re.fullmatch("[45][0-9][0-9]", text):
        return text
    hint = "conditions are connect, reset, timeout, statuses such as 503, and for gRPC calls grpc_unavailable …"
    if text.startswith("grpc"):
        hint = f"for gRPC calls there are {', '.join(GRPC_CONDITIONS)}"
    raise wrong("retry_on", f"'{text}' is not a condition", hint)


class Retries(Model):
    """When a request is sent again, to another endpoint where there is one."""

    attempts: Annotated[int, Field(ge=0, le=10)] = 1
    """Further tries after the first."""
    on: tuple[
        Annotated[
            str,
            BeforeValidator(
                _condition,
                json_schema_input_type=Literal[CONDITIONS + GRPC_CONDITIONS] | Annotated[int, Field(ge=400, le=599)],
            ),
        ],
        ...,
    ] = ("connect", "reset")
    """Conditions (connect, reset, timeout), statuses, and ends of gRPC calls (grpc_unavailable) worth another try."""
    methods: tuple[Method, ...] = ()
    """Methods that may be sent twice; the idempotent ones when empty. Conditions for gRPC calls need none."""
    budget: Share = 0.2
    """Retries as a share of all requests; above it none are made."""
    backoff: Duration = 0.025
    """Time before the first retry; doubled for each one after, and jittered."""
    max_backoff: Duration = 1.0
    """The longest time before a retry."""


class Pool(Model):
    """Connections to each endpoint, for the whole gateway: every worker gets its share."""

    max_connections: Count = 1024
    """Connections to one endpoint."""
    max_idle: Annotated[int, Field(ge=0, le=1_000_000)] = 128
    """Connections kept open without a request."""
    idle_timeout: Positive = 60.0
    """How long a connection is kept without a request."""
    max_age: OrOff[Positive] = None
    """The longest a connection is used."""
    max_waiting: Annotated[int, Field(ge=0, le=1_000_000)] = 1024
    """Requests that may wait for a connection."""
    wait_timeout: Duration = 5.0
    """How long one may wait."""


class UpstreamTls(Model):
    """TLS towards the endpoints whose URL begins with https://."""

    ca: PathText | None = None
    """PEM file with the certificates that the endpoints' are checked against; the system's when left out."""
    server_name: ServerName | None = None
    """Name that is asked for (SNI) and that the certificate must have; the endpoint's host when left out."""
    cert: PathText | None = None
    """PEM file with the gateway's own certificate, and those that lead to its authority."""
    key: PathText | None = None
    """PEM file with its private key, not encrypted."""
    verify: bool = True
    """Check the endpoints' certificates. Without it anybody in between can read and change everything."""
    min_version: TlsVersion = "1.2"
    """The oldest version of TLS that is spoken."""


class Upstream(Model):
    """A named group of endpoints that serve the same thing."""

    endpoints: Annotated[
        tuple[Annotated[Endpoint, BeforeValidator(_endpoint_shape, json_schema_input_type=Url | Endpoint)], ...],
        Field(min_length=1),
    ]
    """Addresses; http://host:port, or a mapping with url, weight, zone and metadata."""
    protocol: Literal["http1", "h2", "grpc"] = "http1"
    """What is spoken to the endpoints."""
    host: HeaderValue = "preserve"
    """Host header field: preserve the client's, upstream for the endpoint's, or a literal value."""
    balance: Annotated[
        Balance,
        BeforeValidator(_balance_shape, json_schema_input_type=Algorithm | HashBalance),
    ] = Balance()
    """How an endpoint is chosen: round_robin, weighted, least_connections, p2c, random, ewma, geo or {hash: …}."""
    sticky: Sticky | None = None
    """A cookie that leads a client back to the endpoint it had."""
    zone: str = ""
    """Prefer endpoints of this zone."""
    slow_start: OrOff[Duration] = None
    """How long a new or recovered endpoint is brought up to its full share."""
    panic_threshold: Share = 0.5
    """With a smaller share of healthy endpoints than this, all are used."""
    health: Health = Health()
    """How endpoints that fail are found."""
    circuit_breaker: OrOff[CircuitBreaker] = None
    """When the upstream is left alone for a while."""
    timeouts: Timeouts = Timeouts()
    """How long each part of a call may take."""
    retries: Retries = Retries()
    """When a request is sent again."""
    pool: Pool = Pool()
    """Connections to each endpoint."""
    failover: str | None = None
    """Another upstream, used while this one has no healthy endpoint."""
    tls: UpstreamTls | None = None
    """TLS towards the endpoints."""
