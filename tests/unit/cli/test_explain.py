from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gatewright.cli import exits
from gatewright.cli.dry_run import request
from gatewright.cli.main import dispatch

CONFIG = """version: 1
listeners:
  - {name: public, bind: 127.0.0.1:0, trusted_proxies: [10.0.0.0/8]}
  - {name: inner, bind: 127.0.0.1:0}
upstreams:
  one: {endpoints: [http://127.0.0.1:9001, {url: http://127.0.0.1:9002, weight: 3}]}
  two: {endpoints: [http://127.0.0.1:9003]}
  named: {endpoints: [http://orders.internal:80]}
  calls: {protocol: grpc, endpoints: [http://127.0.0.1:9006]}
  secure: {endpoints: [https://127.0.0.1:9004, http://127.0.0.1:9005], tls: {server_name: orders.internal}}
consumers: [{name: acme, credentials: [{api_key: acme-secret-key}]}]
routes:
  - name: orders
    match: {paths: ["/orders/{id}"], methods: [GET]}
    rewrite: {add_prefix: /v1}
    to: [{upstream: one, weight: 9}, {upstream: two, weight: 1, headers: {x-canary: "1"}}]
    policies:
      - api_key: {header: x-api-key}
      - rate_limit: {limit: 10/s, by: consumer, when: "request.method == 'POST'"}
  - {name: gold, match: {paths: ["/orders/*"], headers: {x-tier: gold}}, to: two}
  - {name: moved, match: {paths: ["/old/*"]}, redirect: {to: "/new/{*}", status: 301}}
  - {name: named, match: {paths: ["/named"]}, to: named}
  - {name: secure, match: {paths: ["/secure"]}, to: secure}
  - {name: calls, match: {paths: ["/shop.Orders/*"]}, to: calls, timeout: 5s}
  - {name: admin, match: {paths: ["/shop.Admin/*"]}, to: calls, policies: [api_key: {}]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture
def explained(file: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs explain with --json; gives exit code and report."""

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = dispatch(["explain", *arguments, "-c", str(file), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_the_route_its_parameters_and_why_not_the_others(explained: Any) -> None:
    code, report = explained("GET", "http://api.example.com/orders/42")
    assert code == exits.OK
    assert report["routing"]["route"] == "orders"
    assert report["routing"]["params"] == {"id": "42"}
    (gold,) = [c for c in report["routing"]["candidates"] if c["route"] == "gold"]
    assert gold["state"] == "failed"
    assert "x-tier" in gold["failed"]


def test_policies_stand_in_their_order_with_what_they_do(explained: Any) -> None:
    _, report = explained("GET", "/orders/1")
    assert [(p["policy"], p["stage"]) for p in report["policies"]] == [("api_key", "identify"), ("rate_limit", "limit")]
    assert report["policies"][0]["answer"]["reason"] == "api_key.missing"
    assert report["policies"][1]["outcome"] == "skipped"
    assert report["answer"]["status"] == 401


def test_what_would_be_sent_upstream(explained: Any) -> None:
    _, report = explained("GET", "/orders/1?x=y", "-H", "x-canary: 1", "-H", "x-api-key: acme-secret-key")
    assert "answer" not in report
    assert report["upstream"]["name"] == "two"
    assert report["upstream"]["picked"] == "http://127.0.0.1:9003"
    assert report["sent"]["url"] == "http://127.0.0.1:9003/v1/orders/1?x=y"
    assert report["sent"]["line"] == "GET /v1/orders/1?x=y HTTP/1.1"
    assert "x-canary: 1" in report["sent"]["headers"]
    assert not any("acme-secret-key" in field for field in report["sent"]["headers"])


def test_what_is_asked_of_endpoints_is_shown(explained: Any) -> None:
    _, report = explained("GET", "/secure", "-H", "x-api-key: acme-secret-key")
    assert report["upstream"]["protocol"] == "http1"
    assert [(each["endpoint"], each["tls"]) for each in report["upstream"]["endpoints"]] == [
        ("https://127.0.0.1:9004", "verified as orders.internal"),
        ("http://127.0.0.1:9005", ""),
    ]


def test_trusted_proxies_are_believed(explained: Any) -> None:
    forwarded = ("-H", "x-forwarded-for: 203.0.113.9")
    assert explained("GET", "/old/x", *forwarded, "--from", "10.1.2.3")[1]["client"] == "203.0.113.9"
    assert explained("GET", "/old/x", *forwarded, "--from", "192.0.2.1")[1]["client"] == "192.0.2.1"


def test_no_route_is_a_failure_and_says_which_methods_are_allowed(explained: Any) -> None:
    code, report = explained("DELETE", "/orders/1")
    assert code == exits.FAILED
    assert report["routing"]["status"] == 405
    assert "GET" in report["routing"]["allow"]
    assert report["answer"]["reason"] == "route.method"


def test_a_redirect_is_shown_with_its_location(explained: Any) -> None:
    code, report = explained("GET", "/old/a?b")
    assert code == exits.OK
    assert report["answer"] == {"status": 301, "reason": "", "headers": ["location: /new/a?b"]}


def test_a_malformed_request_is_refused_like_a_real_one(explained: Any) -> None:
    code, report = explained("GET", "/orders/1", "-H", "content-length: 1", "-H", "transfer-encoding: chunked")
    assert code == exits.FAILED
    assert report["refused"]["status"] == 400


def test_names_are_not_resolved(explained: Any) -> None:
    code, report = explained("GET", "/named")
    assert code == exits.OK
    assert report["upstream"]["picked"] == ""
    assert "sent" not in report


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("GET", "/orders/7"), ["orders  (id=7)", "answers 401 api_key.missing", "if no policy had answered"]),
        (("DELETE", "/orders/7"), ["none: 405, allowed here: GET, HEAD", "the request has DELETE"]),
        (("GET", "/order/7"), ["none: 404", "Nearly matched", "/orders/{id}"]),
        (("GET", "/orders/7", "-H", "content-length: x"), ["refused with 400"]),
        (("GET", "/named"), ["names are resolved when the gateway runs"]),
        (("GET", "/old/x", "--listener", "inner"), ["at inner", "location: /new/x"]),
    ],
)
def test_the_text_for_people(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: list[str]
) -> None:
    dispatch(["explain", *arguments, "-c", str(file)])
    out = capsys.readouterr().out
    assert [piece for piece in expected if piece not in out] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "nobody"), "not an address"),
        (("-H", "nonsense"), "NAME: VALUE"),
        (("--listener", "none"), "listeners are: public, inner"),
    ],
)
def test_wrong_usage_is_explained(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert dispatch(["explain", "GET", "/", *arguments, "-c", str(file)]) == exits.USAGE
    assert message in capsys.readouterr().err


def test_a_bad_configuration_is_reported(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(CONFIG + "nonsense: 1\n", encoding="utf-8")
    assert dispatch(["explain", "GET", "/", "-c", str(file)]) == exits.FAILED
    assert "nonsense" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "headers", "head"),
    [
        ("http://a:81/b?c=d", [], (b"GET /b?c=d HTTP/1.1", b"host: a:81")),
        ("a.example/b", [], (b"GET /b HTTP/1.1", b"host: a.example")),
        ("/b", ["x:1"], (b"GET /b HTTP/1.1", b"host: localhost\r\nx: 1")),
        ("http://a", ["Host: c"], (b"GET / HTTP/1.1", b"Host: c")),
    ],
)
def test_requests_are_written_as_a_client_would(url: str, headers: list[str], head: tuple[bytes, bytes]) -> None:
    assert request("get", url, headers) == head


CALL = ("-H", "content-type: application/grpc", "-H", "te: trailers")


def test_a_grpc_call_and_what_the_endpoint_would_see(explained: Any) -> None:
    code, report = explained("POST", "/shop.Orders/Get", *CALL, "-H", "grpc-timeout: 60S")
    assert code == exits.OK
    assert (report["protocol"], report["routing"]["route"]) == ("grpc", "calls")
    assert report["sent"]["line"] == "POST /shop.Orders/Get HTTP/2"
    assert report["sent"]["headers"][0] == ":authority: localhost"
    assert {"te: trailers", "grpc-timeout: 5000m"} <= set(report["sent"]["headers"])


def test_a_shorter_deadline_of_the_client_stays(explained: Any) -> None:
    _, report = explained("POST", "/shop.Orders/Get", *CALL, "-H", "grpc-timeout: 1S")
    assert "grpc-timeout: 1S" in report["sent"]["headers"]
    _, report = explained("POST", "/shop.Orders/Get", *CALL, "-H", "grpc-timeout: 1s")
    assert report["answer"] == {
        "status": 400,
        "reason": "request.grpc_timeout",
        "headers": [],
        "grpc_status": "INVALID_ARGUMENT",
    }


def test_answers_to_calls_are_statuses(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dispatch(["explain", "POST", "/nobody.Service/Get", *CALL, "-c", str(file)])
    shown = capsys.readouterr().out
    assert "at public, a grpc call" in shown
    assert "404 route.none (grpc-status UNIMPLEMENTED)" in shown
    dispatch(["explain", "POST", "/shop.Admin/Get", *CALL, "-c", str(file)])
    assert "answers 401 api_key.missing (grpc-status UNAUTHENTICATED)" in capsys.readouterr().out
