import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gatewright import __version__
from gatewright.clock import ManualClock
from gatewright.controller.admin.app import create_app
from gatewright.controller.admin.server import AdminServer
from gatewright.controller.admin.view import View
from gatewright.controller.bus import BreakerState, Bus, EndpointHealth
from gatewright.controller.health import HealthChecker
from gatewright.controller.metrics import Metrics
from gatewright.controller.state import State
from gatewright.controller.verdicts import Verdicts
from gatewright.controller.workers import Worker, Workers
from gatewright.errorlog import ErrorLog
from gatewright.ipc.messages import BreakerChange, HealthChange, Stats
from gatewright.proxy.families import CONNECTIONS, IN_FLIGHT, SEPARATOR
from gatewright.snapshot.model import ActiveHealth, Admin, Breaker, Endpoint, Listener, Snapshot, Upstream, UpstreamTls

UPSTREAM = Upstream(
    "orders",
    (
        Endpoint("http://10.0.0.1:80", "10.0.0.1", 80, name="orders:80", zone="a"),
        Endpoint("http://10.0.0.2:80", "10.0.0.2", 80),
        Endpoint("http://name:80", "", 80),
        Endpoint("https://10.0.0.3:443", "10.0.0.3", 443, "https", "orders"),
    ),
    tls=UpstreamTls(server_name="orders.internal", cert="a", key="the secret", expires=86_400.0),
    active=ActiveHealth(),
    breaker=Breaker(),
)


class Gateway:
    """A controller's state without processes around it, and its admin listener."""

    def __init__(self, log: ErrorLog) -> None:
        self.clock = ManualClock()
        self.bus = Bus(self.clock, log)
        self.metrics = Metrics()
        self.workers = Workers(self.clock, self.bus, log, self.metrics.add, self.metrics.forget)
        self.state = State(self.workers, started=self.clock.wall() - 10, supervisor=os.getpid())
        self.health = HealthChecker(self.clock, lambda change: None)
        self.view = View(self.state, self.metrics, self.health, Verdicts(self.bus, self.clock), self.clock, log)
        self.server = AdminServer(create_app(self.view, [Route("/broken", _broken)]), log)
        self.url = ""

    def apply(self, token: str = "", workers: int = 2) -> None:
        self.state.snapshot = Snapshot(
            version=7,
            digest="abc",
            workers=workers,
            listeners=(Listener("public", "127.0.0.1:0"),),
            upstreams=(UPSTREAM,),
            admin=Admin(token=token),
        )
        self.state.applied = self.clock.wall()
        self.state.addresses = {"public": "127.0.0.1:8000"}

    def worker(self, slot: int, version: int) -> None:
        worker = Worker(slot, os.getpid(), fresh=False, started=self.clock.monotonic() - 5)
        worker.version, worker.heartbeat, worker.connections = version, self.clock.monotonic() - 0.5, 3
        self.workers.by_slot[slot] = worker


async def _broken(request: Request) -> Response:
    raise ZeroDivisionError


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def log(log_file: Path) -> Iterator[ErrorLog]:
    with log_file.open("wb") as file:
        yield ErrorLog("controller", fd=file.fileno())


@pytest.fixture
async def gateway(log: ErrorLog) -> AsyncIterator[Gateway]:
    gateway = Gateway(log)
    sock = socket.create_server(("127.0.0.1", 0))
    gateway.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    await gateway.server.serve(sock)
    yield gateway
    await gateway.server.stop()


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=gateway.url, trust_env=False) as client:
        yield client


async def test_liveness_needs_nothing(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "date" in answer.headers
    assert answer.headers["cache-control"] == "no-store"


async def test_ready_only_when_every_worker_has_applied_the_first_configuration(
    gateway: Gateway, client: httpx2.AsyncClient
) -> None:
    async def ready() -> tuple[int, str]:
        answer = await client.get("/readyz")
        return answer.status_code, answer.json()["reason"]

    assert await ready() == (503, "no configuration has been applied yet")
    gateway.apply()
    assert await ready() == (503, "no worker serves")
    gateway.worker(0, version=7)
    assert await ready() == (503, "1 of 2 workers serve")
    gateway.worker(1, version=0)
    assert (await ready())[0] == 503
    gateway.worker(1, version=7)
    assert await ready() == (200, "")
    del gateway.workers.by_slot[0]  # a crash later on
    assert await ready() == (200, "")
    gateway.state.draining = True
    assert await ready() == (503, "the gateway is stopping")


async def test_the_status_shows_everything(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    gateway.apply()
    gateway.worker(0, version=7)
    gauges = {
        f"{CONNECTIONS}{SEPARATOR}public": 3.0,
        f"{IN_FLIGHT}{SEPARATOR}orders{SEPARATOR}http://10.0.0.1:80": 2.0,
    }
    gateway.metrics.add(Stats(0, {}, gauges, {}))
    until = gateway.clock.monotonic() + 30
    for change in (
        HealthChange("orders", "http://10.0.0.1:80", healthy=False),
        HealthChange("orders", "http://10.0.0.2:80", ejected_until=until),
    ):
        gateway.bus.publish(EndpointHealth(-1, change))
    gateway.bus.publish(BreakerState(0, BreakerChange("orders", "", "open", until)))
    gateway.state.last_error = "gateway.yaml:3:1: no"
    status = (await client.get("/status")).json()
    assert status["version"] == __version__
    assert status["uptime"] == pytest.approx(10)
    assert status["config"]["version"] == 7
    assert status["config"]["digest"] == "abc"
    assert status["config"]["last_error"] == "gateway.yaml:3:1: no"
    assert status["listeners"] == [
        {
            "name": "public",
            "bind": "127.0.0.1:0",
            "address": "127.0.0.1:8000",
            "protocols": ["http1", "h2c"],
            "connections": 3,
            "certificates": [],
        }
    ]
    [worker] = status["workers"]
    assert (worker["slot"], worker["pid"], worker["version"]) == (0, os.getpid(), 7)
    assert worker["heartbeat_age"] == pytest.approx(0.5)
    assert worker["rss"] > 1_000_000
    [upstream] = status["upstreams"]
    assert upstream["breaker"] == "open"
    healths = [endpoint["health"] for endpoint in upstream["endpoints"]]
    assert healths == ["unhealthy", "ejected", "unresolved", "unknown"]
    assert [endpoint["tls"] for endpoint in upstream["endpoints"]] == ["", "", "", "verified as orders.internal"]
    assert upstream["tls"] == {
        "verify": True,
        "authorities": "system",
        "server_name": "orders.internal",
        "min_version": "1.2",
        "certificate_expires": "1970-01-02T00:00:00.000Z",
    }
    assert "the secret" not in json.dumps(status)
    assert upstream["endpoints"][0]["in_flight"] == 2
    assert upstream["endpoints"][1]["ejected_until"].endswith("Z")
    gateway.clock.advance(31)
    status = (await client.get("/status")).json()
    assert status["upstreams"][0]["endpoints"][1]["health"] == "unknown"


async def test_the_metrics_page(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    gateway.apply()
    gateway.worker(0, version=7)
    gateway.bus.publish(BreakerState(0, BreakerChange("orders", "", "open", 1.0)))
    ejected = HealthChange("orders", "http://10.0.0.2:80", ejected_until=gateway.clock.monotonic() + 1)
    gateway.bus.publish(EndpointHealth(0, ejected))
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["gatewright_config_version", frozenset()] == 7
    assert samples["gatewright_ready", frozenset()] == 0
    assert samples["gatewright_config_last_reload_successful", frozenset()] == 1
    assert samples["gatewright_workers", frozenset()] == 1
    assert samples["gatewright_breaker_state", frozenset({"orders", "", "open"})] == 1
    assert samples["gatewright_breaker_state", frozenset({"orders", "", "closed"})] == 0
    assert samples["gatewright_breaker_transitions_total", frozenset({"orders", "", "open"})] == 1
    assert samples["gatewright_endpoint_ejections_total", frozenset({"orders", "http://10.0.0.2:80"})] == 1
    assert samples["gatewright_endpoint_healthy", frozenset({"orders", "http://10.0.0.1:80"})] == 1
    assert samples["gatewright_process_resident_memory_bytes", frozenset({"supervisor", ""})] > 1_000_000
    openmetrics = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert openmetrics.text.endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/status", "/metrics", "/nothing"])
@pytest.mark.parametrize(
    ("authorization", "allowed"),
    [
        ("Bearer s3cret", True),
        ("bearer s3cret", True),
        ("Bearer wrong", False),
        ("Basic s3cret", False),
        ("Bearer s3cre\xe9", False),
        (None, False),
    ],
)
async def test_a_configured_token_must_be_given(
    gateway: Gateway, client: httpx2.AsyncClient, path: str, authorization: str | None, allowed: bool
) -> None:
    gateway.apply(token="s3cret")
    headers = {} if authorization is None else {"authorization": authorization.encode("latin-1")}
    answer = await client.get(path, headers=headers)
    if allowed:
        assert answer.status_code == (404 if path == "/nothing" else 200)
        return
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["reason"] == "admin.token"
    assert "s3cret" not in answer.text
    assert (await client.get("/healthz")).status_code == 200
    assert (await client.get("/readyz")).status_code == 503


async def test_without_a_token_nothing_can_be_changed(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/status")
    assert (answer.status_code, answer.json()["reason"]) == (403, "admin.read_only")


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:9900", 200), ("evil.example:9900", 403), ("", 403)],
)
async def test_a_web_page_cannot_come_in_through_a_name(client: httpx2.AsyncClient, host: str, status: int) -> None:
    assert (await client.get("/status", headers={"host": host})).status_code == status


async def test_unknown_paths_and_methods_are_problems(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    gateway.apply(token="t")
    headers = {"authorization": "Bearer t"}
    answer = await client.get("/nothing", headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (404, "admin.none")
    answer = await client.post("/status", headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (405, "admin.method")


async def test_a_failing_handler_is_reported_and_answered(client: httpx2.AsyncClient, log_file: Path) -> None:
    answer = await client.get("/broken")
    assert (answer.status_code, answer.json()["reason"]) == (500, "internal.error")
    assert "ZeroDivisionError" not in answer.text
    assert "ZeroDivisionError" in _text(log_file)


async def test_the_same_socket_again_changes_nothing(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    await client.get("/healthz")
    sock = socket.create_server(("127.0.0.1", 0))
    address = sock.getsockname()
    again = sock.dup()
    await gateway.server.serve(sock)
    await gateway.server.serve(again)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{address[1]}", trust_env=False) as other:
        assert (await other.get("/healthz")).status_code == 200
    with pytest.raises(httpx2.ConnectError):
        async with httpx2.AsyncClient(trust_env=False) as fresh:
            await fresh.get(f"{gateway.url}/healthz")


async def test_a_unix_socket_is_local(gateway: Gateway, tmp_path: Path) -> None:
    gateway.apply()
    path = str(tmp_path / "admin.sock")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    await gateway.server.serve(sock)
    transport = httpx2.AsyncHTTPTransport(uds=path)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get("/status")).status_code == 200


async def test_an_idle_listener_never_wakes_the_loop(gateway: Gateway) -> None:
    loop = asyncio.get_running_loop()
    assert not loop._scheduled  # type: ignore[attr-defined]


def _text(file: Path) -> str:
    return file.read_text()
