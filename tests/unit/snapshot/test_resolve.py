"""Configuration → snapshot: what is written arrives, and rules over several keys hold."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gatewright.snapshot import model
from gatewright.snapshot.resolve import processors

#: Every key of the language that this version has, each with another value than its default.
EVERYTHING = """\
version: 1
workers: 3
drain_timeout: 7s
listeners:
  - name: public
    bind: 127.0.0.1:8000
    trusted_proxies: [10.0.0.0/8]
    proxy_protocol: true
    limits:
      {connections: 1, header_bytes: 2KiB, headers: 3, target_bytes: 4KiB, body: 5MiB, header_timeout: 6s,
       body_timeout: 7s, idle_timeout: 8s, requests: 9, streams: 10, resets: 11, control_frames: 12}
upstreams:
  orders:
    endpoints: [{url: "http://orders.internal:81", weight: 2, zone: eu-1, metadata: {k: v}}]
    host: upstream
    balance: {hash: {by: header, name: X-User}}
    sticky: {cookie: c, ttl: 1h, path: /x, secure: true, http_only: false, same_site: Strict}
    zone: eu-1
    slow_start: 9s
    panic_threshold: 10%
    health:
      active:
        {type: http, path: /h, method: POST, host: h, headers: {X-A: b}, body: ping, port: 99, statuses: [204],
         interval: 9s, timeout: 2s, healthy_after: 7, unhealthy_after: 8}
      passive:
        {consecutive_failures: 6, failure_rate: 10%, min_requests: 7, window: 8s, eject_for: 9s, max_eject_for: 99s,
         max_ejected: 10%}
    circuit_breaker:
      {scope: endpoint, consecutive_failures: 6, failure_rate: 10%, min_requests: 7, window: 8s, open_for: 9s,
       half_open_requests: 4}
    timeouts: {connect: 1s, first_byte: 2s, idle: 3s, total: 4s}
    retries: {attempts: 2, on: [503], methods: [POST], budget: 10%, backoff: 1ms, max_backoff: 2s}
    pool:
      {max_connections: 1, max_idle: 2, idle_timeout: 3s, max_age: 4s, max_waiting: 5, wait_timeout: 6s}
    failover: backup
  backup: {endpoints: ["unix:/run/backup.sock"], health: {active: {type: tcp}}}
  calls:
    endpoints: ["https://127.0.0.1:1"]
    protocol: grpc
    tls: {server_name: calls.internal, min_version: "1.3"}
    health: {active: {type: grpc, service: orders.v1.Orders}}
consumers:
  - {name: acme, groups: [gold], metadata: {k: v}, credentials: [{api_key: secret}]}
  - {name: initech, credentials: [{hmac: {key_id: k, secret: 0123456789abcdef}}]}
policies:
  - request_id: {}
routes:
  - name: everything
    match:
      hosts: [API.example.com]
      paths: ["/a/{id}"]
      methods: [GET]
      headers: {X-H: "1"}
      query: {q: ~^2}
      cookies: {c: false}
      sources: [10.0.0.0/8]
      when: request.method == 'GET'
    priority: 5
    listeners: [public]
    to:
      - {upstream: orders, weight: 9, headers: {x-h: "2"}, cookies: {d: true}}
    rewrite: {strip_prefix: /a, add_prefix: /b, host: other.example.com}
    timeout: 9s
    timeouts: {connect: 5s}
    retries: {attempts: 0}
    limits: {body: 1KiB}
    websocket: {idle_timeout: 9s, max_message: 1KiB}
    sse: {heartbeat: 9s}
    grpc: {count_methods: true}
    policies: [{api_key: {when: "true"}}]
    metadata: {k: v}
  - {name: moved, match: {paths: ["/m/*"]}, redirect: {to: "/n/{*}", status: 301, keep_query: false}}
  - {name: fixed, match: {paths: ["/f"]}, respond: {status: 418, body: x, headers: {X-A: b}}, websocket: off}
  - {name: path, match: {paths: ["/p/{id}"]}, to: orders, rewrite: {path: "/q/{id}"}}
  - {name: calls, match: {paths: ["/orders.v1.Orders/*"]}, to: calls}
  - {name: regex, match: {paths: ["/r"]}, to: orders, rewrite: {regex: "^/r", replacement: /s}}
state: {url: memory, max_keys: 2048}
admin: {bind: 0.0.0.0:9901, token: t0ken}
telemetry:
  access_log: {format: text, to: log/access, sample: 10%, redact: [q], rotate: {size: 1MiB, age: 1d, keep: 9}}
  metrics: {max_series: 500}
metadata: {k: v}
"""

#: What no configuration of this version can change, or what is nobody's choice.
NOT_WRITTEN = {
    "Listener.protocols",  # one until there is another
    "Listener.tls",
    "UpstreamTls.ca",  # needs files, as do the next ones: test_upstream_tls.py
    "UpstreamTls.cert",
    "UpstreamTls.key",
    "UpstreamTls.expires",
    "UpstreamTls.verify",  # gives a warning
    "Endpoint.key",
    "Snapshot.version",
    "Snapshot.plugins",  # loaded in other tests
    "PolicySpec.config",
}


def unchanged(value: Any, seen: dict[str, bool]) -> None:
    """Note for every field of every struct below whether it ever differs from its default."""
    if isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(value):
            inner = getattr(value, field.name)
            default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
            key = f"{type(value).__name__}.{field.name}"
            seen[key] = seen.get(key, False) or inner != default
            unchanged(inner, seen)
    elif isinstance(value, tuple):
        for item in value:
            unchanged(item, seen)


def test_every_field_of_the_snapshot_can_be_written(build: Any) -> None:
    built = build(EVERYTHING, addresses={"orders.internal": ["10.0.0.1"]}, version=2)
    seen: dict[str, bool] = {}
    unchanged(built.snapshot, seen)
    assert {key for key, changed in seen.items() if not changed} <= NOT_WRITTEN
    assert built.problems == []


def test_a_snapshot_goes_through_both_encodings_unchanged(build: Any) -> None:
    snapshot = build(EVERYTHING).snapshot
    for codec in (msgspec.json, msgspec.msgpack):
        assert codec.decode(codec.encode(snapshot), type=model.Snapshot) == snapshot


def test_all_the_values_arrive(build: Any, tmp_path: Path) -> None:
    snapshot = build(EVERYTHING).snapshot
    assert (snapshot.workers, snapshot.drain_timeout, snapshot.max_rate_keys) == (3, 7.0, 2048)
    assert snapshot.listeners[0].limits == model.Limits(1, 2048, 3, 4096, 5 << 20, 6.0, 7.0, 8.0, 9, 10, 11, 12)
    route = snapshot.routes[0]
    assert route.match == model.Match(
        hosts=("api.example.com",),
        paths=("/a/{id}",),
        methods=("GET",),
        headers=(model.Predicate("x-h", "1"),),
        query=(model.Predicate("q", regex="^2"),),
        cookies=(model.Predicate("c", absent=True),),
        sources=("10.0.0.0/8",),
        when="request.method == 'GET'",
    )
    assert route.timeouts == model.Timeouts(5.0, 2.0, 3.0, 4.0)  # what is not written is the upstream's
    assert [(spec.type, spec.scope, spec.when) for spec in route.policies] == [
        ("request_id", "", ""),
        ("api_key", "everything", "true"),
    ]
    assert [spec.type for spec in snapshot.policies] == ["request_id"]
    assert snapshot.access_log == model.AccessLog(
        "text", str(tmp_path / "log/access"), 0.1, 1 << 20, 86400.0, 9, ("q",)
    )
    assert snapshot.admin == model.Admin("0.0.0.0:9901", "t0ken")


def test_keys_are_kept_as_digests_only(build: Any) -> None:
    snapshot = build(EVERYTHING).snapshot
    digest = hashlib.sha256(b"secret").hexdigest()
    assert snapshot.consumers[0].credentials == (model.Credential("api_key", digest),)
    assert b"secret" not in msgspec.json.encode(snapshot)


def test_defaults(build: Any) -> None:
    snapshot = build("upstreams: {a: {endpoints: [http://127.0.0.1]}}\nroutes: [{name: a, to: a}]").snapshot
    assert snapshot.listeners == (model.Listener("public", "127.0.0.1:8000"),)
    endpoint = model.Endpoint("http://127.0.0.1:80", "127.0.0.1", 80, name="127.0.0.1")
    assert snapshot.upstreams == (model.Upstream("a", (endpoint,)),)
    assert snapshot.workers == processors()
    assert snapshot.admin == model.Admin()
    assert msgspec.structs.replace(snapshot.routes[0], digest="") == model.Route("a", to=(model.Split("a"),))


def test_a_digest_changes_with_the_route_and_with_nothing_else(build: Any) -> None:
    text = (
        "workers: 1\nupstreams: {a: {endpoints: [http://127.0.0.1:1]}}\n"
        "routes: [{name: a, to: a}, {name: b, match: {paths: [/b]}, to: a}]"
    )
    before, same = build(text).snapshot, build(text, version=9).snapshot
    moved = build(text.replace("127.0.0.1:1]", "127.0.0.1:2]")).snapshot
    changed = build(text.replace("paths: [/b]", "paths: [/c]")).snapshot
    assert [route.digest for route in moved.routes] == [route.digest for route in before.routes]
    assert changed.routes[0].digest == before.routes[0].digest
    assert changed.routes[1].digest != before.routes[1].digest
    assert before.digest == same.digest
    assert len({before.digest, moved.digest, changed.digest}) == 3


def test_paths_of_unix_sockets_are_made_whole(build: Any, tmp_path: Path) -> None:
    text = "listeners: [{name: l, bind: unix:g.sock}]\nadmin: {bind: unix:run/a.sock}\nroutes: [{name: a, respond: {}}]"
    snapshot = build(text).snapshot
    assert snapshot.listeners[0].bind == f"unix:{tmp_path}/g.sock"
    assert snapshot.admin.bind == f"unix:{tmp_path}/run/a.sock"


@pytest.mark.parametrize(
    ("binds", "clash"),
    [
        (["127.0.0.1:1", "127.0.0.1:1"], True),
        (["127.0.0.1:1", "0.0.0.0:1"], True),
        (["0.0.0.0:1", "127.0.0.2:1"], True),
        (["[::]:1", "[::1]:1"], True),
        (["unix:a", "unix:a"], True),
        (["127.0.0.1:9900"], True),  # the admin listener's
        (["127.0.0.1:0", "127.0.0.1:0"], False),
        (["127.0.0.1:1", "127.0.0.2:1"], False),
        (["0.0.0.0:1", "[::1]:1"], False),
        (["unix:a", "unix:b"], False),
    ],
)
def test_two_listeners_cannot_have_one_address(build: Any, binds: list[str], clash: bool) -> None:
    listeners = ", ".join(f"{{name: l{at}, bind: '{bind}'}}" for at, bind in enumerate(binds))
    text = f"listeners: [{listeners}]\nroutes: [{{name: a, respond: {{}}}}]"
    if clash:
        assert build.messages(text) == [f"the address {build.errors(text)[0].message.split()[2]} is already taken"]
    else:
        build(text)


@pytest.mark.parametrize("bind", ["127.0.0.1:9900", "'[::1]:9900'", "unix:a.sock", "127.8.0.1:1"])
def test_admin_without_a_token_stays_on_this_machine(build: Any, bind: str) -> None:
    build(f"admin: {{bind: {bind}}}\nroutes: [{{name: a, respond: {{}}}}]")
    text = f"admin: {{bind: {bind}}}\nroutes: [{{name: a, respond: {{}}}}]".replace(bind, "10.0.0.1:9900")
    assert build.messages(text) == ["without a token the admin listener may only be bound to a loopback address"]


def test_admin_may_be_off(build: Any) -> None:
    assert build("admin: off\nroutes: [{name: a, respond: {}}]").snapshot.admin is None


def test_a_listener_is_needed(build: Any) -> None:
    assert build.messages("listeners: []\nroutes: [{name: a, respond: {}}]") == ["there is no listener"]


def test_rotation_needs_a_file(build: Any) -> None:
    text = "routes: [{name: a, respond: {}}]\ntelemetry: {access_log: {rotate: {keep: 1}}}"
    assert build.messages(text) == ["'rotate' needs a file, not stdout"]


@pytest.mark.parametrize(
    ("quota", "most"), [("max 100000", 10**6), ("150000 100000", 2), ("1000 100000", 1), ("x", 10**6)]
)
def test_processors_are_bounded_by_the_control_group(tmp_path: Path, quota: str, most: int) -> None:
    (tmp_path / "cpu.max").write_text(quota, encoding="ascii")
    assert processors(tmp_path) == min(most, len(os.sched_getaffinity(0)))
    assert processors(tmp_path / "none") == len(os.sched_getaffinity(0))
