"""The compiled configuration that a worker serves from: immutable, shared by the exchanges that began with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from gatewright.http.reply import Reply

if TYPE_CHECKING:
    from gatewright.http.forwarding import Trust
    from gatewright.proxy.endpoints import Upstream
    from gatewright.proxy.exchange import Exchange
    from gatewright.proxy.record import RouteStats
    from gatewright.proxy.retry import RetryPolicy
    from gatewright.proxy.router import Router
    from gatewright.sdk.policy import Hook, Policy
    from gatewright.snapshot.model import Listener, Snapshot, Timeouts
    from gatewright.tls.server import ServerTls


class Route:
    """A compiled route. ``digest`` tells whether a new configuration may use it again."""

    __slots__ = (
        "action",
        "allows_preflight",
        "choose",
        "digest",
        "grpc_methods",
        "guards",
        "host",
        "max_body",
        "name",
        "policies",
        "record_chain",
        "request_body_chain",
        "request_chain",
        "response_body_chain",
        "response_chain",
        "response_from",
        "retries",
        "rewrite",
        "spec",
        "sse_heartbeat",
        "stats",
        "timeout",
        "timeouts",
        "upstream",
        "upstreams",
        "websocket",
        "websocket_idle",
        "websocket_message",
    )

    def __init__(self, name: str, stats: RouteStats) -> None:
        self.name = name
        self.stats = stats
        self.digest = ""
        self.spec: Any = None
        self.policies: tuple[Policy[Any], ...] = ()
        self.request_chain: tuple[Hook, ...] = ()
        self.response_chain: tuple[Hook, ...] = ()
        #: Index in ``response_chain`` to begin with when the i-th request hook has answered (i counts from 1).
        self.response_from: tuple[int, ...] = (0,)
        #: Of foreign request and response hooks. The path calls every hook directly and looks here when one fails.
        self.guards: dict[Hook, HookGuard] = {}
        self.record_chain: tuple[Hook, ...] = ()
        self.request_body_chain: tuple[Hook, ...] = ()
        self.response_body_chain: tuple[Hook, ...] = ()
        self.allows_preflight = False
        #: Makes the answer of a route without an upstream (redirect, fixed response, no route).
        self.action: Callable[[Exchange], Reply] | None = None
        self.upstreams: tuple[Upstream, ...] = ()
        #: The only one; None when there is a choice, which ``choose`` then makes.
        self.upstream: Upstream | None = None
        self.choose: Callable[[Exchange], Upstream] = _no_upstream
        self.rewrite: Callable[[Exchange], bytes] | None = None
        self.host: bytes | None = None
        self.timeout: float | None = None
        #: Instead of the upstream's, when set.
        self.timeouts: Timeouts | None = None
        self.retries: RetryPolicy | None = None
        #: Instead of the listener's, when set.
        self.max_body: int | None = None
        self.sse_heartbeat: float | None = None
        #: Count gRPC calls by method.
        self.grpc_methods = False
        self.websocket = True
        self.websocket_idle = 0.0
        self.websocket_message: int | None = None

    # cold: a hook has failed
    def failed(self, hook: Hook, error: Exception) -> Reply:
        """What is answered when ``hook`` has raised ``error``. One of ours does not: then it is raised again."""
        guard = self.guards.get(hook)
        if guard is None:
            raise error
        return guard.failed(error)

    # cold: a hook waits
    def awaited(self, hook: Hook, out: Any) -> Any:
        """What is to be awaited when ``hook`` has returned ``out``, or the Reply when it is nothing of the kind."""
        guard = self.guards.get(hook)
        return out if guard is None else guard.awaited(out)


def _no_upstream(_ex: Exchange) -> Upstream:
    raise LookupError("a route without an upstream was asked for one")


class HookGuard(Protocol):
    """Answers for a foreign policy's hook (see :mod:`gatewright.plugins.guard`)."""

    def failed(self, error: Exception) -> Reply:
        """The hook has raised."""

    def awaited(self, out: object) -> Awaitable[Reply | None] | Reply:
        """The hook has returned neither None nor a Reply."""


class ListenerRuntime:
    """What one listener serves.

    It points to parts of the runtime, not to the runtime itself: without cycles an old runtime is freed as soon as its
    last exchange has ended, and the garbage collector need not look at tens of thousands of routes for it.
    """

    __slots__ = ("limits", "name", "router", "spec", "tls", "trust", "unmatched", "upstreams")

    def __init__(
        self, spec: Listener, router: Router, trust: Trust, runtime: Runtime, tls: ServerTls | None = None
    ) -> None:
        self.name = spec.name
        self.spec = spec
        self.limits = spec.limits
        self.router = router
        self.trust = trust
        #: What clients' connections are made secure with; None where they are plain.
        self.tls = tls
        self.unmatched = runtime.unmatched
        self.upstreams = runtime.upstreams


class Runtime:
    """A compiled snapshot."""

    __slots__ = ("listeners", "routers", "routes", "snapshot", "tls", "unmatched", "upstreams", "version")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.version = snapshot.version
        self.upstreams: dict[str, Upstream] = {}
        #: By the settings of upstreams about TLS: what their connections are made with.
        self.tls: dict[tuple[object, ...], Any] = {}
        self.routes: dict[str, Route] = {}
        #: By the set of routes they hold: listeners that serve the same routes share one.
        self.routers: dict[tuple[str, ...], Router] = {}
        self.listeners: dict[str, ListenerRuntime] = {}
        #: Stands in for a route when there is none.
        self.unmatched: Route
