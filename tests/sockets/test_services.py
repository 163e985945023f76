"""Services that policies ask, on real sockets: forward_auth in front of an origin, with an auth server beside it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.sockets.conftest import configuration

from gatewright.testing import origins
from gatewright.testing.certs import Authority
from gatewright.testing.data_plane import DataPlaneServer
from gatewright.testing.origin import Connection, Origin
from gatewright.testing.raw_client import RawClient, eventually

pytestmark = pytest.mark.sockets


async def decide(connection: Connection) -> None:
    """Lets ``Bearer good`` pass as anna, and everybody else hears why not."""
    while (seen := await connection.request()) is not None:
        if seen.get(b"authorization") == b"Bearer good":
            await connection.answer(seen, b"welcome", headers=b"x-user: anna\r\nset-cookie: seen=1\r\n")
        else:
            lines = b'www-authenticate: Bearer realm="shop"\r\ncontent-type: text/plain\r\n'
            await connection.answer(seen, b"who are you?", b"401 Unauthorized", lines)


def policy(url: str, more: str = "") -> str:
    options = f'url: "{url}/check", copy_to_upstream: [x-user], copy_to_client: [set-cookie]{more}'
    return f", policies: [forward_auth: {{{options}}}]"


def good(path: str = "/") -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer good\r\nx-user: root\r\n\r\n".encode()


def service(server: DataPlaneServer) -> Any:
    runtime = server.plane.runtime
    assert runtime is not None
    (name,) = (name for name in runtime.upstreams if name.startswith("service "))
    return runtime.upstreams[name]


async def test_who_may_passes_and_the_others_hear_why_not(front: Any) -> None:
    async with origins.echo() as origin, Origin(decide) as auth:
        server = await front(origin, route=policy(auth.url))
        async with RawClient(server.port) as client:
            await client.send(good("/orders?a=1"))
            passed = await client.response()
            refused = await client.get()
            await client.send(good())
            again = await client.response()
    assert (passed.status, passed.all(b"set-cookie")) == (200, [b"seen=1"])
    assert [value for name, value in json.loads(passed.body)["headers"] if name == "x-user"] == ["anna"]
    assert (refused.status, refused.body, refused.get(b"content-type")) == (401, b"who are you?", b"text/plain")
    assert refused.get(b"www-authenticate") == b'Bearer realm="shop"'
    assert again.status == 200
    assert (len(origin.requests), len(auth.requests), auth.connections) == (2, 3, 1)
    assert auth.requests[0].get(b"x-forwarded-uri") == b"/orders?a=1"
    assert [(each.status, each.reason) for each in server.records] == [
        (200, ""),
        (401, "forward_auth.denied"),
        (200, ""),
    ]
    figures = server.plane.stats()
    assert any("gatewright_upstream_requests_total\x1fservice http://" in key for key in figures.counters)


async def test_http2_clients_are_asked_about_as_well(front: Any) -> None:
    async with origins.answers(b"ok") as origin, Origin(decide) as auth:
        server = await front(origin, route=policy(auth.url))
        command = ["curl", "-s", "--http2-prior-knowledge", "-w", "%{http_code} %{http_version}"]
        outs = []
        for token in ("good", "bad"):
            process = await asyncio.create_subprocess_exec(
                *command, "-H", f"authorization: Bearer {token}", server.url, stdout=asyncio.subprocess.PIPE
            )
            outs.append((await process.communicate())[0])
    assert outs == [b"ok200 2", b"who are you?401 2"]
    assert auth.requests[0].get(b"x-forwarded-host") == f"127.0.0.1:{server.port}".encode()


async def test_many_wait_at_a_time_and_nothing_is_left(front: Any) -> None:
    async def slowly(connection: Connection) -> None:
        while (seen := await connection.request()) is not None:
            await connection.released()
            await connection.answer(seen, b"", b"204 No Content")

    async with origins.answers(b"ok") as origin, Origin(slowly) as auth:
        server = await front(origin, route=policy(auth.url))
        clients = [RawClient(server.port) for _ in range(20)]
        for client in clients:
            await client.__aenter__()
            await client.send(good())
        await auth.seen(20)
        for client in clients[:10]:
            client.reset()
        await eventually(lambda: service(server).endpoints[0].in_flight == 10)
        auth.release()
        statuses = [(await client.response()).status for client in clients[10:]]
        for client in clients:
            await client.__aexit__()
        await server.settled()
    assert statuses == [200] * 10
    assert len(origin.requests) == 10


async def test_a_change_of_the_configuration_while_it_is_asked(front: Any) -> None:
    async def slowly(connection: Connection) -> None:
        while (seen := await connection.request()) is not None:
            await connection.released()
            await connection.answer(seen, b"", b"204 No Content")

    async with origins.answers(b"ok") as origin, Origin(slowly) as auth:
        server = await front(origin, route=policy(auth.url))
        async with RawClient(server.port) as client, RawClient(server.port) as other:
            await client.send(good())
            await auth.seen()
            await server.apply(configuration(origin.url))
            assert (await other.get()).status == 200  # nobody is asked any more
            auth.release()
            assert (await client.response()).status == 200
        assert len(auth.requests) == 1


@pytest.mark.parametrize(
    ("auth", "seconds"),
    [
        (origins.refuses, 2),
        (origins.reset_at_once, 2),
        (origins.close_after_head, 2),
        (origins.reset_mid_body, 2),
        (origins.reset_mid_chunk, 2),
        (origins.bad_status_line, 2),
        (origins.header_flood, 2),
        (origins.conflicting_length, 2),
        (origins.bare_lf, 2),
        (origins.bad_chunk, 2),
        (origins.endless, 2),
        (origins.slow_head, 0.2),
        (origins.stall_body, 0.2),
        (origins.accepts_never_reads, 0.2),
        (origins.never_accepts, 0.2),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_services_that_misbehave_let_nobody_pass(front: Any, auth: Callable[[], Origin], seconds: float) -> None:
    async with origins.answers(b"ok") as origin, auth() as bad:
        server = await front(origin, route=policy(bad.url, f", timeout: {int(seconds * 1000)}ms"))
        async with RawClient(server.port) as client:
            await client.send(good())
            response = await client.response()
            assert response.status == 503
            assert json.loads(response.body)["reason"] == "forward_auth.unavailable"
        assert origin.requests == []
        await server.settled()


@pytest.mark.parametrize("known", [True, False])
async def test_the_certificate_is_verified(front: Any, tmp_path: Path, known: bool) -> None:
    authority = Authority(tmp_path)
    async with origins.answers(b"ok") as origin:
        auth = Origin(decide)
        auth.tls = authority.server_context("127.0.0.1")
        async with auth:
            ca = f', ca: "{authority.ca_path}"' if known else f', ca: "{Authority(tmp_path, "another").ca_path}"'
            assert auth.url.startswith("https://")
            server = await front(origin, route=policy(auth.url, ca))
            async with RawClient(server.port) as client:
                await client.send(good())
                response = await client.response()
    assert (response.status, len(auth.requests)) == ((200, 1) if known else (503, 0))


async def test_a_name_is_verified_too(front: Any, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with origins.answers(b"ok") as origin:
        auth = Origin(decide)
        auth.tls = authority.server_context("localhost")
        async with auth:
            port = auth.url.rpartition(":")[2]
            answers = {}
            for host in ("localhost", "127.0.0.1"):
                more = f', ca: "{authority.ca_path}"'
                server = await front(origin, route=policy(f"https://{host}:{port}", more))
                async with RawClient(server.port) as client:
                    await client.send(good())
                    answers[host] = (await client.response()).status
    assert answers == {"localhost": 200, "127.0.0.1": 503}
    assert isinstance(auth.tls, ssl.SSLContext)
