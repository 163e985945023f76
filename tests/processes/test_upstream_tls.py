"""A whole gateway before an endpoint that asks for a certificate: renewed files, broken files, checks and the status."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gatewright.testing.certs import Authority

pytestmark = pytest.mark.processes

CONFIG = """
version: 1
listeners: [{{name: public, bind: "127.0.0.1:0"}}]
upstreams:
  up:
    endpoints: ["https://127.0.0.1:{port}"]
    tls: {{ca: "{ca}", cert: "{cert}", key: "{key}"}}
    health: {{active: {{interval: 100ms, timeout: 100ms}}}}
    timeouts: {{connect: 5s}}
routes: [{{name: all, match: {{paths: ["/*"]}}, to: up}}]
"""


class Answer(BaseHTTPRequestHandler):
    """Says whose certificate it has seen."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        subject: Any = self.connection.getpeercert()["subject"]  # type: ignore[attr-defined]
        body = next(value for part in subject for name, value in part if name == "commonName").encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


class Endpoint(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Clients that were refused are no matter here."""


@pytest.fixture
def endpoint(authority: Authority) -> Iterator[int]:
    context = authority.server_context("127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca_path)
    server = Endpoint(("127.0.0.1", 0), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


class Load:
    """Asks without pause on one connection, and notes what came."""

    def __init__(self, port: int) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self._port = port
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        while not self._end.wait(0.002):
            connection.request("GET", "/")
            response = connection.getresponse()
            self.answers.append((response.status, response.read()))
        connection.close()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()


def test_a_renewed_certificate_is_used_and_a_broken_one_is_not(
    gateway: Any, authority: Authority, endpoint: int
) -> None:
    cert, key = authority.client_pair("old.example")
    config = CONFIG.format(port=endpoint, ca=authority.ca_path, cert=cert, key=key)
    made = gateway(config, workers=1, watch=True)
    load = Load(made.port)
    made.until(lambda: load.answers)
    authority.renew(cert, key, "new.example", common_name="new.example")
    made.until(lambda: load.answers[-1] == (200, b"new.example"))
    cert.write_text("not a certificate")
    refusal = made.wait_for("config.refused")
    assert "there is nothing in it that is PEM" in refusal["message"]
    seen = len(load.answers)
    made.until(lambda: len(load.answers) > seen + 20)
    load.stop()
    assert {status for status, _ in load.answers} == {200}
    bodies = [body for _, body in load.answers]
    assert bodies == sorted(bodies, reverse=True), "first all the old one, then all the new one"
    (upstream,) = made.status()["upstreams"]
    assert (upstream["tls"]["verify"], upstream["tls"]["authorities"]) == (True, "file")
    assert upstream["endpoints"][0]["tls"] == "verified as 127.0.0.1"
    made.until(lambda: made.status()["upstreams"][0]["endpoints"][0]["check"] == "status 200")
    assert made.metric("gatewright_upstream_tls_failures_total", upstream="up") == 0
    printed = "\n".join([*map(str, made.events), *made.other_lines])
    assert "PRIVATE KEY" not in printed
