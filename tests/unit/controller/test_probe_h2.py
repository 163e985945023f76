"""Checks over HTTP/2 and by gRPC's health protocol, of real servers and of what is none."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from gatewright.controller.probe import ProbeFailed, probe
from gatewright.controller.probe_h2 import _message
from gatewright.snapshot.model import ActiveHealth, Endpoint, Upstream, UpstreamTls
from gatewright.testing.certs import Authority
from gatewright.testing.raw_client import eventually


def trusting(ca: Path, name: str) -> UpstreamTls:
    return UpstreamTls(ca=ca.read_text("ascii"), server_name=name)


async def check(port: int, protocol: str = "h2", ca: Path | None = None, name: str = "localhost", **active: Any) -> str:
    scheme = "http" if ca is None else "https"
    tls = None if ca is None else trusting(ca, name)
    endpoint = Endpoint(f"{scheme}://127.0.0.1:{port}", "127.0.0.1", port, scheme)
    up = Upstream("up", (endpoint,), protocol, active=ActiveHealth(**{"timeout": 5.0, **active}), tls=tls)
    assert up.active is not None
    return await probe(up, endpoint, up.active)


# --- nghttpd ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["plain", "tls"])
async def nghttpd(
    request: pytest.FixtureRequest, authority: Authority, tmp_path: Path
) -> AsyncIterator[tuple[int, Path | None]]:
    """Its port, and the authority of its certificate."""
    if shutil.which("nghttpd") is None:
        pytest.skip("nghttpd is not installed")
    (tmp_path / "healthz").write_bytes(b"ok")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = ["nghttpd", "-a", "127.0.0.1", "-d", str(tmp_path), str(port)]
    if request.param == "tls":
        cert, key = authority.pair("localhost")
        command += [str(key), str(cert)]
    else:
        command.insert(1, "--no-tls")
    process = await asyncio.create_subprocess_exec(*command)
    try:
        await eventually(lambda: listens(port))
        yield port, authority.ca_path if request.param == "tls" else None
    finally:
        process.terminate()
        await process.wait()


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


async def test_a_request_is_made_and_its_status_counts(nghttpd: tuple[int, Path | None]) -> None:
    port, ca = nghttpd
    assert await check(port, ca=ca, path="/healthz") == "status 200"
    assert await check(port, ca=ca, path="/healthz", method="HEAD", headers={"X-A": "b"}) == "status 200"
    assert await check(port, ca=ca, type="tcp") == "connected"
    with pytest.raises(ProbeFailed, match="status 404"):
        await check(port, ca=ca, path="/none")
    assert await check(port, ca=ca, path="/none", statuses=((404, 404),)) == "status 404"
    with pytest.raises(ProbeFailed, match="the answer is not gRPC: status 404"):
        await check(port, "grpc", ca=ca, type="grpc")


# --- grpcio -----------------------------------------------------------------------------------------------------------


class GrpcServer:
    def __init__(self, credentials: grpc.ServerCredentials | None = None, *, serves_health: bool = True) -> None:
        self.server = grpc.server(ThreadPoolExecutor(2))
        self.health = health.HealthServicer()
        if serves_health:
            health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        if credentials is None:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self.server.add_secure_port("127.0.0.1:0", credentials)
        self.server.start()


@pytest.fixture(params=["plain", "tls"])
def grpc_server(request: pytest.FixtureRequest, authority: Authority) -> Iterator[tuple[GrpcServer, Path | None]]:
    if request.param == "tls":
        cert, key = authority.pair("localhost")
        server = GrpcServer(grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())]))
        yield server, authority.ca_path
    else:
        server = GrpcServer()
        yield server, None
    server.server.stop(None).wait()


async def test_a_server_says_how_it_is(grpc_server: tuple[GrpcServer, Path | None]) -> None:
    server, ca = grpc_server
    statuses = health_pb2.HealthCheckResponse
    assert await check(server.port, "grpc", ca, type="grpc") == "SERVING"
    server.health.set("orders.v1.Orders", statuses.NOT_SERVING)
    with pytest.raises(ProbeFailed, match=r"^NOT_SERVING$"):
        await check(server.port, "grpc", ca, type="grpc", service="orders.v1.Orders")
    server.health.set("orders.v1.Orders", statuses.SERVING)
    assert await check(server.port, "grpc", ca, type="grpc", service="orders.v1.Orders") == "SERVING"
    with pytest.raises(ProbeFailed, match=r"^grpc-status NOT_FOUND$"):
        await check(server.port, "grpc", ca, type="grpc", service="nobody")
    server.health.set("", statuses.UNKNOWN)
    with pytest.raises(ProbeFailed, match=r"^UNKNOWN$"):
        await check(server.port, "grpc", ca, type="grpc")


async def test_a_server_without_the_health_service() -> None:
    server = GrpcServer(serves_health=False)
    with pytest.raises(ProbeFailed, match="grpc-status UNIMPLEMENTED"):
        await check(server.port, "grpc", type="grpc")
    server.server.stop(None).wait()


def test_the_message_is_that_of_the_protocol() -> None:
    for service in ("", "a", "orders.v1.Orders", "é" * 100):
        message = health_pb2.HealthCheckRequest(service=service).SerializeToString()
        assert _message(service) == b"\0" + len(message).to_bytes(4, "big") + message


# --- what is neither --------------------------------------------------------------------------------------------------


async def against(answer: bytes, **active: Any) -> str:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(1)
            writer.write(answer)
            await writer.drain()
        except ConnectionError:
            pass  # the check has seen enough
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        return await check(server.sockets[0].getsockname()[1], **active)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the answer is not HTTP/2"),
        (b"\0\0\x06\4\0\0\0\0\0\0\5\0\0\0\0", "the answer is not HTTP/2"),
        (b"\0\0\0\4\0\0\0\0\0", "closed without answer"),
        (b"\0\0\0\4\0\0\0\0\0\0\0\x08\7\0\0\0\0\0\0\0\0\0\0\0\0\x0b", "HTTP/2 error ENHANCE_YOUR_CALM"),
        (b"\0\0\0\4\0\0\0\0\0\0\0\4\3\0\0\0\0\1\0\0\0\7", "HTTP/2 error REFUSED_STREAM"),
        (b"", "closed without answer"),
    ],
)
async def test_peers_that_do_not_speak_it(answer: bytes, why: str) -> None:
    with pytest.raises(ProbeFailed, match=why):
        await against(answer)


class Scripted:
    """An HTTP/2 server that answers every request with these header fields, this body and these trailers."""

    def __init__(self, head: dict[str, str], body: bytes = b"", trailers: dict[str, str] | None = None) -> None:
        self.head, self.body, self.trailers = head, body, trailers
        self.received = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = H2Connection(H2Configuration(client_side=False))
        connection.initiate_connection()
        try:
            while data := await reader.read(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, DataReceived):
                        self.received += event.data or b""
                        connection.acknowledge_received_data(event.flow_controlled_length or 0, 1)
                    elif isinstance(event, RequestReceived):
                        self.fields = dict(event.headers or ())
                    elif isinstance(event, StreamEnded):
                        self._answer(connection)
                writer.write(connection.data_to_send())
                await writer.drain()
        except ConnectionError:
            pass  # the check has seen enough
        finally:
            writer.close()

    def _answer(self, connection: H2Connection) -> None:
        connection.send_headers(1, list(self.head.items()))
        for start in range(0, len(self.body), 16384):
            connection.send_data(1, self.body[start : start + 16384])
        if self.trailers is not None:
            connection.send_headers(1, list(self.trailers.items()), end_stream=True)


async def scripted(peer: Scripted, **options: Any) -> str:
    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    async with server:
        return await check(server.sockets[0].getsockname()[1], **options)


async def test_a_body_is_sent_within_the_windows() -> None:
    peer = Scripted({":status": "204"})
    body = "x" * 200_000
    assert await scripted(peer, method="POST", body=body, host="orders.internal") == "status 204"
    assert peer.received == body.encode()
    assert peer.fields[b":authority"] == b"orders.internal"
    assert peer.fields[b"content-length"] == b"200000"


GRPC = {":status": "200", "content-type": "application/grpc"}


@pytest.mark.parametrize(
    ("body", "trailers", "why"),
    [
        (b"\0\0\0\0\2\x08\1", {"grpc-status": "0"}, ""),
        (b"\0\0\0\0\2\x08\3", {"grpc-status": "0"}, "SERVICE_UNKNOWN"),
        (b"\0\0\0\0\2\x08\x63", {"grpc-status": "0"}, "99"),
        (b"\0\0\0\0\0", {"grpc-status": "0"}, "UNKNOWN"),
        (b"", {"grpc-status": "0"}, "no message of the health protocol"),
        (b"\0\0\0\0\3\x08\1", {"grpc-status": "0"}, "no message of the health protocol"),
        (b"\1\0\0\0\2\x08\1", {"grpc-status": "0"}, "no message of the health protocol"),
        (b"\0\0\0\0\2\x12\1", {"grpc-status": "0"}, "no message of the health protocol"),
        (b"", {"grpc-status": "77"}, "grpc-status 77"),
        (b"", {"x": "y"}, "the answer is not gRPC"),
        (bytes(17_000), None, "the answer is too long"),
    ],
)
async def test_answers_of_the_health_service(body: bytes, trailers: dict[str, str] | None, why: str) -> None:
    peer = Scripted(GRPC, body, trailers)
    if why:
        with pytest.raises(ProbeFailed, match=why):
            await scripted(peer, protocol="grpc", type="grpc")
    else:
        assert await scripted(peer, protocol="grpc", type="grpc") == "SERVING"


async def test_an_endpoint_that_has_not_agreed_on_http2(authority: Authority) -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    context = authority.server_context("localhost", alpn=("http/1.1",))
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        with pytest.raises(ProbeFailed, match=r"no secure connection: .*(agreed to speak h2|application protocol)"):
            await check(server.sockets[0].getsockname()[1], ca=authority.ca_path)
