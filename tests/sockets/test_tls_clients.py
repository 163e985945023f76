"""Clients of a TLS listener: those who show certificates, and those who speak something else, or nothing."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from tests.sockets.tls_peers import ROUTES, configuration, curl, handshakes, s_client

from gatewright.testing import origins
from gatewright.testing.certs import Authority
from gatewright.testing.data_plane import DataPlaneServer
from gatewright.testing.raw_client import RawClient, eventually

pytestmark = pytest.mark.sockets

Serve = Callable[[str], Awaitable[DataPlaneServer]]
TEST = """
  - name: {name}
    match: {{paths: ["/{name}"]}}
    respond: {{status: 200, body: "yes"}}
    policies: [ip_filter: {{deny: ["0.0.0.0/0"], when: "{rule}"}}]"""


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts data planes; in the end nothing may be in use and no bug reported."""
    made: list[DataPlaneServer] = []

    async def start(config: str) -> DataPlaneServer:
        server = DataPlaneServer(config)
        await server.__aenter__()
        made.append(server)
        return server

    yield start
    for server in made:
        await server.settled()
        await server.close()
        assert server.bugs == []


def asking(authority: Authority, mode: str, more: str = "") -> str:
    return f', client_auth: {{mode: {mode}, ca: "{authority.ca_path}"{more}}}'


async def ask(server: DataPlaneServer, context: ssl.SSLContext, target: bytes = b"/") -> int:
    """The status of one request; 0 when there is no connection to make it on."""
    try:
        async with RawClient(server.port, tls=context) as client:
            return (await client.get(target)).status
    except (OSError, EOFError):
        return 0


# --- client certificates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("mode", "without", "with_one", "foreign", "expired"),
    [("none", 200, 200, 200, 200), ("optional", 200, 200, 0, 0), ("required", 0, 200, 0, 0)],
)
async def test_client_certificates(
    serve: Serve, authority: Authority, tmp_path: Path, version: ssl.TLSVersion, mode: str, without: int,
    with_one: int, foreign: int, expired: int,
) -> None:  # fmt: skip
    other = Authority(tmp_path, "other")
    tls = "" if mode == "none" else asking(authority, mode)
    server = await serve(configuration(authority.pair("localhost"), tls=tls))
    clients = {
        "without": (None, without),
        "with_one": (authority.client_pair(), with_one),
        "foreign": (other.client_pair(), foreign),
        "expired": (authority.client_pair(days=-1), expired),
    }
    for who, (pair, status) in clients.items():
        context = authority.client_context(pair)
        context.minimum_version = context.maximum_version = version
        assert await ask(server, context) == status, who
    served = [status for _, status in clients.values() if status]
    assert len(server.records) == len(served), "who is refused is not served, not even by mistake"
    await eventually(lambda: server.plane.connections == 0)
    failed = {key[0]: count for key, count in handshakes(server).items() if len(key) == 1}
    assert failed.get("client_certificate", 0) == 2 * (mode != "none")
    assert failed.get("client_certificate_missing", 0) == (mode == "required")


async def test_who_is_refused_is_told_why(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost"), tls=asking(authority, "required")))
    for version, said in {"-tls1_2": "alert handshake failure", "-tls1_3": "alert certificate required"}.items():
        _, out = await s_client(server.port, version, "-ign_eof", stdin=b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert said in out, out
        assert "hello" not in out


async def test_the_identity_is_offered_to_policies(serve: Serve, authority: Authority) -> None:
    pair = authority.client_pair("bob.example")
    certificate = x509.load_pem_x509_certificate(pair[0].read_bytes())
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    rules = {
        "this": f"request.client_certificate.fingerprint != '{fingerprint}'",
        "dns": "!('bob.example' in request.client_certificate.dns)",
        "none": "request.client_certificate.subject == ''",
    }
    routes = "routes:" + "".join(TEST.format(name=name, rule=rule) for name, rule in rules.items())
    tls = asking(authority, "optional")
    server = await serve(configuration(authority.pair("localhost"), tls=tls, rest=routes))
    bob, nobody = authority.client_context(pair), authority.client_context()
    for name in rules:
        assert await ask(server, bob, f"/{name}".encode()) == 200
        assert await ask(server, nobody, f"/{name}".encode()) == 403
    seen = server.records[0].client_certificate
    assert seen is not None
    assert seen.subject == certificate.subject.rfc4514_string()
    assert server.records[1].client_certificate is None


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_upstreams_are_told_of_the_certificate(serve: Serve, authority: Authority, version: str) -> None:
    pair = authority.client_pair("bob.example")
    async with origins.echo() as origin:
        routes = f'upstreams: {{up: {{endpoints: ["{origin.url}"]}}}}\nroutes: [{{name: all, to: up}}]'
        tls = asking(authority, "optional", ", forward: true")
        server = await serve(configuration(authority.pair("a.example"), tls=tls, rest=routes))
        lies = ("-H", "client-cert: :bGll:", "-H", "client-cert-chain: :bGll:")
        for shown in (("--cert", str(pair[0]), "--key", str(pair[1])), ()):
            code, out = await curl(server.port, authority, "a.example", version, *lies, *shown)
            assert code == 0, out
        der = x509.load_pem_x509_certificate(pair[0].read_bytes()).public_bytes(Encoding.DER)
        sent = [
            [value for name, value in seen.headers if name.lower().startswith(b"client-cert")]
            for seen in origin.requests
        ]
        assert sent == [[b":" + base64.b64encode(der) + b":"], []]


async def test_nobody_may_claim_a_certificate_on_a_plain_listener(
    front: Callable[..., Awaitable[DataPlaneServer]],
) -> None:
    async with origins.echo() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            await client.get(more=b"client-cert: :bGll:\r\nClient-Cert-Chain: :bGll:\r\n")
            await client.get(more=b"client-cert: :bGV1:\r\nconnection: client-cert\r\n")
        assert not any(name.lower().startswith(b"client-cert") for seen in origin.requests for name, _ in seen.headers)


async def test_a_resumed_session_keeps_the_identity(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost"), tls=asking(authority, "required")))
    pair = authority.client_pair("bob.example")
    context = authority.client_context(pair)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # its session is complete when the handshake is
    der = x509.load_pem_x509_certificate(pair[0].read_bytes()).fingerprint(hashes.SHA256()).hex()
    session = None
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", server.port)) as plain:
            plain.settimeout(5)
            session = await asyncio.to_thread(one_request, context, plain, session)
    for record in server.records:
        assert record.client_certificate is not None
        assert record.client_certificate.fingerprint == der
    assert handshakes(server) == {("TLSv1.2", "no"): 1, ("TLSv1.2", "yes"): 1}


def one_request(context: ssl.SSLContext, plain: socket.socket, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
    """One request over TLS; the session of the connection."""
    with context.wrap_socket(plain, server_hostname="localhost", session=session) as secure:
        secure.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        assert secure.recv(65536).startswith(b"HTTP/1.1 200 ")
        return secure.session


# --- what is no TLS ---------------------------------------------------------------------------------------------------


async def test_http_without_tls_is_told_what_to_do(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost")))
    async with RawClient(server.port) as client:
        response = await client.get()
        assert response.status == 400
        assert json.loads(response.body)["reason"] == "request.plain_http"
        assert await client.is_closed()
    assert handshakes(server) == {("http",): 1}
    assert server.records == []


HELLO = bytes.fromhex("16030100f8010000f40303") + bytes(32)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00", b"\xff" * 2000, b"SSH-2.0-scanner\r\n", b"\x80\x2e\x01\x03\x01", b"\x16", HELLO, b"\x16\x03\x01\xff\xff" + b"x" * 70000,
        b"\x16\x03\x01\x00\x00" * 100, b"\x16\x03\x01\x00\x04\x01\x00\xff\xff", b"\x15\x03\x01\x00\x02\x02\x00", b"\x17\x03\x03\x00\x05hello",
    ],
)  # fmt: skip
async def test_garbage_closes_the_connection_and_nothing_else(serve: Serve, authority: Authority, data: bytes) -> None:
    server = await serve(configuration(authority.pair("localhost"), tls=", handshake_timeout: 200ms"))
    async with RawClient(server.port) as client:
        await client.send(data)
        assert not (await client.to_end()).startswith(b"HTTP/")
    await eventually(lambda: server.plane.connections == 0)
    (failure,) = handshakes(server)
    assert failure[0] in {"not_tls", "protocol", "timeout", "version", "alert", "cipher"}
    assert await ask(server, authority.client_context()) == 200


async def test_who_says_nothing_is_closed_in_time(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost"), tls=", handshake_timeout: 100ms"))
    async with RawClient(server.port) as client:
        assert await client.is_closed()
    assert handshakes(server) == {("timeout",): 1}


async def test_who_leaves_in_the_middle_is_forgotten(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost")))
    for leave in (RawClient.end, RawClient.reset):
        async with RawClient(server.port) as client:
            await client.send(HELLO)
            leave(client)
            await eventually(lambda: server.plane.connections == 0)
    assert handshakes(server) == {("closed",): 2}
    assert server.plane.world.watched == 0


async def test_random_octets_in_an_open_connection_end_it(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost")))
    client = await RawClient(server.port, tls=authority.client_context()).__aenter__()
    assert (await client.get()).status == 200
    with socket.socket(fileno=os.dup(client.writer.get_extra_info("socket").fileno())) as copy:
        copy.send(b"\x17\x03\x03\x00\x30" + os.urandom(48))
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):  # the alert that it was told
        await client.to_end()
    await eventually(lambda: server.plane.connections == 0)


async def test_a_client_that_does_not_trust_us_is_counted(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost"), tls=", max_version: '1.2'"))
    with pytest.raises(ssl.SSLCertVerificationError):
        await RawClient(server.port, tls=ssl.create_default_context()).__aenter__()
    await eventually(lambda: server.plane.connections == 0)
    (failure,) = handshakes(server)
    assert failure in {("alert",), ("closed",)}


async def test_too_many_connections_are_closed_before_the_handshake(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost"), listener=", limits: {connections: 1}"))
    async with RawClient(server.port, tls=authority.client_context()) as first:
        assert (await first.get()).status == 200
        async with RawClient(server.port) as second:
            assert await second.is_closed()
        assert (await first.get()).status == 200
    assert handshakes(server) == {("TLSv1.3", "no"): 1, ("too_many",): 1}


# --- PROXY, pieces, draining ------------------------------------------------------------------------------------------


async def test_a_proxy_header_may_come_before_tls(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost"), listener=", proxy_protocol: true"))

    def talk() -> bytes:
        with socket.create_connection(("127.0.0.1", server.port)) as plain:
            plain.settimeout(5)
            plain.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n")
            with authority.client_context().wrap_socket(plain, server_hostname="localhost") as secure:
                secure.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                return secure.recv(65536)

    assert (await asyncio.to_thread(talk)).startswith(b"HTTP/1.1 200 ")
    assert (await server.record()).client_addr == "192.0.2.7"


async def test_a_handshake_may_come_octet_by_octet(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost")))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = authority.client_context(alpn=("h2", "http/1.1")).wrap_bio(incoming, outgoing, server_hostname="localhost")
    async with RawClient(server.port) as client:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await client.send_slowly(outgoing.read())
                incoming.write(await client.read())
        assert tls.selected_alpn_protocol() == "h2"
        await client.send_slowly(outgoing.read())
    await eventually(lambda: server.plane.connections == 0)
    assert handshakes(server) == {("TLSv1.3", "no"): 1}


async def test_draining_waits_for_requests_and_not_for_idle_connections(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost"), rest=ROUTES))
    async with RawClient(server.port, tls=authority.client_context()) as client:
        assert (await client.get()).status == 200
        draining = asyncio.create_task(server.plane.drain(5.0))
        assert await client.to_end() == b""
        await asyncio.wait_for(draining, 5)


async def test_draining_gives_up_handshakes(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost")))
    async with RawClient(server.port) as client:
        await client.send(HELLO[:20])
        await eventually(lambda: server.plane.connections == 1)
        await asyncio.wait_for(server.plane.drain(5.0), 5)
        assert await client.is_closed()
    assert handshakes(server) == {("draining",): 1}
