"""httpbin behind policies: what happens, what `explain` says would happen, and what log and metrics say has happened."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from gatewright.cli.explain import explain
from gatewright.testing.gateway import Gateway

pytestmark = pytest.mark.processes

CONFIG = """
version: 1
workers: 2
listeners: [{{name: public, bind: "127.0.0.1:0"}}]
upstreams:
  httpbin: {{endpoints: ["{httpbin}"]}}
consumers:
  - {{name: acme, groups: [gold], credentials: [{{api_key: acme-secret-key}}]}}
  - {{name: small, credentials: [{{api_key: small-secret-key}}]}}
policies:
  - request_id: {{}}
  - cors: {{origins: ["https://app.example.com"]}}
  - headers:
      request: {{set: {{x-consumer: "{{consumer.name}}", x-route: "{{route.name}}"}}}}
      response: {{set: {{x-gateway: gatewright}}, remove: [server]}}
routes:
  - name: open
    match: {{paths: ["/status/{{code}}", "/bytes/{{n}}"]}}
    to: httpbin
  - name: keyed
    match: {{paths: ["/anything/*", "/headers"]}}
    to: httpbin
    policies:
      - api_key: {{}}
      - rate_limit: {{limit: 3/h, by: consumer, tiers: {{gold: 1000/s}}}}
  - name: posts
    match: {{paths: ["/post"], methods: [POST]}}
    to: httpbin
"""
ACME = {"x-api-key": "acme-secret-key"}
SMALL = {"x-api-key": "small-secret-key"}
APP = {"origin": "https://app.example.com"}


@pytest.fixture
def behind(gateway: Any, httpbin: str) -> Gateway:
    made: Gateway = gateway(CONFIG.format(httpbin=httpbin))
    return made


@pytest.fixture
def client(behind: Gateway) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=behind.url, timeout=20, trust_env=False) as made:
        yield made


def test_keys_limits_and_fields(client: httpx2.Client) -> None:
    assert client.get("/headers").json()["reason"] == "api_key.missing"
    assert client.get("/headers", headers={"x-api-key": "wrong"}).json()["reason"] == "api_key.unknown"
    answer = client.get("/headers?show_env=1", headers={**SMALL, "x-consumer": "root", "x-request-id": "of-the-client"})
    seen = answer.json()["headers"]
    assert (seen["X-Consumer"], seen["X-Route"], seen["X-Request-Id"]) == ("small", "keyed", "of-the-client")
    assert "X-Api-Key" not in seen
    assert answer.headers["x-request-id"] == "of-the-client"
    assert answer.headers["x-gateway"] == "gatewright"
    assert "server" not in answer.headers
    statuses = [client.get("/anything/x", headers=SMALL).status_code for _ in range(4)]
    assert statuses == [200, 200, 429, 429], "three in all, whichever worker takes them"
    refused = client.get("/anything/x", headers=SMALL)
    assert refused.json()["reason"] == "rate_limit.exceeded"
    assert int(refused.headers["retry-after"]) > 0
    assert client.get("/anything/x", headers=ACME).status_code == 200


def test_browsers_of_other_origins(client: httpx2.Client) -> None:
    preflight = {**APP, "access-control-request-method": "GET", "access-control-request-headers": "x-api-key"}
    answer = client.options("/anything/x", headers=preflight)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "https://app.example.com")
    got = client.get("/anything/x", headers={**APP, **ACME})
    assert got.headers.get_list("access-control-allow-origin") == ["https://app.example.com"], "not httpbin's own *"
    stranger = client.get("/anything/x", headers={"origin": "https://evil.example", **ACME})
    assert "access-control-allow-origin" not in stranger.headers


def test_explain_agrees_with_what_happens(
    behind: Gateway, client: httpx2.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    cases: list[tuple[str, str, dict[str, str]]] = [
        ("GET", "/headers", {}),
        ("GET", "/headers", {"x-api-key": "wrong"}),
        ("GET", "/headers", ACME),
        ("GET", "/anything/a%2Fb?c=1", ACME),
        ("POST", "/status/201", {}),
        ("GET", "/post", {}),
        ("GET", "/nowhere", {}),
        ("OPTIONS", "/headers", {**APP, "access-control-request-method": "GET"}),
    ]
    for number, (method, path, headers) in enumerate(cases, 1):
        answer = client.request(method, path, headers=headers)
        url, lines = str(client.base_url.join(path)), [f"{name}: {value}" for name, value in headers.items()]
        explain(method, url, lines, "127.0.0.1", None, behind.files, as_json=True)
        told = json.loads(capsys.readouterr().out)
        line = behind.log_lines(number)[-1]
        where = f"{method} {path} {headers}: {told}"
        assert (told["routing"]["route"] or "") == line["route"], where
        if "answer" in told:
            assert told["answer"]["status"] == answer.status_code == line["status"], where
            assert told["answer"]["reason"] == line["reason"], where
            assert line["endpoint"] == "", where
        elif told["routing"]["route"]:
            assert told["upstream"]["picked"] == line["endpoint"], where
            assert line["reason"] == "", where
        else:
            assert told["routing"]["status"] == answer.status_code == line["status"], where


def test_log_and_metrics_count_what_the_client_counts(behind: Gateway, client: httpx2.Client) -> None:
    asked: Counter[tuple[str, int]] = Counter()
    octets: Counter[str] = Counter()
    sent: Counter[str] = Counter()

    def ask(route: str, method: str, path: str, **options: Any) -> None:
        with client.stream(method, path, **options) as answer:
            octets[route] += sum(map(len, answer.iter_raw()))
        asked[route, answer.status_code] += 1
        sent[route] += len(options.get("content", b""))

    for n in range(30):
        ask("open", "GET", f"/bytes/{n * 1000}?seed=1")
        ask("open", "GET", f"/status/{(200, 404, 503)[n % 3]}")
        ask("keyed", "GET", "/anything/n", headers=ACME if n % 5 else {})
        ask("posts", "POST", "/post", content=b"x" * n * 100)
        ask("", "GET", "/nowhere")
        ask("", "PUT", "/post", content=b"abc")
    total = asked.total()

    lines = behind.log_lines(total)
    assert len(lines) == total
    assert Counter((line["route"], line["status"]) for line in lines) == asked
    assert len({line["request_id"] for line in lines}) == total
    for route, expected in octets.items():
        of_route = [line for line in lines if line["route"] == route]
        assert sum(line["bytes_out"] for line in of_route) == expected, route
        assert sum(line["bytes_in"] for line in of_route if line["status"] != 405) == (sent[route] if route else 0)

    behind.until(lambda: behind.metric("gatewright_requests_total") >= total)
    samples = behind.metrics()
    counted: Counter[tuple[str, int]] = Counter()
    for sample in samples:
        if sample.name == "gatewright_requests_total":
            counted[sample.labels["route"], int(sample.labels["status"])] += int(sample.value)
    assert {(route.replace("_none", ""), status): count for (route, status), count in counted.items()} == asked
    for route in ("open", "keyed", "posts"):
        assert behind.metric("gatewright_response_bytes_total", route=route) == octets[route]
        assert behind.metric("gatewright_request_bytes_total", route=route) == sent[route]
        took = behind.metric("gatewright_request_duration_seconds_count", route=route)
        assert took == sum(count for (name, _), count in asked.items() if name == route)
    upstream = sum(sample.value for sample in samples if sample.name == "gatewright_upstream_requests_total")
    assert upstream == sum(line["tries"] for line in lines)
    assert behind.metric("gatewright_pool_connections_active") == 0
