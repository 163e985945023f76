"""A real browser visits a page through the gateway, over TLS, with HTTP/2 and with HTTP/1.1."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.browser import PIECES, Chromium, Site, pin
from tests.sockets.grpc_peers import Service

from gatewright.testing.certs import Authority
from gatewright.testing.gateway import Gateway

pytestmark = pytest.mark.processes

CONFIG = """
version: 1
workers: 1
listeners:
  - name: public
    bind: "127.0.0.1:0"
    protocols: [{protocol}]
    tls:
      certificates:
        - {{cert: {app[0]}, key: {app[1]}}}
        - {{cert: {api[0]}, key: {api[1]}}}
upstreams:
  site: {{endpoints: ["{site}"]}}
  sockets: {{endpoints: ["{sockets}"]}}
  service: {{protocol: grpc, endpoints: ["{service}"]}}
routes:
  - {{name: site, match: {{hosts: [app.test], paths: ["/*"]}}, to: site}}
  - {{name: sockets, match: {{hosts: [app.test], paths: ["/socket"]}}, to: sockets}}
  - name: service
    match: {{hosts: [api.test], paths: ["/test.Service/*"]}}
    to: service
    policies:
      - cors: {{origins: ["https://app.test:*"], headers: [x-echo], expose: [x-echo], grpc_web: true}}
      - grpc_web: {{}}
  - name: refused
    match: {{hosts: [api.test], paths: ["/test.Service/Refused"]}}
    to: service
    policies:
      - cors: {{origins: ["https://app.test:*"], headers: [x-echo], grpc_web: true}}
      - grpc_web: {{}}
      - api_key: {{}}
  - {{name: closed, match: {{hosts: [api.test], paths: ["/no-cors"]}}, respond: {{status: 200, body: secret}}}}
"""

#: Listener's protocol, what the browser calls it, and how many requests it makes at once.
VERSIONS = {"h2": ("h2", 20), "http1": ("http/1.1", 6)}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site() as made:
        yield made


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service() as made:
        yield made


async def visit(folder: Path, site: Site, gateway: Gateway, *pins: str) -> dict[str, Any]:
    """What the page says, when it has done everything."""
    browser = Chromium(folder, *pins)
    port = gateway.port
    await browser.visit(f"https://app.test:{port}/?parallel={site.of_them}&api=https://api.test:{port}")
    try:
        async with asyncio.timeout(25):
            return await site.beacon
    except TimeoutError:
        lines = [f"{line['host']} {line['path']} {line['status']} {line['reason']}" for line in gateway.log_lines()]
        pytest.fail("\n".join(["the page has not come to its end", *lines, browser.said()]))
    finally:
        await browser.close()


@pytest.mark.parametrize("protocol", VERSIONS)
async def test_a_page_does_all_that_pages_do(
    tmp_path: Path, authority: Authority, site: Site, service: Service, gateway: Any, protocol: str
) -> None:
    """The listener speaks one version only, so that whatever works has worked over that one, WebSockets too."""
    called, site.of_them = VERSIONS[protocol]

    def second_message(what: str) -> None:
        if what == "watch/1":
            service.release.set()
        elif what == "watch/2":
            service.release.clear()  # for the call after this one

    site.on_seen = second_message
    app, api = authority.pair("app.test"), authority.pair("api.test")
    text = CONFIG.format(
        protocol=protocol, app=app, api=api, site=site.origin.url, sockets=site.sockets_url, service=service.url
    )
    started = await asyncio.to_thread(gateway, text)
    result = await visit(tmp_path, site, started, pin(app[0]), pin(api[0]))

    assert result.pop("errors") == []
    assert result["styled"] == {"colour": "rgb(1, 2, 3)", "classic": "has run", "pictures": [7, 7, 7]}
    assert result["stream"] == [f"piece {number}" for number in range(1, PIECES + 1)]
    assert result["events"] == [[str(number), f"event {number}"] for number in range(1, PIECES + 1)]
    assert result["socket"] == {
        "received": ["hello, über", "100000 octets of 7"],
        "code": 4001,
        "reason": "as you wish",
        "wasClean": True,
        "protocol": "chat",
    }
    assert result["parallel"] == [f"number {number}" for number in range(site.of_them)]
    assert result["upload"] == {"octets": 1_500_000, "sum": hashlib.sha256(b"A" * 1_500_000).hexdigest()}
    assert result["cookies"] == "one=1; two=2"
    check_calls(result["calls"])
    check_timings(result["timings"], called)
    await asyncio.to_thread(check_log, started, protocol)


def check_calls(calls: dict[str, Any]) -> None:
    """gRPC-Web of a page of another origin."""
    assert calls["forbidden"] == "TypeError", "without CORS no page may read what another origin says"
    for form, kind in (("binary", "application/grpc-web+proto"), ("text", "application/grpc-web-text")):
        unary, stream, fails, refused = (calls[form][name] for name in ("unary", "stream", "fails", "refused"))
        assert (unary["status"], unary["messages"], unary["echo"]) == (200, ["hello"], "Echo")
        assert unary["type"].removesuffix("+proto") == kind.removesuffix("+proto")
        assert (unary["trailers"]["grpc-status"], unary["trailers"]["x-last"]) == ("0", "1")
        assert (stream["messages"], stream["trailers"]["grpc-status"]) == (["first", "second"], "0")
        assert (fails["messages"], fails["trailers"]["grpc-status"], fails["trailers"]["x-why"]) == ([], "5", "told")
        assert (refused["status"], refused["trailers"]["grpc-status"]) == (200, "16")
        assert refused["trailers"]["grpc-message"].startswith("api_key.missing")


def check_timings(timings: list[dict[str, Any]], called: str) -> None:
    """Of the page and its assets; a page may not know the protocol of another origin's answers."""
    own = [each for each in timings if each["host"] == "app.test"]
    paths = {each["path"] for each in own}
    assert {"/", "/asset/style.css", "/asset/classic.js", "/asset/page.js", "/asset/picture.svg"} <= paths
    assert {each["protocol"] for each in own} == {called}
    if called == "h2":
        together = [each for each in own if each["path"].startswith("/together/")]
        assert len(together) == 20
        assert all(each["reused"] for each in together), "all at once, on the connection that was there"


def check_log(gateway: Gateway, protocol: str) -> None:
    """What the gateway says about it."""
    lines = gateway.log_lines(40)
    spoken = {line["path"]: line["protocol"] for line in lines}
    assert spoken["/"] == {"h2": "http2"}.get(protocol, protocol)
    assert (spoken["/socket"], spoken["/events"], spoken["/test.Service/Echo"]) == ("websocket", "sse", "grpc-web")
    (denied,) = {
        line["grpc_status"] for line in lines if line["path"] == "/test.Service/Refused" and line["method"] != "OPTIONS"
    }
    assert denied == "UNAUTHENTICATED"
    assert {line["status"] for line in lines if line["route"] == "site"} == {200}
    if protocol == "h2":
        accepted = gateway.until(lambda: gateway.metric("gatewright_connections_accepted_total", listener="public"))
        assert accepted <= 4, "one for each name, with cookies and without; browsers open one more to be sure"
