"""TLS towards endpoints, with real servers: what is accepted, what is refused, and who hears why."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import socket
import ssl
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import websockets
from tests.sockets.grpc_peers import Caller, Service, channel
from websockets.asyncio.server import ServerConnection, serve

from gatewright.ipc.messages import Log
from gatewright.proxy import families
from gatewright.testing import origins
from gatewright.testing.certs import Authority
from gatewright.testing.origin import Connection, Origin
from gatewright.testing.raw_client import RawClient, RawResponse, eventually

pytestmark = pytest.mark.sockets

MIB = 1 << 20
PATIENT = ", timeouts: {connect: 5s, first_byte: 5s, idle: 5s}"


def secured(origin: Origin, context: ssl.SSLContext) -> Origin:
    origin.tls = context
    return origin


def tls(authority: Authority, more: str = "") -> str:
    return f', tls: {{ca: "{authority.ca_path}"{more}}}'


def notes(server: Any) -> list[dict[str, str]]:
    return [each.fields for each in server.messages if isinstance(each, Log) and each.event == "upstream.tls"]


def failures(server: Any) -> dict[str, float]:
    """Cause → count."""
    counters = server.plane.stats().counters
    parts = {key: value for key, value in counters.items() if key.startswith(families.TLS_FAILURES)}
    return {key.split(families.SEPARATOR)[2]: value for key, value in parts.items()}


async def refused(server: Any, cause: str, said: str) -> None:
    """The client gets a 502 that says nothing, the operator one line that says all, the metric its cause."""
    async with RawClient(server.port) as client:
        response = await client.get()
        assert response.status == 502
        problem = json.loads(response.body)
        assert problem["reason"] == "upstream.tls"
        assert said not in response.body.decode()
        await client.get()
    first, *more = notes(server)
    assert first["cause"] == cause
    assert said in first["message"]
    assert not more, "once a second"
    assert failures(server) == {cause: 2}


def peer_of(connection: Connection) -> ssl.SSLObject:
    found: ssl.SSLObject = connection.writer.get_extra_info("ssl_object")
    return found


def watching(connections: list[ssl.SSLObject], then: str = "keep") -> Origin:
    """Answers, and notes the TLS side of each connection."""

    async def behave(connection: Connection) -> None:
        connections.append(peer_of(connection))
        while (seen := await connection.request()) is not None:
            await connection.answer(seen, b"secret")
            if then == "close":
                return

    return Origin(behave)


async def get(server: Any) -> RawResponse:
    async with RawClient(server.port) as client:
        return await client.get()


# --- what is accepted -------------------------------------------------------------------------------------------------


async def test_an_address_is_verified_and_not_asked_for_by_name(front: Any, authority: Authority) -> None:
    connections: list[ssl.SSLObject] = []
    names: list[str | None] = []
    context = authority.server_context("127.0.0.1", alpn=("h2", "http/1.1"))
    context.sni_callback = lambda _connection, name, _context: names.append(name)
    async with secured(watching(connections), context) as origin:
        server = await front(origin, upstream=tls(authority))
        async with RawClient(server.port) as client:
            assert [(await client.get()).body for _ in range(3)] == [b"secret"] * 3
        assert origin.connections == 1
    assert names == [None]
    assert connections[0].selected_alpn_protocol() == "http/1.1"
    assert connections[0].version() == "TLSv1.3"
    assert notes(server) == []


async def test_a_server_name_is_asked_for_and_verified(front: Any, authority: Authority) -> None:
    names: list[str | None] = []
    context = authority.server_context("inventory.internal")
    context.sni_callback = lambda _connection, name, _context: names.append(name)
    async with secured(origins.answers(), context) as origin:
        server = await front(origin, upstream=tls(authority, ", server_name: inventory.internal"))
        assert (await get(server)).status == 200
    assert names == ["inventory.internal"]


async def test_a_host_name_keeps_its_name(front: Any, authority: Authority) -> None:
    names: list[str | None] = []
    context = authority.server_context("orders.localhost")
    context.sni_callback = lambda _connection, name, _context: names.append(name)
    async with secured(origins.echo(), context) as origin:
        url = f"https://orders.localhost:{origin.port}"
        server = await front(url, upstream=tls(authority) + ", host: upstream")
        assert (await get(server)).status == 200
        assert origin.requests[0].get(b"host") == f"orders.localhost:{origin.port}".encode()
    assert names == ["orders.localhost"]


async def test_the_trust_of_the_system_is_the_default(
    front: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with secured(origins.answers(), authority.server_context("127.0.0.1")) as origin:
        server = await front(origin)
        await refused(server, "untrusted", "unable to get local issuer certificate")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_path))
        other = await front(origin)
        assert (await get(other)).status == 200


async def test_without_verification_anything_goes(front: Any, authority: Authority) -> None:
    expired = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    expired.load_cert_chain(*authority.pair("elsewhere.example", days=-1))
    async with secured(origins.answers(), expired) as origin:
        server = await front(origin, upstream=", tls: {verify: false}")
        assert (await get(server)).status == 200


async def test_an_older_version_is_spoken(front: Any, authority: Authority) -> None:
    context = authority.server_context("127.0.0.1")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    connections: list[ssl.SSLObject] = []
    async with secured(watching(connections), context) as origin:
        assert (await get(await front(origin, upstream=tls(authority)))).status == 200
        assert connections[0].version() == "TLSv1.2"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_sessions_are_resumed(front: Any, authority: Authority, version: ssl.TLSVersion) -> None:
    connections: list[ssl.SSLObject] = []
    context = authority.server_context("127.0.0.1")
    context.maximum_version = version
    async with secured(watching(connections, then="close"), context) as origin:
        server = await front(origin, upstream=tls(authority))
        for _ in range(3):
            assert (await get(server)).status == 200
            await origin.all_closed()
    assert [each.session_reused for each in connections] == [False, True, True]


# --- what is not ------------------------------------------------------------------------------------------------------


async def test_an_expired_certificate(front: Any, authority: Authority) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.pair("127.0.0.1", days=-1))
    async with secured(origins.answers(), context) as origin:
        await refused(await front(origin, upstream=tls(authority)), "expired", "certificate has expired")


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("127.0.0.2", "", "not valid for '127.0.0.1'"),
        ("orders.internal", "", "not valid for '127.0.0.1'"),
        ("orders.internal", ", server_name: stock.internal", "not valid for 'stock.internal'"),
        ("*.internal", ", server_name: a.b.internal", "not valid for 'a.b.internal'"),
    ],
)
async def test_a_certificate_for_another_name(
    front: Any, authority: Authority, name: str, more: str, said: str
) -> None:
    async with secured(origins.answers(), authority.server_context(name)) as origin:
        await refused(await front(origin, upstream=tls(authority, more)), "name", said)


async def test_an_authority_that_nobody_trusts(front: Any, authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    async with secured(origins.answers(), stranger.server_context("127.0.0.1")) as origin:
        await refused(await front(origin, upstream=tls(authority)), "untrusted", "local issuer certificate")


async def test_a_certificate_that_signs_itself(front: Any, authority: Authority, self_signed: Any) -> None:
    cert, key = self_signed
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    async with secured(origins.answers(), context) as origin:
        await refused(await front(origin, upstream=tls(authority)), "untrusted", "self-signed certificate")
        server = await front(origin, upstream=f', tls: {{ca: "{cert}"}}')
        assert (await get(server)).status == 200, "it is good where it is the one that is trusted"


@pytest.fixture
async def self_signed(tmp_path: Path) -> tuple[Path, Path]:
    cert, key = tmp_path / "self.pem", tmp_path / "self.key"
    process = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"),
        *("-subj", "/CN=self", "-addext", "subjectAltName=IP:127.0.0.1", "-out", cert, "-keyout", key),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    return cert, key


async def test_garbage_in_place_of_tls(front: Any, authority: Authority) -> None:
    async def behave(connection: Connection) -> None:
        await connection.reader.read(1)
        await connection.send(b"SSH-2.0-OpenSSH_9\r\n" * 10)
        await connection.closed()

    async with Origin(behave) as origin:
        server = await front(f"https://127.0.0.1:{origin.port}", upstream=tls(authority))
        await refused(server, "protocol", "what the endpoint has sent is not TLS")


async def test_plain_http_on_the_port(front: Any, authority: Authority) -> None:
    async def behave(connection: Connection) -> None:
        await connection.reader.read(1)
        await connection.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    async with Origin(behave) as origin:
        server = await front(f"https://127.0.0.1:{origin.port}", upstream=tls(authority))
        await refused(server, "protocol", "what the endpoint has sent is not TLS")


async def at_once(connection: Connection) -> None:
    """Closes."""


async def test_a_connection_that_ends_during_the_handshake(front: Any, authority: Authority) -> None:
    async with Origin(at_once) as origin:
        server = await front(f"https://127.0.0.1:{origin.port}", upstream=tls(authority))
        await refused(server, "closed", "has closed the connection during the handshake")


async def test_a_handshake_that_never_ends(front: Any, authority: Authority) -> None:
    async def behave(connection: Connection) -> None:
        await connection.closed()

    async with Origin(behave) as origin:
        server = await front(f"https://127.0.0.1:{origin.port}", upstream=tls(authority))
        await refused(server, "timeout", "the handshake was not complete")
        await origin.all_closed()
        assert origin.connections == 2


async def test_nobody_at_the_port_is_no_matter_of_tls(front: Any, authority: Authority) -> None:
    async with origins.refuses() as origin:
        server = await front(f"https://127.0.0.1:{origin.port}", upstream=tls(authority))
        async with RawClient(server.port) as client:
            assert json.loads((await client.get()).body)["reason"] == "upstream.connect"
    assert failures(server) == {}


async def test_another_endpoint_is_tried_and_the_bad_one_ejected(
    front: Any, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    async with (
        secured(origins.answers(), stranger.server_context("127.0.0.1")) as bad,
        secured(origins.answers(), authority.server_context("127.0.0.1")) as good,
    ):
        more = ", retries: {attempts: 1, backoff: 1ms}, health: {passive: {consecutive_failures: 3}}"
        server = await front(f'{bad.url}", "{good.url}', upstream=tls(authority) + more)
        async with RawClient(server.port) as client:
            for _ in range(10):
                await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi")
                assert (await client.response()).status == 200
        assert failures(server) == {"untrusted": 3}
        assert len(good.requests) == 10


# --- the gateway's own certificate ------------------------------------------------------------------------------------


class OpenSsl:
    """``openssl s_server``, which says what it has seen in an HTML page."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.url = f"https://127.0.0.1:{port}"


@pytest.fixture
async def openssl(authority: Authority) -> AsyncIterator[Callable[..., Any]]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    running: list[OpenSsl] = []

    async def start(*options: str) -> OpenSsl:
        cert, key = authority.pair("127.0.0.1")
        process = await asyncio.create_subprocess_exec(
            *("openssl", "s_server", "-accept", "127.0.0.1:0", "-www", "-cert", cert, "-key", key),
            *("-CAfile", authority.ca_path, *options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        while not (line := await process.stdout.readline()).startswith(b"ACCEPT"):
            assert line, "openssl has ended"
        running.append(OpenSsl(process, int(line.rpartition(b":")[2])))
        return running[-1]

    yield start
    for each in running:
        each.process.kill()
        await each.process.wait()


async def test_a_version_that_is_too_old(front: Any, authority: Authority, openssl: Any) -> None:
    peer = await openssl("-tls1_2")
    server = await front(peer.url, upstream=tls(authority, ', min_version: "1.3"') + PATIENT)
    await refused(server, "refused", "protocol version")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_a_certificate_of_ours_that_is_asked_for(
    front: Any, authority: Authority, openssl: Any, version: str
) -> None:
    peer = await openssl("-Verify", "1", "-verify_return_error", version)
    cert, key = authority.client_pair("gateway.internal")
    server = await front(peer.url, upstream=tls(authority, f', cert: "{cert}", key: "{key}"') + PATIENT)
    async with RawClient(server.port) as client:
        response = await client.get()
    assert response.status == 200
    assert b"gateway.internal" in response.body


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_a_certificate_of_ours_that_is_missing(
    front: Any, authority: Authority, openssl: Any, version: str
) -> None:
    """With TLS 1.3 the endpoint says so when the connection seems to be made."""
    peer = await openssl("-Verify", "1", "-verify_return_error", version)
    server = await front(peer.url, upstream=tls(authority) + PATIENT)
    await refused(server, "refused", "handshake failure" if version == "-tls1_2" else "certificate required")


async def test_renewed_files_are_used_for_new_connections_and_drop_nothing(
    front: Any, authority: Authority, tmp_path: Path
) -> None:
    context = authority.server_context("127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca_path)
    shown: list[str] = []

    async def behave(connection: Connection) -> None:
        subject: Any = (peer_of(connection).getpeercert() or {})["subject"]
        shown.append(next(value for part in subject for name, value in part if name == "commonName"))
        while (seen := await connection.request()) is not None:
            if seen.target == b"/slow":
                await connection.released()
            await connection.answer(seen, shown[-1].encode())

    cert, key = authority.client_pair("old.example")
    async with secured(Origin(behave), context) as origin:
        text = tls(authority, f', cert: "{cert}", key: "{key}"') + PATIENT
        server = await front(origin, upstream=text)
        async with RawClient(server.port) as slow, RawClient(server.port) as quick:
            await slow.send(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
            await origin.seen()
            assert (await quick.get()).status == 200
            authority.renew(cert, key, "new.example", common_name="new.example")
            await server.apply(server.config)
            await eventually(lambda: origin.open == 1)  # the idle one is closed, the other is at work
            assert (await quick.get()).status == 200
            origin.release()
            assert (await slow.response()).status == 200
            await eventually(lambda: origin.open == 1)  # and is not used again
        assert shown == ["old.example", "old.example", "new.example"]
        await server.apply(server.config)
        assert (await get(server)).status == 200
        assert origin.connections == 3, "files that stay the same change nothing"


# --- bodies -----------------------------------------------------------------------------------------------------------


async def test_large_bodies_both_ways(front: Any, authority: Authority) -> None:
    body = hashlib.sha256(b"seed").digest() * (10 * MIB // 32)
    async with secured(origins.echo(), authority.server_context("127.0.0.1")) as origin:
        server = await front(origin, upstream=tls(authority) + PATIENT)
        async with RawClient(server.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            response = await client.response()
        assert (response.status, origin.requests[0].body == body) == (200, True)


async def test_a_slow_reader_slows_the_endpoint(front: Any, authority: Authority) -> None:
    sent = 0

    async def behave(connection: Connection) -> None:
        nonlocal sent
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (50 * MIB))
        for _ in range(50):
            await connection.send(bytes(MIB))
            sent += 1

    async with secured(Origin(behave), authority.server_context("127.0.0.1")) as origin:
        server = await front(origin, upstream=tls(authority) + PATIENT)
        async with RawClient(server.port) as client:
            await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await origin.seen()
            before = -1
            while before != sent:  # until nothing moves any more
                before = sent
                await asyncio.sleep(0.1)
            assert sent < 40
            assert len((await client.response()).body) == 50 * MIB


async def test_a_body_without_a_length_ends_with_close_notify(front: Any, authority: Authority) -> None:
    async with secured(origins.http10_close_delimited(), authority.server_context("127.0.0.1")) as origin:
        server = await front(origin, upstream=tls(authority))
        assert (await get(server)).body == b"until the end"
        assert (await server.record()).reason == ""


async def test_a_body_without_a_length_that_is_cut_off_is_not_taken_for_whole(front: Any, authority: Authority) -> None:
    """Truncation: somebody in between ends the TCP connection, and cannot forge the end of TLS (RFC 8446 section 6.1)."""

    async def behave(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.0 200 OK\r\n\r\nhalf of it")
        await connection.released()
        sock = connection.writer.get_extra_info("socket")
        with socket.socket(fileno=socket.dup(sock.fileno())) as copy:
            copy.shutdown(socket.SHUT_WR)
        await connection.closed()

    async with secured(Origin(behave), authority.server_context("127.0.0.1")) as origin:
        server = await front(origin, upstream=tls(authority))
        async with RawClient(server.port) as client:
            await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await origin.seen()
            origin.release()
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await client.response()
        assert (await server.record()).reason == "upstream.truncated"


# --- WebSocket --------------------------------------------------------------------------------------------------------


async def test_websocket_over_tls(front: Any, authority: Authority) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(
        echo, "127.0.0.1", 0, ssl=authority.server_context("127.0.0.1"), max_size=None, compression=None
    ) as peer:
        url = f"https://127.0.0.1:{peer.sockets[0].getsockname()[1]}"
        server = await front(url, upstream=tls(authority) + PATIENT)
        target = f"ws://127.0.0.1:{server.port}/"
        async with websockets.connect(target, proxy=None, max_size=None, compression=None) as client:
            for message in ("hello", bytes(2 * MIB)):
                await client.send(message)
                assert await client.recv() == message


async def test_half_a_tunnel_over_tls_is_the_end_of_it(
    front: Any, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """A TLS connection ends in both directions; nothing is left open, and nobody complains."""

    async def behave(connection: Connection) -> None:
        await connection.request_head()
        await connection.send(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nbye"
        )
        if (await connection.reader.read(5)) == b"leave":
            return
        await connection.closed()

    request = (
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with secured(Origin(behave), authority.server_context("127.0.0.1")) as origin:
        server = await front(origin, upstream=tls(authority))
        for word in (b"leave", b""):
            async with RawClient(server.port) as client:
                await client.send(request)
                await client.reader.readuntil(b"bye")
                if word:
                    await client.send(word)
                else:
                    client.writer.write_eof()
                assert await client.reader.read() == b""
            await origin.all_closed()
        assert len(server.records) == 2
    assert caplog.records == []


# --- HTTP/2 -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def nghttpd(authority: Authority, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts nghttpd with a certificate for 127.0.0.1, one small file and a large one; gives its URL."""
    if shutil.which("nghttpd") is None:
        pytest.skip("nghttpd is not installed")
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "small").write_bytes(b"ok")
    (folder / "large").write_bytes(bytes(10 * MIB))
    running: list[asyncio.subprocess.Process] = []

    async def start(*options: str) -> str:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        cert, key = authority.pair("127.0.0.1")
        command = ["nghttpd", "-a", "127.0.0.1", "-d", str(folder), *options, str(port), str(key), str(cert)]
        running.append(await asyncio.create_subprocess_exec(*command))
        await eventually(lambda: listens(port))
        return f"https://127.0.0.1:{port}"

    yield start
    for each in running:
        each.terminate()
        await each.wait()


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


async def test_http2_over_tls(front: Any, authority: Authority, nghttpd: Any) -> None:
    server = await front(await nghttpd(), upstream=tls(authority) + ", protocol: h2" + PATIENT)
    async with RawClient(server.port) as one, RawClient(server.port) as other:
        large = asyncio.create_task(one.get(b"/large"))
        assert [(await other.get(b"/small")).body for _ in range(20)] == [b"ok"] * 20
        assert len((await large).body) == 10 * MIB
    (endpoint,) = server.endpoints
    assert endpoint.pool.created == 1, "all on one connection"


async def test_http2_that_is_not_agreed_on(front: Any, authority: Authority) -> None:
    async with secured(origins.answers(), authority.server_context("127.0.0.1")) as origin:
        server = await front(origin, upstream=tls(authority) + ", protocol: h2" + PATIENT)
        async with RawClient(server.port) as client:
            assert json.loads((await client.get()).body)["reason"] == "upstream.protocol"
        (note,) = notes(server)
        assert note["cause"] == "alpn"
        assert "the endpoint has not agreed to speak h2 (ALPN)" in note["message"]
        await origin.all_closed()


async def test_http2_with_an_expired_certificate(front: Any, authority: Authority) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.pair("127.0.0.1", days=-1))
    context.set_alpn_protocols(["h2"])
    async with secured(origins.answers(), context) as origin:
        server = await front(origin, upstream=tls(authority) + ", protocol: h2" + PATIENT)
        await refused(server, "expired", "certificate has expired")


async def test_grpc_with_a_certificate_of_ours(front: Any, authority: Authority) -> None:
    cert, key = authority.pair("127.0.0.1")
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), cert.read_bytes())], authority.ca_path.read_bytes(), require_client_auth=True
    )
    own_cert, own_key = authority.client_pair()
    own = f', cert: "{own_cert}", key: "{own_key}"'
    async with Service(credentials=credentials) as service:
        server = await front(service, upstream=tls(authority, own) + ", protocol: grpc" + PATIENT)
        async with channel(server) as to:
            assert await Caller(to).unary("Echo", b"hello") == b"hello"
        without = await front(service, upstream=tls(authority) + ", protocol: grpc" + PATIENT)
        answer = await get(without)  # whether the alert comes through is up to gRPC's closing of the connection
        assert json.loads(answer.body)["reason"] in {"upstream.tls", "upstream.protocol"}
        (log,) = [each for each in without.messages if isinstance(each, Log)]
        assert "certificate" in str(log.fields)


async def test_plain_http2_that_is_none(front: Any) -> None:
    async with origins.answers() as origin:
        server = await front(origin, upstream=", protocol: h2" + PATIENT)
        async with RawClient(server.port) as client:
            assert json.loads((await client.get()).body)["reason"] == "upstream.protocol"


async def test_a_renewed_certificate_leaves_calls_in_flight_alone(front: Any, authority: Authority) -> None:
    cert, key = authority.pair("127.0.0.1")
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), cert.read_bytes())], authority.ca_path.read_bytes(), require_client_auth=True
    )
    own_cert, own_key = authority.client_pair("old.example")
    own = f', cert: "{own_cert}", key: "{own_key}"'
    async with Service(credentials=credentials) as service:
        server = await front(service, upstream=tls(authority, own) + ", protocol: grpc" + PATIENT)
        async with channel(server) as to:
            waiting = Caller(to).unary("Wait", b"old")
            await eventually(lambda: service.calls["Wait"])
            (endpoint,) = server.endpoints
            old = [endpoint.pool]
            context = weakref.ref(old[0].tls.context)
            authority.renew(own_cert, own_key, "new.example", common_name="new.example")
            await server.apply(server.config)
            assert endpoint.pool is not old[0]
            assert await Caller(to).unary("Echo", b"new") == b"new"
            assert len(service.peers) == 2, "on a connection of its own"
            assert old[0].open == 1
            service.release.set()
            assert await waiting == b"old"
            await eventually(lambda: old[0].open == 0)  # gRPC does not answer to the end of TLS
            old.clear()
            await eventually(lambda: context() is None)
