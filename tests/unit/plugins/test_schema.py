"""The JSON Schema of the configuration: valid itself, true to the loader, and up to date."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gatewright.config.document import Document
from gatewright.config.interpolate import Interpolator
from gatewright.config.tree import Mapping, parse
from gatewright.plugins.registry import Registry
from gatewright.plugins.schema import configuration_schema, render
from gatewright.policies import BUILTIN
from gatewright.sdk.policy import Policy, PolicyConfig

ROOT = Path(__file__).resolve().parents[3]
REGISTRY = Registry(policies={policy.name: policy for policy in BUILTIN})
SCHEMA = configuration_schema(REGISTRY)

#: Every kind of key of the language, as the examples of the documentation write it.
LANGUAGE = """\
version: 1
workers: auto
drain_timeout: 30s
listeners:
  - name: public
    bind: 127.0.0.1:8000
    protocols: [http1, h2c]
    trusted_proxies: [127.0.0.0/8]
    limits: {connections: 20000, header_bytes: 64KiB, body: "${env:MOST}", idle_timeout: 75s}
  - name: public-tls
    bind: 127.0.0.1:8443
    tls:
      certificates: [{cert: certs/server.pem, key: certs/server.key}]
      min_version: "1.2"
      client_auth: {mode: optional, ca: certs/clients.pem}
upstreams:
  orders:
    endpoints:
      - http://127.0.0.1:9001
      - {url: "http://${env:HOST}", weight: 3, zone: eu-1, metadata: {version: v2}}
    balance: least_connections
    sticky: {cookie: c, ttl: 1h}
    health:
      active: {type: http, path: /healthz, interval: 5s, statuses: [200, 300-399]}
      passive: {consecutive_failures: 5, eject_for: 30s, max_ejected: 50%}
    circuit_breaker: {consecutive_failures: "off", failure_rate: 50%}
    timeouts: {connect: 2s, total: off}
    retries: {attempts: 2, on: [connect, reset, 502], budget: 20%}
  inventory:
    protocol: h2
    endpoints: [https://127.0.0.1:9443]
    balance: {hash: {by: header, name: x-user}}
    health: {passive: off}
    tls: {ca: certs/ca.pem, server_name: inventory.internal}
consumers:
  - {name: acme, groups: [gold], credentials: [{api_key: "${env:KEY:-x}"}]}
policies:
  - request_id: {}
  - cors: {origins: ["https://app.example.com"], credentials: true, max_age: 10m}
routes:
  - name: a
    match: {hosts: ["*.example.org"], paths: ["/a/{id:[0-9]+}"], headers: {x: "1", y: true}, query: {v: "~^2"}}
    to: orders
    policies: [{api_key: {header: x-api-key, when: "true"}}, {rate_limit: {limit: 100/s, burst: 200}}, {cors: off}]
  - {name: b, to: [{upstream: orders, weight: 95}, {upstream: inventory, weight: 5}], websocket: {max_message: 1MiB}}
  - {name: c, redirect: {to: "/new/{*}", status: 308}, websocket: false}
plugins: [./a.py]
state: memory
store: sqlite:///gatewright.db
admin: {bind: 127.0.0.1:9900, token: "${env:TOKEN:-}"}
telemetry:
  access_log: {format: json, to: stdout, rotate: {size: 10MiB}}
  tracing: {otlp: http://127.0.0.1:4318, sample: 1%}
"""


class _AsWritten(Interpolator):
    """Leaves placeholders alone: editors see them, not their values."""

    def fill(self, text: str, base: Path) -> str:
        return text


def data(text: str) -> Any:
    node, problems = parse("a.yaml", text.encode())
    assert isinstance(node, Mapping)
    assert problems == []
    return Document(node, _AsWritten({})).data


def mistakes(value: Any, schema: Any = SCHEMA) -> list[str]:
    return [error.json_path for error in Draft202012Validator(schema).iter_errors(value)]


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    names = set(SCHEMA["$defs"])
    references = {part.partition('"')[0] for part in render(SCHEMA).split('"$ref": "#/$defs/')[1:]}
    assert references <= names
    assert {f"policy.{policy.name}" for policy in BUILTIN} <= names


def test_the_whole_language_validates() -> None:
    assert mistakes(data(LANGUAGE)) == []


@pytest.mark.parametrize("file", sorted((ROOT / "examples").rglob("gateway.yaml")), ids=lambda file: file.parent.name)
def test_examples_validate(file: Path) -> None:
    example = data(file.read_text(encoding="utf-8"))
    for policies in [example.get("policies", []), *(route.get("policies", []) for route in example["routes"])]:
        policies[:] = [policy for policy in policies if next(iter(policy)) in REGISTRY.policies]  # not those of plugins
    assert mistakes(example) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("listenrs",), []),
        (("workers",), 0),
        (("drain_timeout",), 30),
        (("drain_timeout",), "30 s"),
        (("listeners", 0, "bnd"), "x"),
        (("listeners", 0, "limits", "body"), "64KB"),
        (("upstreams", "orders", "balance"), "fastest"),
        (("upstreams", "orders", "endpoints", 0), "127.0.0.1"),
        (("upstreams", "orders", "health", "passive"), "on"),
        (("routes", 0, "to"), []),
        (("routes", 0, "match", "headers", "x"), 1),
        (("routes", 0, "policies", 0), {"api_kee": {}}),
        (("routes", 0, "policies", 0), {"api_key": {"heder": "x"}}),
        (("routes", 0, "policies", 0), {"api_key": {}, "request_id": {}}),
        (("routes", 0, "policies", 1), {"rate_limit": {"limit": "fast"}}),
    ],
)
def test_mistakes_are_found(path: tuple[str | int, ...], value: object) -> None:
    config = copy.deepcopy(data(LANGUAGE))
    at = config
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    assert len(mistakes(config)) == 1


def test_defaults_are_shown_as_they_would_be_written() -> None:
    limits = SCHEMA["$defs"]["Limits"]["properties"]
    assert (limits["body"]["default"], limits["idle_timeout"]["default"]) == ("64MiB", "75s")
    assert SCHEMA["$defs"]["PassiveHealth"]["properties"]["max_ejected"]["default"] == "50%"


def test_policies_of_plugins_are_part_of_it() -> None:
    class Inner(PolicyConfig):
        word: str

    class StampConfig(PolicyConfig):
        inner: tuple[Inner, ...] = ()

    class Stamp(Policy[StampConfig]):
        """Stamps what comes by."""

        name, stage, config = "stamp", "transform", StampConfig

    schema = configuration_schema(Registry(policies={"stamp": Stamp}))
    config = {"policies": [{"stamp": {"inner": [{"word": "x"}], "when": "true"}}]}
    assert mistakes(config, schema) == []
    assert mistakes({"policies": [{"stamp": {"inner": [{}]}}]}, schema) == ["$.policies[0].stamp"]
    assert schema["$defs"]["policy.stamp"]["description"] == "Stamps what comes by."
    assert "stamp.Inner" in schema["$defs"]


def test_the_published_one_is_up_to_date() -> None:
    published = (ROOT / "schema" / "gateway.schema.json").read_text(encoding="utf-8")
    assert published == render(SCHEMA)
    assert json.loads(published) == SCHEMA
