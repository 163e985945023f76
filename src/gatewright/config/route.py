"""Routes: which requests, through which policies, to where."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from gatewright.config.base import Metadata, Method, Model, Name, OrOff, Positive, TestValue, single_key, wrong
from gatewright.config.upstream import Retries
from gatewright.sdk.types import Cidr, HeaderName, HeaderValue, Regex, Size


class PolicyItem(NamedTuple):
    """One entry of a list of policies. ``config`` None means off: the inherited policy of that type is left out."""

    type: str
    config: dict[str, Any] | None
    when: Any = ""


#: Stands where an entry could not be read, so that the others keep their places.
UNREADABLE = PolicyItem("", None)


def _policy(value: object) -> PolicyItem:
    if value is UNREADABLE:
        return UNREADABLE
    name, config = single_key(value, "a policy")
    if config == "off":
        return PolicyItem(name, None)
    if config is None:
        return PolicyItem(name, {})
    if not isinstance(config, dict):
        raise wrong("shape", f"the settings of '{name}' are a mapping", f"write {name}: {{…}}")
    return PolicyItem(name, {key: item for key, item in config.items() if key != "when"}, config.get("when", ""))


#: ``{api_key: {…}}``: the type and its settings. What they may be is known to the registry, not here.
Policies = tuple[Annotated[PolicyItem, PlainValidator(_policy), WithJsonSchema({"x-gatewright": "policy"})], ...]


class Match(Model):
    """Which requests a route takes. All conditions must hold; what is left out holds always."""

    hosts: tuple[str, ...] = ()
    """Hosts without port; *.example.org takes every name below example.org."""
    paths: Annotated[tuple[str, ...], Field(min_length=1)] = ("/*",)
    """/static, /{param}, /{param:regex}, /*: the rest; ~regex: a whole path."""
    methods: tuple[Method, ...] = ()
    """Methods; GET also takes HEAD."""
    headers: dict[HeaderName, TestValue] = Field(default_factory=dict)
    """Tests on header fields."""
    query: dict[str, TestValue] = Field(default_factory=dict)
    """Tests on query parameters."""
    cookies: dict[str, TestValue] = Field(default_factory=dict)
    """Tests on cookies."""
    sources: tuple[Cidr, ...] = ()
    """Client addresses."""
    when: str = ""
    """A CEL expression over the request."""


class Split(Model):
    """One of several upstreams of a route."""

    upstream: str
    """Name of the upstream."""
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    """Share of the requests, compared with the other entries."""
    headers: dict[HeaderName, TestValue] = Field(default_factory=dict)
    """Requests with these header fields go here, whatever the weights."""
    cookies: dict[str, TestValue] = Field(default_factory=dict)
    """Requests with these cookies go here, whatever the weights."""


def _splits(value: object) -> object:
    return [{"upstream": value}] if isinstance(value, str) else value


class Rewrite(Model):
    """Changes before the request goes upstream."""

    path: Annotated[str, Field(pattern="^/")] | None = None
    """The new path; {param} and {*} are filled in."""
    strip_prefix: Annotated[str, Field(pattern="^/")] | None = None
    """Taken off the front of the path."""
    add_prefix: Annotated[str, Field(pattern="^/")] | None = None
    """Put in front of the path, after strip_prefix."""
    regex: Regex | None = None
    """A regular expression whose first match in the path becomes the replacement."""
    replacement: str = ""
    """What the match becomes; \\1 or \\g<name> stand for groups, {param} and {*} are filled in."""
    host: HeaderValue | None = None
    """The new Host header field."""


class Redirect(Model):
    """An answer that sends the client elsewhere."""

    to: Annotated[HeaderValue, Field(min_length=1)]
    """Where to: a path or a URL; {param}, {*} and {query} are filled in."""
    status: Literal[301, 302, 303, 307, 308] = 308
    """Status of the answer."""
    keep_query: bool = True
    """Append the query of the request."""


class Respond(Model):
    """A fixed answer."""

    status: Annotated[int, Field(ge=200, le=599)] = 200
    """Status of the answer."""
    body: str = ""
    """Body of the answer."""
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Header fields of the answer."""


class RouteTimeouts(Model):
    """Like the upstream's timeouts; what is left out is taken from the (first) upstream."""

    connect: Positive | None = None
    """Opening a connection."""
    first_byte: Positive | None = None
    """From the end of the request to the head of the response."""
    idle: Positive | None = None
    """Silence while a body is sent or received."""
    total: OrOff[Positive] = None
    """The whole exchange."""


class RouteLimits(Model):
    """Limits of one route."""

    body: Size | None = None
    """Bytes of a request body, instead of the listener's limit. gRPC calls (not gRPC-Web) have no other limit."""


class WebSocket(Model):
    """Limits of requests that switch to another protocol."""

    idle_timeout: Positive = 300.0
    """How long nothing may come from either side."""
    max_message: Size | None = None
    """Bytes of the largest WebSocket message that passes, as it is sent: compressed, where the two sides compress."""


class ServerSentEvents(Model):
    """How streams of server-sent events are treated."""

    heartbeat: OrOff[Positive] = None
    """Silence after which a comment is sent to the client, so that proxies on the way keep the stream open."""


class Grpc(Model):
    """How gRPC calls are treated."""

    count_methods: bool = False
    """Count calls by service and method, too, in gatewright_grpc_requests_total."""


def _websocket_shape(value: object) -> object:
    if value is True:
        return {}
    return None if value is False or value == "off" else value


class Route(Model):
    """Which requests, through which policies, to where. One of to, redirect and respond says what is done."""

    name: Name
    """Name of the route, in metrics, logs and explanations."""
    match: Match = Match()
    """Which requests."""
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    """Higher first; among equals the more specific path wins."""
    listeners: tuple[str, ...] = ()
    """Names of the listeners the route is for; all when left out."""
    to: (
        Annotated[
            tuple[Split, ...],
            BeforeValidator(_splits, json_schema_input_type=str | Annotated[tuple[Split, ...], Field(min_length=1)]),
            Field(min_length=1),
        ]
        | None
    ) = None
    """An upstream, or a list of upstreams with weights."""
    redirect: Redirect | None = None
    """Send the client elsewhere."""
    respond: Respond | None = None
    """Answer with this."""
    rewrite: Rewrite | None = None
    """Changes before the request goes upstream."""
    timeout: OrOff[Positive] = None
    """How long the whole exchange may take, with all its tries."""
    timeouts: RouteTimeouts | None = None
    """Instead of the upstream's."""
    retries: Retries | None = None
    """Instead of the upstream's."""
    limits: RouteLimits = RouteLimits()
    """Limits of this route."""
    websocket: Annotated[
        WebSocket | None,
        BeforeValidator(_websocket_shape, json_schema_input_type=bool | Literal["off"] | WebSocket),
    ] = WebSocket()
    """Requests that switch to another protocol (Upgrade): true, false or a mapping with their limits."""
    sse: ServerSentEvents = ServerSentEvents()
    """Streams of server-sent events."""
    grpc: Grpc = Grpc()
    """gRPC calls."""
    policies: Policies = ()
    """Policies of this route; one of the same type as a global one replaces it, `off` leaves it out."""
    policy_order: Literal["by_stage", "as_written"] = "by_stage"
    """Run policies by stage, or in the order of the file, the global ones first."""
    metadata: Metadata = Field(default_factory=dict)
    """Free text for your own use."""
