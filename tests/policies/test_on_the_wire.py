"""The built-in policies in a whole gateway: bytes from the client, bytes at the upstream, bytes back."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nserver: gunicorn\r\n\r\nok"
ACME = model.Consumer("acme", credentials=(model.Credential("api_key", sha256(b"secret").hexdigest()),))


def serve(rig: Rig, policies: dict[str, Any], **options: Any) -> None:
    rig.apply(ACME, upstream("a"), route("all", options.pop("path", "/*"), "a", policies=policies, **options))


def head(received: bytes) -> tuple[int, dict[bytes, bytes]]:
    """Status and fields of the first message."""
    lines = received.partition(b"\r\n\r\n")[0].split(b"\r\n")
    pairs = (line.partition(b": ") for line in lines[1:])
    return int(lines[0].split(b" ")[1]), {name.lower(): value for name, _, value in pairs}


def test_who_calls_is_found_out_and_passed_on(rig: Rig) -> None:
    policies = {
        "request_id": {},
        "security_headers": {},
        "api_key": {"query": "key"},
        "headers": {"request": {"set": {"x-consumer": "{consumer.name}", "x-order": "{param.id}"}}},
    }
    serve(rig, policies, path="/orders/{id}")
    client = rig.client()
    client.send(b"GET /orders/7?a=1&key=secret&b=2 HTTP/1.1\r\nhost: x\r\nx-consumer: forged\r\n\r\n")
    origin = rig.origin("a").accept()
    line, fields = (
        origin.received.split(b"\r\n")[0],
        head(b"HTTP/1.1 200 OK\r\n" + origin.received.partition(b"\r\n")[2])[1],
    )
    assert line == b"GET /orders/7?a=1&b=2 HTTP/1.1"
    assert (fields[b"x-consumer"], fields[b"x-order"]) == (b"acme", b"7")
    assert b"forged" not in origin.received
    origin.send(OK)
    status, back = head(client.received)
    assert status == 200
    assert back[b"x-request-id"] == fields[b"x-request-id"]
    assert back[b"x-content-type-options"] == b"nosniff"
    assert b"server" not in back
    (record,) = rig.records
    assert (record.consumer.name, record.request_id) == ("acme", fields[b"x-request-id"])  # type: ignore[union-attr]


def test_a_refusal_has_what_the_policies_before_it_add(rig: Rig) -> None:
    serve(rig, {"request_id": {}, "security_headers": {}, "cors": {"origins": ["https://a.test"]}, "api_key": {}})
    client = rig.client()
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\norigin: https://a.test\r\nx-request-id: r1\r\n\r\n")
    status, fields = head(client.received)
    body = json.loads(client.received.partition(b"\r\n\r\n")[2])
    assert status == 401
    assert fields[b"www-authenticate"] == b'ApiKey realm="api"'
    assert fields[b"access-control-allow-origin"] == b"https://a.test"
    assert fields[b"vary"] == b"Origin"
    assert fields[b"x-request-id"] == b"r1"
    assert fields[b"x-frame-options"] == b"SAMEORIGIN"
    assert (body["reason"], body["request_id"]) == ("api_key.missing", "r1")
    assert not rig.origin("a").waiting


def test_a_preflight_needs_no_key_and_no_options_route(rig: Rig) -> None:
    match = model.Match(paths=("/*",), methods=("GET",))
    serve(rig, {"cors": {"origins": ["https://a.test"]}, "api_key": {}}, match=match)
    client = rig.client()
    client.send(
        b"OPTIONS / HTTP/1.1\r\nhost: x\r\norigin: https://a.test\r\naccess-control-request-method: GET\r\n\r\n"
    )
    status, fields = head(client.received)
    assert status == 204
    assert fields[b"access-control-allow-origin"] == b"https://a.test"
    assert fields[b"access-control-max-age"] == b"600"


def test_a_rate_limit(rig: Rig) -> None:
    serve(rig, {"rate_limit": {"limit": "1/m"}})
    client = rig.client()
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    rig.origin("a").accept().send(OK)
    assert head(client.take())[1][b"ratelimit"] == b'"default";r=0;t=60'
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    status, fields = head(client.take())
    assert status == 429
    assert fields[b"retry-after"] == b"60"
    assert fields[b"ratelimit-policy"] == b'"default";q=1;w=60'


def test_concurrency_is_given_back_when_the_client_goes(rig: Rig) -> None:
    serve(rig, {"rate_limit": {"limit": 1, "algorithm": "concurrency"}})
    first = rig.client()
    first.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    rig.origin("a").accept()
    second = rig.client()
    second.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert head(second.take())[0] == 429
    first.reset()
    second.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    rig.origin("a").accept().send(OK)
    assert head(second.take())[0] == 200


def test_a_body_without_a_length_is_cut_off_at_the_routes_limit(rig: Rig) -> None:
    serve(rig, {"request_limits": {"body": "8B"}})
    client = rig.client()
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n")
    origin = rig.origin("a").accept()
    assert b"abcde" in origin.received
    client.send(b"5\r\nfghij\r\n0\r\n\r\n")
    assert head(client.received)[0] == 413
    assert b"request.body_too_large" in client.received
    assert b"fghij" not in origin.received


def test_addresses_are_those_behind_trusted_proxies(rig: Rig) -> None:
    listener = model.Listener("public", "127.0.0.1:0", trusted_proxies=("127.0.0.0/8",))
    rig.apply(listener, upstream("a"), route("all", "/*", "a", policies={"ip_filter": {"allow": ["192.0.2.0/24"]}}))
    for claimed, expected in ((b"192.0.2.7", None), (b"198.51.100.1", 403)):
        client = rig.client()
        client.send(b"GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: %b\r\n\r\n" % claimed)
        if expected is None:
            rig.origin("a").accept().send(OK)
        assert head(client.received)[0] == (expected or 200)
    stranger = rig.client(address=("203.0.113.5", 4000))
    stranger.send(b"GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 192.0.2.7\r\n\r\n")
    assert head(stranger.received)[0] == 403


@pytest.mark.parametrize(("order", "reached"), [("by_stage", 0), ("as_written", 1)])
def test_the_order_of_policies(rig: Rig, tmp_path: Path, order: str, reached: int) -> None:
    """By stage the address decides before a limit counts; as written the limit counts first."""
    file = tmp_path / "gateway.yaml"
    file.write_text(
        f"""
version: 1
listeners: [{{name: public, bind: 127.0.0.1:0}}]
routes:
  - name: all
    match: {{paths: ["/*"]}}
    respond: {{status: 200, body: hello}}
    policy_order: {order}
    policies:
      - rate_limit: {{limit: 1/h}}
      - ip_filter: {{deny: [127.0.0.1]}}
"""
    )
    rig.load(file)
    client = rig.client()
    statuses = []
    for _ in range(2):
        client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        statuses.append(head(client.take())[0])
    assert statuses == ([403, 429] if reached else [403, 403])


def test_a_changed_allow_file_takes_effect_with_the_next_load(rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        """
version: 1
listeners: [{name: public, bind: 127.0.0.1:0}]
routes:
  - name: all
    match: {paths: ["/*"]}
    respond: {status: 200, body: hello}
    policies: [{ip_filter: {deny_files: [bad.txt]}}]
"""
    )
    client = None
    for listed, expected in (("203.0.113.1", 200), ("127.0.0.1", 403)):
        (tmp_path / "bad.txt").write_text(listed)
        rig.load(file)
        client = client or rig.client()
        client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert head(client.take())[0] == expected
