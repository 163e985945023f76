"""The kit's ``Gateway`` itself."""

from __future__ import annotations

import signal
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from gatewright.errors import ConfigError
from gatewright.testing.gateway import Gateway, GatewayFailed

pytestmark = pytest.mark.processes

CONFIG = """
version: 1
workers: 2
listeners:
  - {name: public, bind: "0.0.0.0:80"}
  - {name: second, bind: "127.0.0.1:81"}
admin: {bind: "127.0.0.1:9900", token: of-the-test}
telemetry: {access_log: {format: text, to: "off", redact: [ssn]}}
routes:
  - {name: hello, match: {paths: ["/"]}, respond: {status: 200, body: "hello"}}
"""


def fetch(url: str) -> tuple[int, bytes]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=20) as response:
        return response.status, response.read()


def test_starts_on_free_ports_tells_and_stops(gateway: Any) -> None:
    made = gateway(CONFIG)
    assert list(made.addresses) == ["public", "second"]
    assert made.port not in {80, 81, made.address("second")[1]}
    assert fetch(made.url + "/?ssn=1") == (200, b"hello")
    assert fetch(made.url_of("second")) == (200, b"hello")
    first, second = made.log_lines(2)
    assert (first["listener"], first["query"], first["bytes_out"]) == ("public", "ssn=***", 5)
    assert second["route"] == "hello"
    made.until(lambda: made.metric("gatewright_requests_total", route="hello", status="200") == 2)
    assert [worker["slot"] for worker in made.status()["workers"]] == [0, 1]
    assert set(made.pids) == {"supervisor", "controller", "worker 0", "worker 1"}
    assert made.admin("/readyz")[0] == 200
    assert made.stop() == 0
    with pytest.raises(OSError, match="refused"):
        fetch(made.url)


def test_reload_says_how_it_ended(gateway: Any) -> None:
    made = gateway(CONFIG, workers=1)
    assert made.reload()["event"] == "config.unchanged"
    assert made.reload(CONFIG.replace('"hello"', '"bye"'))["event"] == "config.applied"
    assert fetch(made.url) == (200, b"bye")
    assert "nonsense" in made.reload("nonsense: 1")["message"]
    assert fetch(made.url) == (200, b"bye")
    assert len(made.pids) == 3


def test_a_configuration_that_cannot_be_used_is_said_at_once(gateway: Any) -> None:
    with pytest.raises(ConfigError):
        gateway("version: 1\n")


def test_waiting_in_vain_shows_the_error_log(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIG)
    with Gateway(file, workers=1) as made:
        made.signal(signal.SIGQUIT)
        with pytest.raises(
            GatewayFailed, match=r"waited for event never\.said; it has ended with 0(.|\n)*gateway\.ready"
        ):
            made.wait_for("never.said")
    with pytest.raises(GatewayFailed, match="not been started"):
        Gateway(file).stop()
