"""TLS for clients on real sockets: certificates by name, versions, protocols, resumption, renewal, HSTS, 421."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import websockets
from tests.sockets.tls_peers import configuration, curl, handshakes, run, s_client, tool

from gatewright.errors import ConfigError
from gatewright.testing import origins
from gatewright.testing.certs import Authority
from gatewright.testing.data_plane import DataPlaneServer
from gatewright.testing.raw_client import RawClient, eventually

pytestmark = pytest.mark.sockets

Serve = Callable[[str], Awaitable[DataPlaneServer]]


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


def shown(client: RawClient) -> set[str]:
    """The names in the certificate that the client was shown."""
    certificate = client.writer.get_extra_info("peercert")
    return {name for kind, name in certificate["subjectAltName"] if kind == "DNS"}


def unchecked(authority: Authority) -> ssl.SSLContext:
    """For clients that take any name."""
    context = authority.client_context()
    context.check_hostname = False
    return context


# --- certificates by name ---------------------------------------------------------------------------------------------


async def test_the_certificate_is_chosen_by_the_name_asked_for(serve: Serve, authority: Authority) -> None:
    pairs = [authority.pair(*names) for names in (("first.example",), ("a.example", "*.wild.example"), ("b.example",))]
    server = await serve(configuration(*pairs))
    for asked, names in {
        "a.example": {"a.example", "*.wild.example"},
        "B.example": {"b.example"},
        "x.wild.example": {"a.example", "*.wild.example"},
        "x.y.wild.example": {"first.example"},
        "wild.example": {"first.example"},
        "unknown.example": {"first.example"},
        "": {"first.example"},
    }.items():
        async with RawClient(server.port, tls=unchecked(authority), name=asked) as client:
            assert shown(client) == names, asked
            assert (await client.get(host=asked.encode() or b"first.example")).body == b"hello"
    assert handshakes(server) == {("TLSv1.3", "no"): 7}


async def test_one_name_may_have_certificates_of_several_kinds(serve: Serve, authority: Authority) -> None:
    server = await serve(
        configuration(
            authority.pair("a.example"), authority.pair("a.example", key_type="rsa"), tls=", max_version: '1.2'"
        )
    )
    for kind in ("ECDSA", "RSA"):
        code, out = await s_client(
            server.port, "-servername", "a.example", "-cipher", f"ECDHE-{kind}-AES128-GCM-SHA256", "-tls1_2"
        )
        assert (code, f"Cipher is ECDHE-{kind}-AES128-GCM-SHA256" in out) == (0, True), out


# --- what is spoken ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "versions"),
    [
        ("", {"-tls1_2", "-tls1_3"}),
        (", min_version: '1.3'", {"-tls1_3"}),
        (", max_version: '1.2'", {"-tls1_2"}),
    ],
)
async def test_versions(serve: Serve, authority: Authority, options: str, versions: set[str]) -> None:
    server = await serve(configuration(authority.pair("localhost"), tls=options))
    good = set()
    for version in ("-tls1", "-tls1_1", "-tls1_2", "-tls1_3"):
        code, out = await s_client(server.port, version, "-cipher", "ALL:@SECLEVEL=0")
        if code == 0 and "Cipher is (NONE)" not in out:
            good.add(version)
        else:
            assert "alert protocol version" in out, out
    assert good == versions
    assert handshakes(server)["version",] == 4 - len(versions)


async def test_only_good_ciphers_are_spoken(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost", key_type="rsa")))
    for cipher in ("AES128-SHA", "AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA384", "NULL"):
        code, out = await s_client(server.port, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
        assert code != 0, out
    assert handshakes(server) == {("cipher",): 5}
    code, out = await s_client(server.port, "-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305")
    assert "Cipher is ECDHE-RSA-CHACHA20-POLY1305" in out
    assert "Compression: NONE" in out
    assert "Secure Renegotiation IS supported" in out


async def test_ciphers_can_be_chosen(serve: Serve, authority: Authority) -> None:
    ciphers = ", ciphers: [ECDHE-RSA-AES256-GCM-SHA384, ECDHE-RSA-AES128-GCM-SHA256]"
    server = await serve(configuration(authority.pair("localhost", key_type="rsa"), tls=ciphers))
    both = "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"
    _, out = await s_client(server.port, "-tls1_2", "-cipher", both)
    assert "Cipher is ECDHE-RSA-AES256-GCM-SHA384" in out, "in the order of the configuration"


async def test_a_client_cannot_renegotiate(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost")))
    _, out = await s_client(server.port, "-tls1_2", "-legacy_renegotiation", stdin=b"R\n")
    assert "no renegotiation" in out.lower(), out


@pytest.mark.parametrize(
    ("protocols", "offered", "agreed"),
    [
        ("", "h2,http/1.1", "h2"),
        ("", "http/1.1", "http/1.1"),
        (", protocols: [http1]", "h2,http/1.1", "http/1.1"),
        (", protocols: [h2]", "http/1.1,h2", "h2"),
    ],
)
async def test_the_protocol_is_agreed_on(
    serve: Serve, authority: Authority, protocols: str, offered: str, agreed: str
) -> None:
    server = await serve(configuration(authority.pair("localhost"), listener=protocols))
    _, out = await s_client(server.port, "-alpn", offered)
    assert f"ALPN protocol: {agreed}" in out


@pytest.mark.parametrize("protocols", ["", ", protocols: [http1]"])
async def test_who_offers_only_other_protocols_is_told_so(serve: Serve, authority: Authority, protocols: str) -> None:
    server = await serve(configuration(authority.pair("localhost"), listener=protocols))
    code, out = await s_client(server.port, "-alpn", "spdy/3,h3")
    assert code != 0
    assert "alert no application protocol" in out
    assert handshakes(server) == {("no_application_protocol",): 1}


@pytest.mark.parametrize(("option", "version"), [("--http1.1", "1.1"), ("--http2", "2")])
async def test_both_versions_of_http_are_served_on_one_port(
    serve: Serve, authority: Authority, option: str, version: str
) -> None:
    server = await serve(configuration(authority.pair("a.example")))
    code, out = await curl(server.port, authority, "a.example", option, "-w", " %{http_version} %{ssl_verify_result}")
    assert (code, out) == (0, f"hello {version} 0")
    record = await server.record()
    assert (record.protocol, record.request.scheme) == ({"1.1": "http1", "2": "http2"}[version], b"https")


async def test_without_alpn_http1_is_served(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost")))
    async with RawClient(server.port, tls=authority.client_context()) as client:
        assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() is None
        assert (await client.get()).status == 200


# --- sessions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_sessions_are_resumed(serve: Serve, authority: Authority, tmp_path: Path, version: str) -> None:
    server = await serve(configuration(authority.pair("first.example"), authority.pair("a.example")))
    session = str(tmp_path / "session")
    request = b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n"
    named = ("-servername", "a.example", "-ign_eof", version)
    _, out = await s_client(server.port, *named, "-sess_out", session, stdin=request)
    assert "\nNew, " in out
    assert out.rstrip().endswith("closed")
    _, out = await s_client(server.port, *named, "-sess_in", session, stdin=request)
    assert "\nReused, " in out
    assert "hello" in out
    said = f"TLSv1.{version[-1]}"
    assert handshakes(server) == {(said, "no"): 1, (said, "yes"): 1}


async def test_tickets_can_be_switched_off(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    server = await serve(configuration(authority.pair("a.example"), tls=", session_tickets: false"))
    _, out = await s_client(server.port, "-tls1_3", "-ign_eof", stdin=b"GET / HTTP/1.0\r\nhost: a.example\r\n\r\n")
    assert "hello" in out
    assert "Session Ticket" not in out


async def test_sessions_outlive_a_renewed_certificate(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    pair = authority.pair("a.example")
    server = await serve(configuration(pair))
    session = str(tmp_path / "session")
    request = b"GET / HTTP/1.0\r\nhost: a.example\r\n\r\n"
    await s_client(server.port, "-tls1_3", "-ign_eof", "-sess_out", session, stdin=request)
    authority.renew(*pair, "a.example", "new.example")
    await server.apply(configuration(pair))
    _, out = await s_client(server.port, "-tls1_3", "-ign_eof", "-sess_in", session, stdin=request)
    assert "\nReused, " in out
    async with RawClient(server.port, tls=authority.client_context(), name="a.example") as client:
        assert shown(client) == {"a.example", "new.example"}


# --- renewal ----------------------------------------------------------------------------------------------------------


async def test_a_renewed_certificate_is_shown_to_new_connections(serve: Serve, authority: Authority) -> None:
    pairs = [authority.pair("first.example"), authority.pair("a.example")]
    server = await serve(configuration(*pairs))
    contexts = authority.client_context()
    async with (
        RawClient(server.port, tls=contexts, name="first.example") as first,
        RawClient(server.port, tls=contexts, name="a.example") as second,
    ):
        for pair, name in zip(pairs, ("first.example", "a.example"), strict=True):
            authority.renew(*pair, name, "renewed.example")
        await server.apply(configuration(*pairs))
        for name in ("first.example", "a.example"):
            async with RawClient(server.port, tls=contexts, name=name) as client:
                assert shown(client) == {name, "renewed.example"}
        for client, name in ((first, b"first.example"), (second, b"a.example")):
            assert shown(client) == {name.decode()}
            assert (await client.get(host=name)).status == 200
            assert (await client.get(host=b"renewed.example")).status == 421, "its own certificate counts"


async def test_half_a_renewal_is_refused_and_the_old_pair_serves(serve: Serve, authority: Authority) -> None:
    cert, key = authority.pair("a.example")
    server = await serve(configuration((cert, key)))
    new_cert, new_key = authority.pair("a.example", "new.example")
    cert.write_bytes(new_cert.read_bytes())
    with pytest.raises(ConfigError, match="does not belong"):
        await server.apply(configuration((cert, key)))
    async with RawClient(server.port, tls=authority.client_context(), name="a.example") as client:
        assert shown(client) == {"a.example"}
    key.write_bytes(new_key.read_bytes())
    await server.apply(configuration((cert, key)))
    async with RawClient(server.port, tls=authority.client_context(), name="a.example") as client:
        assert shown(client) == {"a.example", "new.example"}


async def test_a_listener_may_get_and_lose_its_tls(serve: Serve, authority: Authority) -> None:
    secure = configuration(authority.pair("localhost"))
    begin, end = secure.index(", tls:"), secure.index("}\nroutes")
    plain = secure[:begin] + secure[end:]
    server = await serve(plain)
    async with RawClient(server.port) as old:
        await server.apply(secure)
        async with RawClient(server.port, tls=authority.client_context()) as client:
            assert (await client.get()).status == 200
            await server.apply(plain)
            assert (await client.get()).status == 200, "a connection stays what it was"
        assert (await old.get()).status == 200
        async with RawClient(server.port) as client:
            assert (await client.get()).status == 200


# --- requests for others ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "host", "status"),
    [
        ("a.example", "a.example", 200),
        ("a.example", "A.Example:443", 200),
        ("a.example", "also-a.example", 200),
        ("a.example", "x.wild.example", 200),
        ("a.example", "x.y.wild.example", 421),
        ("a.example", "b.example", 421),
        ("a.example", "127.0.0.1", 200),
        ("a.example", "[::1]", 421),
        ("unknown.example", "unknown.example", 200),
        ("unknown.example", "other.example", 421),
        ("unknown.example", "b.example", 421),
        ("", "a.example", 200),
        ("", "nobody.example", 200),
        ("", "b.example", 421),
    ],
)
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_requests_for_other_hosts_are_misdirected(
    serve: Serve, authority: Authority, asked: str, host: str, status: int, version: str
) -> None:
    pairs = authority.pair("a.example", "also-a.example", "*.wild.example", "127.0.0.1"), authority.pair("b.example")
    server = await serve(configuration(*pairs))
    name = asked or "127.0.0.1"
    code, out = await curl(
        server.port, authority, name, version, "-k", "-H", f"host: {host}", "-w", "\n%{http_code} %{num_connects}"
    )
    assert code == 0, out
    body, _, last = out.rpartition("\n")
    assert last == f"{status} 1"
    if status == 421:
        assert json.loads(body)["reason"] == "request.misdirected"
        assert server.records[0].reason == "request.misdirected"


async def test_http2_connections_survive_a_misdirected_request(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("a.example")))
    url = f"https://a.example:{server.port}/"
    code, out = await curl(
        server.port, authority, "a.example", "--http2", "-H", "host: b.example", "-w", "%{http_code} ", url,
        "--next", "-sS", "--cacert", str(authority.ca_path), "--resolve", f"a.example:{server.port}:127.0.0.1",
        "--http2", "-w", " %{http_code} %{num_connects}",
    )  # fmt: skip
    assert code == 0
    assert "421 hello" in out
    assert out.endswith(" 200 0"), "on the same connection"


async def test_the_check_can_be_left_to_others(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("a.example"), tls=", check_host: false"))
    async with RawClient(server.port, tls=authority.client_context(), name="a.example") as client:
        assert (await client.get(host=b"b.example")).status == 200


# --- HSTS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_hsts_goes_with_every_response(serve: Serve, authority: Authority, version: str) -> None:
    async with origins.echo() as origin:
        routes = f"""upstreams: {{up: {{endpoints: ["{origin.url}"]}}}}
routes:
  - {{name: proxied, match: {{paths: ["/up"]}}, to: up}}
  - name: own
    match: {{paths: ["/own"]}}
    respond: {{status: 200, headers: {{strict-transport-security: max-age=1}}}}
"""
        tls = ", hsts: {max_age: 1h, include_subdomains: true}"
        server = await serve(configuration(authority.pair("a.example"), tls=tls, rest=routes))
        for path, host, value in [
            ("/up", "a.example", "max-age=3600; includeSubDomains"),
            ("/none", "a.example", "max-age=3600; includeSubDomains"),
            ("/up", "b.example", "max-age=3600; includeSubDomains"),
            ("/own", "a.example", "max-age=1"),
        ]:
            _, out = await curl(server.port, authority, "a.example", version, "-i", "-H", f"host: {host}", path=path)
            found = [line for line in out.splitlines() if line.lower().startswith("strict-transport-security:")]
            assert [line.partition(": ")[2] for line in found] == [value], (path, host)


async def test_without_the_option_there_is_no_hsts(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost")))
    async with RawClient(server.port, tls=authority.client_context()) as client:
        assert (await client.get()).get(b"strict-transport-security") is None


# --- bodies and ends --------------------------------------------------------------------------------------------------


async def test_large_bodies_go_both_ways_at_the_pace_of_the_slower_side(serve: Serve, authority: Authority) -> None:
    size = 3 << 20
    async with origins.echo() as origin:
        routes = f'upstreams: {{up: {{endpoints: ["{origin.url}"]}}}}\nroutes: [{{name: all, to: up}}]'
        server = await serve(configuration(authority.pair("localhost"), rest=routes))
        async with RawClient(server.port, tls=authority.client_context()) as client:
            await client.send(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % size)
            sending = asyncio.create_task(client.send(b"x" * size))
            seen = json.loads((await client.response()).body)
            await sending
            assert seen["length"] == size


async def test_a_goodbye_of_the_client_closes_an_idle_connection(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost")))
    client = RawClient(server.port, tls=authority.client_context())
    async with client:
        assert (await client.get()).status == 200
        assert server.plane.connections == 1
    await eventually(lambda: server.plane.connections == 0)


async def test_the_gateway_says_goodbye(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost")))
    async with RawClient(server.port, tls=authority.client_context()) as client:
        await client.send(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        assert (await client.to_end()).endswith(b"hello")


# --- what is more than requests ---------------------------------------------------------------------------------------


async def test_websockets_go_over_tls(serve: Serve, authority: Authority) -> None:
    async with origins.websocket_echo() as origin:
        routes = f'upstreams: {{up: {{endpoints: ["{origin.url}"]}}}}\nroutes: [{{name: all, to: up}}]'
        server = await serve(configuration(authority.pair("localhost"), rest=routes))
        url = f"wss://localhost:{server.port}/"
        async with websockets.connect(url, ssl=authority.client_context(), host="127.0.0.1", proxy=None) as client:
            for message in ("hello", b"x" * 200_000):
                await client.send(message)
                assert await client.recv() == message
    record = await server.record()
    assert (record.protocol, record.request.scheme) == ("websocket", b"https")


async def test_many_streams_on_few_connections(serve: Serve, authority: Authority) -> None:
    server = await serve(configuration(authority.pair("localhost")))
    code, out = await run(tool("h2load"), "-n", "500", "-c", "5", "-m", "20", f"https://127.0.0.1:{server.port}/")
    assert code == 0
    assert "500 succeeded, 0 failed" in out, out
    assert handshakes(server)["TLSv1.3", "no"] == 5


async def test_a_slow_reader_pauses_the_endpoint(serve: Serve, authority: Authority) -> None:
    size = 16 << 20
    async with origins.answers(b"x" * size) as origin:
        routes = f'upstreams: {{up: {{endpoints: ["{origin.url}"]}}}}\nroutes: [{{name: all, to: up}}]'
        server = await serve(configuration(authority.pair("localhost"), rest=routes))
        async with RawClient(server.port, tls=authority.client_context()) as client:
            await client.send(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await client.head()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            (connection,) = server.plane._listeners["public"].connections
            await eventually(lambda: connection.blocked)  # type: ignore[union-attr]
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            assert len(await client.exactly(size)) == size
