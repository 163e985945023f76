"""Snapshot → runtime: the pure part of applying a configuration.

:func:`compile_snapshot` is a generator that rests every few routes, so that a worker compiles between two turns of its
loop while it serves. What the previous runtime had compiled from the same words is used again: routes by their digest,
upstreams by their name (they live on, with all they know of their endpoints). Nothing of the previous runtime is
changed before everything of the new one has been compiled: upstreams are brought up to date in the last step.
"""

from __future__ import annotations

import ssl
from collections.abc import Generator
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Protocol

from gatewright.http.forwarding import Trust
from gatewright.plugins.guard import compile_hook
from gatewright.proxy.actions import (
    FixedAction,
    PathRewrite,
    RedirectAction,
    SplitChoice,
    no_route,
)
from gatewright.proxy.endpoints import Endpoint, Upstream
from gatewright.proxy.multiplex import MultiplexPool
from gatewright.proxy.pool import Pool
from gatewright.proxy.retry import RetryPolicy
from gatewright.proxy.router import build_router
from gatewright.proxy.runtime import HookGuard, ListenerRuntime, Route, Runtime
from gatewright.sdk.policy import Hook, Policy, overrides
from gatewright.snapshot.env import Note, PolicyEnv
from gatewright.snapshot.model import Route as RouteSpec
from gatewright.snapshot.services import Services
from gatewright.tls.client import ClientTls, client_context, name_of, settings_of
from gatewright.tls.server import ServerTls

if TYPE_CHECKING:
    from gatewright.clock import Clock
    from gatewright.ipc.messages import BreakerChange, HealthChange
    from gatewright.plugins.registry import Registry
    from gatewright.proxy.ports import World
    from gatewright.proxy.shared import SharedTable
    from gatewright.snapshot.model import Endpoint as EndpointSpec
    from gatewright.snapshot.model import Listener, PolicySpec, Snapshot, UpstreamTls
    from gatewright.snapshot.model import Upstream as UpstreamSpec

_HOOKS = ("on_request", "on_response", "on_record", "on_request_chunk", "on_response_chunk")
_STEP = 50  # routes between two rests


class Site(Protocol):
    """What compiling needs of the process it runs in."""

    @property
    def world(self) -> World:
        """The worker, or what stands for it."""

    registry: Registry
    policy_clock: Clock
    shared: SharedTable
    note: Note

    def notify(self, change: HealthChange | BreakerChange) -> None:
        """This worker's traffic has changed what is thought of an endpoint."""


def compile_snapshot(snapshot: Snapshot, site: Site, previous: Runtime | None) -> Generator[None, None, Runtime]:
    """Compile ``snapshot``. Raises ValueError (InvalidPolicy included) for what cannot work."""
    runtime = Runtime(snapshot)
    same_ground = previous is not None and _ground(previous.snapshot) == _ground(snapshot)
    known = previous.routes if previous is not None and same_ground else {}
    _make_upstreams(runtime, site, previous)
    services = Services(site.world, runtime.upstreams)
    for number, spec in enumerate(snapshot.routes):
        if not number % _STEP:
            yield
        old = known.get(spec.name)
        if old is not None and old.digest == spec.digest != "" and _keeps_upstreams(old, runtime):
            runtime.routes[spec.name] = old
        else:
            runtime.routes[spec.name] = _compile_route(spec, runtime, site, services)
    runtime.unmatched = _compile_unmatched(snapshot, site, services)
    yield from _compile_listeners(runtime, previous)
    _settle_upstreams(runtime, site)
    if previous is not None:
        for settings in previous.tls.keys() - runtime.tls.keys():
            previous.tls[settings].retire()
    return runtime


def _ground(snapshot: Snapshot) -> tuple[Any, ...]:
    """What all routes stand on: when it changes, they are all compiled anew."""
    return snapshot.plugins, snapshot.consumers, snapshot.metadata.get("plugins_digest")


# --- upstreams ----------------------------------------------------------------------------------------------------


def _make_upstreams(runtime: Runtime, site: Site, previous: Runtime | None) -> None:
    """Upstreams that are known live on; they are changed in :func:`_settle_upstreams`."""
    known = previous.upstreams if previous is not None else {}
    world = site.world
    for spec in runtime.snapshot.upstreams:
        upstream = known.get(spec.name)
        if upstream is None:
            upstream = Upstream(spec, site.notify, world.rand)
        runtime.upstreams[spec.name] = upstream
        if spec.tls is not None:
            _add_context(runtime, spec.tls, spec.protocol, previous)


def _add_context(runtime: Runtime, tls: UpstreamTls, protocol: str, previous: Runtime | None) -> None:
    """Upstreams with the same settings share a context, also over changes, and so the sessions it remembers.

    Raises ValueError when its files cannot be used; they were checked when they were read.
    """
    key = settings_of(tls, protocol)
    if key in runtime.tls:
        return
    context = previous.tls.get(key) if previous is not None else None
    try:
        runtime.tls[key] = context or client_context(tls, protocol)
    except ssl.SSLError as error:
        raise ValueError(f"TLS to upstreams: {error.reason or error}") from error


def _settle_upstreams(runtime: Runtime, site: Site) -> None:
    world = site.world
    workers = runtime.snapshot.workers
    for spec in runtime.snapshot.upstreams:
        upstream = runtime.upstreams[spec.name]
        if upstream.spec is not spec:
            for endpoint in upstream.update(spec):
                if endpoint.pool is not None:
                    endpoint.pool.close()
        for endpoint_spec in spec.endpoints:
            endpoint = upstream.by_key[endpoint_spec.key]
            tls = _tls_of(spec, endpoint_spec, runtime)
            if endpoint.pool is None:
                endpoint.pool = _pool(spec, endpoint, tls, world)
                endpoint.stats = world.stats.endpoint(upstream.name, endpoint.key)
            elif not _same(tls, endpoint.pool.tls) or type(endpoint.pool) is not _POOLS[spec.protocol]:
                endpoint.pool = _successor(spec, endpoint, tls, world)
            endpoint.pool.configure(spec.pool, spec.timeouts.connect, workers)


def _tls_of(spec: UpstreamSpec, endpoint: EndpointSpec, runtime: Runtime) -> ClientTls | None:
    """What makes the connections to an endpoint secure."""
    if spec.tls is None or endpoint.scheme != "https":
        return None
    return ClientTls(runtime.tls[settings_of(spec.tls, spec.protocol)], name_of(spec.tls, endpoint), spec.name)


def _same(tls: ClientTls | None, other: ClientTls | None) -> bool:
    return other is None if tls is None else tls.same(other)


#: By the protocol that an upstream speaks.
_POOLS: dict[str, type[Pool | MultiplexPool]] = {"http1": Pool, "h2": MultiplexPool, "grpc": MultiplexPool}


def _pool(spec: UpstreamSpec, endpoint: Endpoint, tls: ClientTls | None, world: World) -> Pool | MultiplexPool:
    pool = _POOLS[spec.protocol](endpoint, world)
    pool.tls = tls
    return pool


def _successor(spec: UpstreamSpec, endpoint: Endpoint, tls: ClientTls | None, world: World) -> Pool | MultiplexPool:
    """A pool for new connections. Those of the old one end what they are at, and are not used again."""
    old: Pool | MultiplexPool = endpoint.pool
    pool = _pool(spec, endpoint, tls, world)
    pool.created, pool.reused = old.created, old.reused
    old.close()
    return pool


def _keeps_upstreams(route: Route, runtime: Runtime) -> bool:
    """Whether the upstream objects that a compiled route points to are still those of the runtime."""
    return all(runtime.upstreams.get(upstream.name) is upstream for upstream in route.upstreams)


# --- routes -------------------------------------------------------------------------------------------------------


def _compile_route(spec: RouteSpec, runtime: Runtime, site: Site, services: Services) -> Route:
    world = site.world
    route = Route(spec.name, world.stats.route(spec.name))
    route.digest = spec.digest
    route.spec = spec
    route.timeout = spec.timeout
    route.timeouts = spec.timeouts
    route.retries = RetryPolicy(spec.retries) if spec.retries is not None else None
    route.sse_heartbeat = spec.sse_heartbeat
    route.grpc_methods = spec.grpc_methods
    route.websocket = spec.websocket
    route.websocket_idle = spec.websocket_idle
    route.websocket_message = spec.websocket_message
    route.max_body = spec.max_body
    if spec.redirect is not None:
        route.action = RedirectAction(spec.redirect)
    elif spec.respond is not None:
        route.action = FixedAction(spec.respond)
    else:
        upstreams = runtime.upstreams
        route.upstreams = tuple(upstreams[split.upstream] for split in spec.to)
        if len(spec.to) == 1:
            route.upstream = route.upstreams[0]
        else:
            route.choose = SplitChoice(spec.to, upstreams, world.rand)
    rewrite = spec.rewrite
    if rewrite is not None:
        route.host = rewrite.host.encode() if rewrite.host else None
        if rewrite.path is not None or rewrite.strip_prefix or rewrite.add_prefix or rewrite.regex:
            route.rewrite = PathRewrite(rewrite)
    _add_policies(route, spec.policies, runtime.snapshot, site, services)
    return route


def _compile_unmatched(snapshot: Snapshot, site: Site, services: Services) -> Route:
    """The stand-in where no route takes a request: the gateway's own policies run, then 404 or 405."""
    route = Route("", site.world.stats.route(""))
    route.action = no_route
    route.spec = RouteSpec("", policies=snapshot.policies)
    _add_policies(route, snapshot.policies, snapshot, site, services)
    return route


def _add_policies(
    route: Route, specs: tuple[PolicySpec, ...], snapshot: Snapshot, site: Site, services: Services
) -> None:
    """Build the policies and lay out their chains."""
    policies: list[Policy[Any]] = []
    hooks: list[dict[str, Hook]] = []
    for spec in specs:
        cls = site.registry.policies[spec.type]
        world, clock = site.world, site.policy_clock
        env = PolicyEnv(snapshot, spec.type, spec.scope, clock, site.shared, world.stats, site.note, services)
        policy = cls(cls.config.model_validate(spec.config), env)
        policies.append(policy)
        hooks.append(_hooks(policy, spec, env, route.guards))
    route.policies = tuple(policies)
    route.allows_preflight = any(getattr(policy, "allows_preflight", False) for policy in policies)
    request = [i for i, each in enumerate(hooks) if "on_request" in each]
    response = [i for i, each in enumerate(hooks) if "on_response" in each]
    route.request_chain = _chain(hooks, "on_request")
    route.response_chain = _chain(hooks, "on_response")[::-1]
    # Response hooks of policies behind the one that answered have not seen the request: they are skipped.
    route.response_from = (0, *(sum(i > at for i in response) for at in request))
    route.record_chain = _chain(hooks, "on_record")
    route.request_body_chain = _chain(hooks, "on_request_chunk")
    route.response_body_chain = _chain(hooks, "on_response_chunk")[::-1]


def _hooks(policy: Policy[Any], spec: PolicySpec, env: PolicyEnv, guards: dict[Hook, HookGuard]) -> dict[str, Hook]:
    """The hooks that a policy has, with guards for foreign ones and its condition around all."""
    condition = env.expression(spec.when) if spec.when else None
    hooks: dict[str, Hook] = {}
    for name in _HOOKS:
        if overrides(policy, name):
            hooks[name] = compile_hook(policy, name, env, condition, guards)
    return hooks


def _chain(hooks: list[dict[str, Hook]], name: str) -> tuple[Hook, ...]:
    return tuple(each[name] for each in hooks if name in each)


# --- listeners ----------------------------------------------------------------------------------------------------


def _compile_listeners(runtime: Runtime, previous: Runtime | None) -> Generator[None, None, None]:
    """Listeners that serve the same routes share one router."""
    specs = runtime.snapshot.routes
    for listener in runtime.snapshot.listeners:
        names = tuple(spec.name for spec in specs if not spec.listeners or listener.name in spec.listeners)
        router = runtime.routers.get(names)
        if router is None:
            old = previous.listeners.get(listener.name) if previous is not None else None
            chosen = [spec for spec in specs if not spec.listeners or listener.name in spec.listeners]
            rows = [(runtime.routes[spec.name], spec.match, spec.priority) for spec in chosen]
            router = yield from build_router(rows, old.router if old is not None else None)
            runtime.routers[names] = router
        trust = Trust(tuple(ip_network(network, strict=False) for network in listener.trusted_proxies))
        tls = _compile_tls(listener, previous)
        runtime.listeners[listener.name] = ListenerRuntime(listener, router, trust, runtime, tls)


def _compile_tls(listener: Listener, previous: Runtime | None) -> ServerTls | None:
    """TLS of a listener; with what can be used again of the same listener's before."""
    if listener.tls is None:
        return None
    old = previous.listeners.get(listener.name) if previous is not None else None
    if (
        old is not None
        and old.tls is not None
        and (old.spec.tls, old.spec.protocols)
        == (
            listener.tls,
            listener.protocols,
        )
    ):
        return old.tls
    try:
        tls = ServerTls(listener.tls, listener.protocols)
    except ssl.SSLError as error:
        raise ValueError(f"TLS of the listener '{listener.name}': {error.reason or error}") from error
    if old is not None and old.tls is not None:
        tls.reuse(old.tls)
    return tls
