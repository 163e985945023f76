"""One real data plane under uvloop, on real sockets, between a client and an origin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import uvloop
from tests.sockets import grpc_peers

from gatewright.testing.data_plane import DataPlaneServer


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    return {"uvloop": uvloop.new_event_loop}


def configuration(url: str, *, listener: str = "", upstream: str = "", route: str = "", good: str = "") -> str:
    """Everything goes to ``url``, without retries and with short times; ``/good`` to ``good``. Additions begin with a comma."""
    if "retries: " not in upstream:
        upstream += ", retries: {attempts: 0}"
    if "timeouts: " not in upstream:
        upstream += ", timeouts: {connect: 300ms, first_byte: 300ms, idle: 300ms}"
    upstreams = f'  up: {{endpoints: ["{url}"]{upstream}}}\n'
    routes = f'  - {{name: all, match: {{paths: ["/*"]}}, to: up{route}}}\n'
    if good:
        upstreams += f'  good: {{endpoints: ["{good}"]}}\n'
        routes += '  - {name: good, match: {paths: ["/good"]}, to: good}\n'
    if '"unix:' not in listener:
        listener = f', bind: "127.0.0.1:0"{listener}'
    return f"""
version: 1
drain_timeout: 5s
telemetry: {{access_log: {{to: "off"}}}}
listeners: [{{name: public{listener}}}]
upstreams:
{upstreams}routes:
{routes}"""


Front = Callable[..., Awaitable[DataPlaneServer]]


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    """Puts a data plane in front of an origin; in the end nothing may be in use and no bug reported."""
    made: list[DataPlaneServer] = []

    async def start(origin: Any, **additions: str) -> DataPlaneServer:
        server = DataPlaneServer(configuration(origin if isinstance(origin, str) else origin.url, **additions))
        await server.__aenter__()
        made.append(server)
        return server

    yield start
    try:
        for server in made:
            await server.settled()
    finally:
        for server in made:
            await server.close()
    for server in made:
        assert server.bugs == []


@pytest.fixture
async def service() -> AsyncIterator[grpc_peers.Service]:
    """A gRPC server."""
    async with grpc_peers.Service("a") as each:
        yield each


@pytest.fixture
async def grpc_gateway() -> AsyncIterator[grpc_peers.Gateway]:
    """Puts a gateway in front of gRPC services; in the end nothing may be in use and no bug reported."""
    async with AsyncExitStack() as stack:
        made: list[DataPlaneServer] = []

        async def start(*services: grpc_peers.Service | str, **additions: str) -> DataPlaneServer:
            server = DataPlaneServer(grpc_peers.configuration(*services, **additions))
            made.append(await stack.enter_async_context(server))
            return server

        yield start
        for server in made:
            await server.settled()
    for server in made:
        assert server.bugs == []
