import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gatewright.controller.probe import ProbeFailed, probe, request
from gatewright.snapshot.model import ActiveHealth, Endpoint, Upstream, UpstreamTls
from gatewright.testing.certs import Authority

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Origin:
    """Answers every request with what ``answer`` is at that moment."""

    def __init__(self) -> None:
        self.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        self.requests: list[bytes] = []
        self.connections = 0
        self.asked = asyncio.Event()
        self.silent = False

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            self.asked.set()
            if self.silent:
                await reader.read()
            writer.write(self.answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a TCP check, or one that was given up
        finally:
            writer.close()


@asynccontextmanager
async def serving(handle: Handler) -> AsyncIterator[int]:
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def endpoint(port: int) -> Endpoint:
    return Endpoint(f"http://127.0.0.1:{port}", "127.0.0.1", port)


def upstream(port: int, name: str = "up", **active: object) -> Upstream:
    values = {"interval": 0.01, "timeout": 1.0, "healthy_after": 2, "unhealthy_after": 3, **active}
    return Upstream(name, (endpoint(port),), active=ActiveHealth(**values))  # type: ignore[arg-type]


async def seen(answer: bytes, **active: object) -> str:
    origin = Origin()
    origin.answer = answer
    async with serving(origin.handle) as port:
        up = upstream(port, **active)
        assert up.active is not None
        return await probe(up, up.endpoints[0], up.active)


async def test_interim_answers_are_skipped() -> None:
    assert await seen(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n") == "status 200"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "status 404"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
        (b"HTTP/2 200 OK\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "before the end of the head"),
        (b"", "closed without answer"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", "too long"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 9, "too many interim"),
    ],
)
async def test_what_is_not_well(answer: bytes, why: str) -> None:
    with pytest.raises(ProbeFailed, match=why):
        await seen(answer)


async def test_statuses_are_configurable() -> None:
    assert await seen(b"HTTP/1.1 401 No\r\n\r\n", statuses=((200, 299), (401, 401))) == "status 401"


async def test_silence_is_a_failure_after_the_time_limit() -> None:
    origin = Origin()
    origin.silent = True
    async with serving(origin.handle) as port:
        up = upstream(port, timeout=0.05)
        assert up.active is not None
        with pytest.raises(ProbeFailed, match=r"no answer within 0\.05 s"):
            await probe(up, up.endpoints[0], up.active)


async def test_a_tcp_check_only_connects() -> None:
    async with serving(Origin().handle) as port:
        up = upstream(port, type="tcp")
        assert up.active is not None
        assert await probe(up, up.endpoints[0], up.active) == "connected"
    with pytest.raises(ProbeFailed, match="refused"):
        await probe(up, up.endpoints[0], up.active)


async def test_a_unix_socket_can_be_checked(tmp_path: object) -> None:
    path = f"{tmp_path}/origin.sock"
    server = await asyncio.start_unix_server(Origin().handle, path)
    up = Upstream("up", (Endpoint(f"unix:{path}", path, 0),), active=ActiveHealth())
    assert up.active is not None
    assert await probe(up, up.endpoints[0], up.active) == "status 200"
    server.close()


def test_the_request_has_the_configured_parts() -> None:
    up = Upstream(
        "up",
        (Endpoint("k", "::1", 80),),
        active=ActiveHealth(method="POST", path="/h", body="hé", headers={"X-A": "b", "User-Agent": "me"}),
    )
    assert up.active is not None
    assert request(up, up.endpoints[0], up.active) == (
        b"POST /h HTTP/1.1\r\nhost: [::1]:80\r\nuser-agent: me\r\naccept: */*\r\nconnection: close\r\n"
        b"content-length: 3\r\nx-a: b\r\n\r\n" + "hé".encode()
    )


@pytest.mark.parametrize(
    ("up_host", "name", "check_host", "host"),
    [
        ("preserve", "orders:80", "", "orders:80"),
        ("upstream", "", "", "127.0.0.1:80"),
        ("api.example.com", "orders:80", "", "api.example.com"),
        ("api.example.com", "orders:80", "check.example.com", "check.example.com"),
    ],
)
def test_the_host_of_a_check(up_host: str, name: str, check_host: str, host: str) -> None:
    up = Upstream(
        "up", (Endpoint("k", "127.0.0.1", 80, name=name),), host=up_host, active=ActiveHealth(host=check_host)
    )
    assert up.active is not None
    assert f"\r\nhost: {host}\r\n".encode() in request(up, up.endpoints[0], up.active)


# --- TLS --------------------------------------------------------------------------------------------------------------


async def secure(authority: Authority, context: ssl.SSLContext, tls: UpstreamTls | None = None, **active: Any) -> str:
    server = await asyncio.start_server(Origin().handle, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        where = Endpoint(f"https://127.0.0.1:{port}", "127.0.0.1", port, "https", f"orders.internal:{port}")
        spec = tls or UpstreamTls(ca=authority.ca_path.read_text("ascii"))
        up = Upstream("up", (where,), active=ActiveHealth(**{"timeout": 5.0, **active}), tls=spec)
        assert up.active is not None
        return await probe(up, where, up.active)


async def test_what_is_called_with_tls_is_checked_with_tls(authority: Authority) -> None:
    context = authority.server_context("orders.internal")
    assert await secure(authority, context) == "status 200"
    assert await secure(authority, context, type="tcp") == "connected"
    assert await secure(authority, context, UpstreamTls(verify=False)) == "status 200"


@pytest.mark.parametrize("kind", ["http", "tcp"])
async def test_certificates_are_verified_as_for_traffic(authority: Authority, kind: str) -> None:
    with pytest.raises(ProbeFailed, match=r"no secure connection: .*not valid for 'orders\.internal'"):
        await secure(authority, authority.server_context("stock.internal"), type=kind)
    expired = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    expired.load_cert_chain(*authority.pair("orders.internal", days=-1))
    with pytest.raises(ProbeFailed, match=r"no secure connection: .*certificate has expired"):
        await secure(authority, expired, type=kind)


async def test_our_certificate_is_shown_to_those_who_ask(authority: Authority) -> None:
    context = authority.server_context("orders.internal")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca_path)
    cert, key = authority.client_pair()
    ca = authority.ca_path.read_text("ascii")
    tls = UpstreamTls(ca=ca, cert=cert.read_text("ascii"), key=key.read_text("ascii"))
    assert await secure(authority, context, tls) == "status 200"
    with pytest.raises(ProbeFailed):
        await secure(authority, context)


async def test_a_plain_endpoint_that_should_speak_tls(authority: Authority) -> None:
    origin = Origin()

    async def answer_at_once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(origin.answer)
        writer.close()

    async with serving(answer_at_once) as port:
        where = Endpoint(f"https://127.0.0.1:{port}", "127.0.0.1", port, "https")
        up = Upstream("up", (where,), active=ActiveHealth(), tls=UpstreamTls())
        assert up.active is not None
        with pytest.raises(ProbeFailed, match="what the endpoint has sent is not TLS"):
            await probe(up, where, up.active)
