"""The examples of the pages of basic and hmac, on real connections, with curl and the code that stands on the page."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from gatewright.sdk.passwords import PasswordHash
from gatewright.testing import origins
from gatewright.testing.data_plane import DataPlaneServer
from gatewright.testing.raw_client import RawClient

pytestmark = pytest.mark.sockets

PAGES = Path(__file__).parents[2] / "docs" / "policies"
BODY = b'{"amount": 1}'


def block(page: str, language: str) -> str:
    found = re.search(
        rf"^```{language}\n(.*?)^```$", (PAGES / f"{page}.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert found is not None
    return found[1]


def configuration(page: str, origin: Any) -> str:
    text = block(page, "yaml").replace("127.0.0.1:8000", "127.0.0.1:0").replace("http://127.0.0.1:9001", origin.url)
    return text + 'telemetry: {access_log: {to: "off"}}\n'


async def post(server: DataPlaneServer, headers: dict[str, str], body: bytes = BODY) -> tuple[int, bytes]:
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    async with RawClient(server.port) as client:
        first = f"POST /orders/1 HTTP/1.1\r\nhost: 127.0.0.1:8000\r\ncontent-length: {len(body)}\r\n{head}\r\n"
        await client.send(first.encode() + body)
        response = await client.response()
    return response.status, response.body


async def test_signing_as_the_page_says() -> None:
    code: dict[str, Any] = {}
    exec(block("hmac", "python"), code)  # our own page
    async with origins.echo() as origin, DataPlaneServer(configuration("hmac", origin)) as server:
        url, secret = "http://127.0.0.1:8000/orders/1", b"a-secret-of-at-least-16-bytes"
        headers = code["sign"]("POST", url, BODY, "acme-1", secret)
        assert (await post(server, headers))[0] == 200
        status, answer = await post(server, headers)
        assert (status, b"hmac.replayed" in answer) == (401, True)
        status, answer = await post(server, code["sign"]("POST", url, BODY, "acme-1", b"x" * 16))
        assert (status, b"hmac.signature" in answer) == (401, True)
        other = BODY.replace(b"1", b"9")
        status, answer = await post(server, code["sign"]("POST", url, BODY, "acme-1", secret), other)
        assert (status, b"hmac.digest" in answer) == (401, True)
        assert [(seen.body, seen.target) for seen in origin.requests] == [(BODY, b"/orders/1")]
        assert not server.bugs


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_users_with_curl() -> None:
    async with origins.echo() as origin, DataPlaneServer(configuration("basic", origin)) as server:
        for user, expected in (
            ("ann:correct horse battery", b"200"),
            ("ann:correct horse battery", b"200"),
            ("bob:pleaseletmein", b"200"),
            ("bob:wrong", b"401"),
            ("nobody:wrong", b"401"),
        ):
            options = ("-s", "-o", "/dev/null", "-w", "%{http_code}", "-u", user, f"{server.url}/orders/1")
            curl = await asyncio.create_subprocess_exec("curl", *options, stdout=asyncio.subprocess.PIPE)
            assert (await curl.communicate())[0] == expected
        assert [seen.get(b"authorization") for seen in origin.requests] == [None] * 3
        assert not server.bugs


async def test_others_are_served_while_passwords_are_verified(monkeypatch: Any) -> None:
    started, go = threading.Event(), threading.Event()

    def verify(_hash: PasswordHash, _password: bytes) -> bool:
        started.set()
        return not go.wait(30)

    monkeypatch.setattr(PasswordHash, "verify", verify)
    async with origins.echo() as origin, DataPlaneServer(configuration("basic", origin)) as server:
        async with RawClient(server.port) as first, RawClient(server.port) as second:
            request = "GET {} HTTP/1.1\r\nhost: x\r\n{}\r\n"
            await first.send(request.format("/orders/1", "authorization: Basic YW5uOndyb25n\r\n").encode())
            assert await asyncio.to_thread(started.wait, 30)
            await second.send(request.format("/nowhere", "").encode())
            assert (await second.response()).status == 404
            assert [record.status for record in server.records] == [404]  # the first one still waits
            go.set()
            assert (await first.response()).status == 401
        assert not server.bugs


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("http", ["--http1.1", "--http2-prior-knowledge"])
async def test_signing_for_both_versions_with_curl(http: str) -> None:
    code: dict[str, Any] = {}
    exec(block("hmac", "python"), code)  # our own page
    async with origins.echo() as origin, DataPlaneServer(configuration("hmac", origin)) as server:
        for path, body, expected in (
            ("/orders/1?a=%20b&c", BODY, b"200"),
            ("/orders/2", b"", b"200"),
            ("/orders/3", b"x" * 200_000, b"200"),
            ("/orders/4", b"", b"401"),
        ):
            url = server.url + path
            headers = code["sign"]("POST", url, body, "acme-1", b"a-secret-of-at-least-16-bytes")
            if expected != b"200":
                url += "0"
            fields = [option for pair in headers.items() for option in ("-H", ": ".join(pair))]
            options = ("-s", "-o", "/dev/null", "-w", "%{http_code}", http, "--data-binary", "@-", *fields, url)
            pipe = asyncio.subprocess.PIPE
            curl = await asyncio.create_subprocess_exec("curl", *options, stdin=pipe, stdout=pipe)
            assert (await curl.communicate(body))[0] == expected
        assert [len(seen.body) for seen in origin.requests] == [len(BODY), 0, 200_000]
        assert not server.bugs
