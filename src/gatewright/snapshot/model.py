"""The snapshot: a whole configuration as plain data, references resolved and defaults filled.

It is what the controller sends to the workers. It holds no secrets in clear where a digest will do. Durations are
seconds, sizes are bytes, shares are 0.0 to 1.0. Everything encodes to JSON or MessagePack and back unchanged.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field


class Limits(Struct, frozen=True):
    """What one listener lets in. All on by default."""

    connections: int = 20_000
    header_bytes: int = 64 * 1024
    headers: int = 128
    target_bytes: int = 8 * 1024
    body: int = 64 * 1024 * 1024
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 75.0
    requests: int = 10_000
    streams: int = 128
    resets: int = 100
    control_frames: int = 200


class TlsPair(Struct, frozen=True):
    """A certificate chain and its key, as PEM text, and what the certificate says of itself.

    ``label`` is how the configuration names it. Times are seconds since 1970.
    """

    label: str
    cert: str
    key: str
    names: tuple[str, ...] = ()
    kind: str = ""
    starts: float = 0.0
    expires: float = 0.0
    fingerprint: str = ""

    def __repr__(self) -> str:  # what is printed must not hold a key
        return f"TlsPair({self.label!r}, names={self.names!r}, kind={self.kind!r}, fingerprint={self.fingerprint!r})"


class ClientAuth(Struct, frozen=True):
    """Client certificates. ``mode`` is none, optional or required; ``ca`` is PEM text."""

    mode: str = "none"
    ca: str = ""
    forward: bool = False


class ListenerTls(Struct, frozen=True):
    """TLS termination. ``ciphers`` empty means the usual ones; ``hsts`` is the value of the header field."""

    certificates: tuple[TlsPair, ...]
    min_version: str = "1.2"
    max_version: str = ""
    ciphers: tuple[str, ...] = ()
    client_auth: ClientAuth = ClientAuth()
    session_tickets: bool = True
    handshake_timeout: float = 10.0
    check_host: bool = True
    hsts: str = ""


class Listener(Struct, frozen=True):
    """An address to listen on."""

    name: str
    bind: str
    protocols: tuple[str, ...] = ("http1", "h2c")
    trusted_proxies: tuple[str, ...] = ()
    proxy_protocol: bool = False
    limits: Limits = Limits()
    tls: ListenerTls | None = None


class Endpoint(Struct, frozen=True):
    """One address of an upstream. ``key`` names it in health messages, metrics and logs."""

    key: str  # "http://127.0.0.1:9001" with the resolved address
    host: str  # literal address, or the path of a unix socket; empty while a name has not been resolved
    port: int
    scheme: str = "http"
    name: str = ""  # host name and port as configured: the Host header when host is "upstream"
    weight: int = 1
    zone: str = ""
    metadata: dict[str, str] = {}


class Balance(Struct, frozen=True):
    """How an endpoint is chosen. ``by`` and ``key`` are for ``hash``: header, cookie, query, param, address."""

    algorithm: str = "round_robin"
    by: str = ""
    key: str = ""


class Sticky(Struct, frozen=True):
    """A cookie that leads a client back to its endpoint."""

    cookie: str
    ttl: float | None = None
    path: str = "/"
    secure: bool = False
    http_only: bool = True
    same_site: str = "Lax"


class ActiveHealth(Struct, frozen=True):
    """Checks the controller makes. ``type`` is http, tcp or grpc; ``service`` is what grpc asks about."""

    type: str = "http"
    path: str = "/"
    method: str = "GET"
    host: str = ""
    headers: dict[str, str] = {}
    body: str = ""
    service: str = ""
    port: int | None = None
    statuses: tuple[tuple[int, int], ...] = ((200, 399),)
    interval: float = 5.0
    timeout: float = 1.0
    healthy_after: int = 2
    unhealthy_after: int = 3


class PassiveHealth(Struct, frozen=True):
    """Ejection by what real traffic shows. Each ejection in a row lasts longer, up to ``max_eject_for``."""

    consecutive_failures: int = 5
    failure_rate: float | None = None
    min_requests: int = 20
    window: float = 10.0
    eject_for: float = 30.0
    max_eject_for: float = 300.0
    max_ejected: float = 0.5


class Breaker(Struct, frozen=True):
    """When the upstream (or each endpoint) is left alone for a while."""

    scope: str = "upstream"  # upstream | endpoint
    consecutive_failures: int | None = 5
    failure_rate: float | None = 0.5
    min_requests: int = 20
    window: float = 30.0
    open_for: float = 10.0
    half_open_requests: int = 3


class Timeouts(Struct, frozen=True):
    """Seconds. ``total`` bounds the whole exchange; None means no bound."""

    connect: float = 2.0
    first_byte: float = 15.0
    idle: float = 60.0
    total: float | None = None


class Retries(Struct, frozen=True):
    """``on`` holds conditions (connect, reset, timeout, grpc_…) and statuses as text. ``methods`` is upper case.

    ``methods`` empty means the idempotent ones; a request of which nothing was sent may be retried whatever its method.
    """

    attempts: int = 1
    on: tuple[str, ...] = ("connect", "reset")
    methods: tuple[str, ...] = ()
    budget: float = 0.2
    backoff: float = 0.025
    max_backoff: float = 1.0


class Pool(Struct, frozen=True):
    """Connections to each endpoint. Limits are for the whole gateway; every worker gets its share."""

    max_connections: int = 1024
    max_idle: int = 128
    idle_timeout: float = 60.0
    max_age: float | None = None
    max_waiting: int = 1024
    wait_timeout: float = 5.0


class UpstreamTls(Struct, frozen=True):
    """TLS towards endpoints. ``ca``, ``cert`` and ``key`` are PEM text, so that nobody needs the files later.

    ``ca`` empty means the trust of the system, ``server_name`` empty the endpoint's own host.
    """

    ca: str = ""
    server_name: str = ""
    cert: str = ""
    key: str = ""
    verify: bool = True
    min_version: str = "1.2"
    expires: float = 0.0  # of ``cert``, seconds since 1970; 0.0 without one

    def __repr__(self) -> str:  # what is printed must not hold a key
        parts = f"server_name={self.server_name!r}, verify={self.verify}, min_version={self.min_version!r}"
        return f"UpstreamTls({parts}, ca={bool(self.ca)}, pair={bool(self.cert)})"


#: Names of upstreams that no route may use begin so: they stand for services that policies ask.
SERVICE = "service "


class Upstream(Struct, frozen=True):
    """A named group of endpoints that serve the same thing."""

    name: str
    endpoints: tuple[Endpoint, ...] = ()
    protocol: str = "http1"
    host: str = "preserve"  # preserve | upstream | a literal Host value
    balance: Balance = Balance()
    sticky: Sticky | None = None
    zone: str = ""  # prefer endpoints of this zone
    slow_start: float | None = None
    panic_threshold: float = 0.5  # fewer healthy than this share: use all endpoints
    active: ActiveHealth | None = None
    passive: PassiveHealth | None = PassiveHealth()
    breaker: Breaker | None = None
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    pool: Pool = Pool()
    failover: str | None = None
    #: For endpoints whose scheme is https; set whenever there is one.
    tls: UpstreamTls | None = None


class Predicate(Struct, frozen=True):
    """One test on a header, query parameter or cookie: equal to ``value``, matching ``regex``, or just present."""

    name: str
    value: str | None = None
    regex: str | None = None
    absent: bool = False


class Match(Struct, frozen=True):
    """Which requests a route takes. Empty means all. Hosts are lower case; paths are as configured."""

    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ("/*",)
    methods: tuple[str, ...] = ()
    headers: tuple[Predicate, ...] = ()
    query: tuple[Predicate, ...] = ()
    cookies: tuple[Predicate, ...] = ()
    sources: tuple[str, ...] = ()
    when: str = ""


class Split(Struct, frozen=True):
    """One of the upstreams a route sends to. ``headers``/``cookies`` that match send there whatever the weights."""

    upstream: str
    weight: int = 1
    headers: tuple[Predicate, ...] = ()
    cookies: tuple[Predicate, ...] = ()


class Rewrite(Struct, frozen=True):
    """Changes to the path before it goes upstream. ``path`` and ``regex`` may use {param} and {*}."""

    path: str | None = None
    strip_prefix: str | None = None
    add_prefix: str | None = None
    regex: str | None = None
    replacement: str = ""
    host: str | None = None


class Redirect(Struct, frozen=True):
    """Answer with a redirect; ``to`` may use {param}, {*} and {query}."""

    to: str
    status: int = 308
    keep_query: bool = True


class Respond(Struct, frozen=True):
    """A fixed answer."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = {}


class PolicySpec(Struct, frozen=True):
    """A policy as configured: its type, its validated configuration and its condition (CEL, may be empty).

    ``scope`` says where it was written: empty for the gateway's own list, else the name of the route. Counters belong
    to a scope, so that a limit for all routes counts all routes together, and a route's own limit that route alone.
    """

    type: str
    config: dict[str, Any] = {}
    when: str = ""
    scope: str = ""


class Route(Struct, frozen=True):
    """A route. Exactly one of ``to``, ``redirect`` and ``respond`` is set.

    ``policies`` are already merged and in the order in which their request hooks run.
    ``digest`` stands for the whole content, so that a compiled route can be used again.
    """

    name: str
    match: Match = Match()
    priority: int = 0
    listeners: tuple[str, ...] = ()  # empty = all
    to: tuple[Split, ...] = ()
    redirect: Redirect | None = None
    respond: Respond | None = None
    rewrite: Rewrite | None = None
    timeout: float | None = None
    timeouts: Timeouts | None = None  # instead of the upstream's
    retries: Retries | None = None  # instead of the upstream's
    max_body: int | None = None
    websocket: bool = True
    websocket_idle: float = 300.0  # seconds without a frame either way
    websocket_message: int | None = None  # bytes of the largest message that passes
    sse_heartbeat: float | None = None  # seconds of silence after which a comment is sent to the client
    grpc_methods: bool = False  # count gRPC calls by method
    policies: tuple[PolicySpec, ...] = ()
    metadata: dict[str, str] = {}
    digest: str = ""


class Credential(Struct, frozen=True):
    """``kind`` is api_key (with a ``digest``: SHA-256 of the key in hexadecimal), basic or hmac (with ``id``).

    ``id`` is a user name or the id of a key; ``value`` the hash of a password, a shared secret in Base64 or a public
    key as PEM text. ``algorithm`` is what signatures of a key are made with.
    """

    kind: str
    digest: str = ""
    id: str = ""
    value: str = ""
    algorithm: str = ""

    def __repr__(self) -> str:  # what is printed must not hold a secret
        return f"Credential({self.kind!r}, {self.digest!r}, id={self.id!r}, algorithm={self.algorithm!r})"


class Consumer(Struct, frozen=True):
    """Who may call."""

    name: str
    groups: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    credentials: tuple[Credential, ...] = ()


class AccessLog(Struct, frozen=True):
    """``to``: stdout, stderr, off or a path. Rotated by size or age when a file.

    ``redact`` names query parameters whose values are masked, besides those that always are.
    """

    format: str = "json"  # json | text
    to: str = "stdout"
    sample: float = 1.0  # share of successful requests that is logged; failures always are
    max_bytes: int | None = None
    max_age: float | None = None
    keep: int = 5
    redact: tuple[str, ...] = ()


class Admin(Struct, frozen=True):
    """The admin listener."""

    bind: str = "127.0.0.1:9900"
    token: str = ""


class Snapshot(Struct, frozen=True):
    """A whole configuration."""

    version: int = 0
    digest: str = ""
    workers: int = 1
    drain_timeout: float = 30.0
    listeners: tuple[Listener, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    routes: tuple[Route, ...] = ()
    consumers: tuple[Consumer, ...] = ()
    #: The global policies, in run order: also the policies for requests that no route takes.
    policies: tuple[PolicySpec, ...] = ()
    plugins: tuple[str, ...] = ()
    access_log: AccessLog = AccessLog()
    admin: Admin | None = Admin()
    max_rate_keys: int = 65_536
    max_metric_series: int = 2_000
    metadata: dict[str, str] = field(default_factory=dict)
