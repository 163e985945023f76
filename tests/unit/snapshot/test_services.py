from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from gatewright.sdk import ServiceSpec
from gatewright.snapshot import model
from gatewright.snapshot.services import Services, spec_of, upstream_name
from gatewright.testing.certs import Authority

ROUTES = """
upstreams: {{a: {{endpoints: [http://127.0.0.1:1]}}}}
routes:
  - {{name: one, match: {{paths: ["/one"]}}, to: a, policies: [forward_auth: {{url: "{}"}}]}}
  - {{name: two, match: {{paths: ["/two"]}}, to: a, policies: [forward_auth: {{url: "{}"}}]}}
"""


def services(built: Any) -> dict[str, model.Upstream]:
    return {each.name: each for each in built.snapshot.upstreams if each.name.startswith(model.SERVICE)}


def test_names_of_upstreams() -> None:
    assert upstream_name(spec_of("http://Auth:80/a")) == "service http://auth"
    assert upstream_name(ServiceSpec("https://auth:9000/b", ca="PEM")).startswith("service https://auth:9000 (ca ")
    assert upstream_name(ServiceSpec("https://auth", ca="A")) != upstream_name(ServiceSpec("https://auth", ca="B"))


def test_one_upstream_for_each_origin(build: Any) -> None:
    found = services(build(ROUTES.format("http://127.0.0.1:9000/a", "http://127.0.0.1:9000/b")))
    assert list(found) == ["service http://127.0.0.1:9000"]
    (service,) = found.values()
    assert service.endpoints == (model.Endpoint("http://127.0.0.1:9000", "127.0.0.1", 9000, name="127.0.0.1:9000"),)
    assert (service.host, service.tls) == ("upstream", None)
    assert service.passive is not None
    assert service.breaker is not None


def test_a_service_with_tls_is_verified(build: Any) -> None:
    (service,) = services(build(ROUTES.format("https://127.0.0.1/a", "https://127.0.0.1:443/a"))).values()
    assert service.name == "service https://127.0.0.1"
    assert service.tls == model.UpstreamTls()


def test_names_are_looked_up(build: Any) -> None:
    text = ROUTES.format("http://auth:9000/", "http://auth:9000/")
    built = build(text)
    assert built.hosts == {"auth"}
    (service,) = services(built).values()
    assert [endpoint.host for endpoint in service.endpoints] == [""]
    (service,) = services(build(text, addresses={"auth": ["10.0.0.1", "10.0.0.2"]})).values()
    assert [endpoint.key for endpoint in service.endpoints] == ["http://10.0.0.1:9000", "http://10.0.0.2:9000"]


def test_nothing_warns_that_no_route_leads_there(build: Any) -> None:
    assert build.warnings(ROUTES.format("http://127.0.0.1:9000", "http://127.0.0.1:9000")) == []


def test_no_route_may_lead_there(build: Any) -> None:
    text = ROUTES.format("http://auth", "http://auth").replace(
        "to: a, policies", "to: service http://auth, policies", 1
    )
    assert any("service http://auth" in message for message in build.messages(text))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("auth:9000", "is not the URL of a service"),
        ("http://auth..example/", "is neither an address nor a host name"),
        ("http://auth:70000/", "is not a port"),
        ("http://1.2.3/", "is neither an address nor a host name"),
    ],
)
def test_bad_urls_are_shown_at_their_place(build: Any, url: str, message: str) -> None:
    problems = build.errors(ROUTES.format("http://auth", url))
    assert [(problem.line, message in problem.message) for problem in problems] == [(6, True)]
    assert problems[0].column == ROUTES.format("http://auth", url).splitlines()[4].index('"' + url) + 1


def test_authorities_of_ones_own(build: Any, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    text = ROUTES.format("https://127.0.0.1", "https://127.0.0.1").replace(
        '1"}', f'1", ca: {authority.ca_path.name}}}', 1
    )
    built = build(text)
    first, second = services(built).values()
    assert first.tls == model.UpstreamTls(ca=authority.ca_path.read_text())
    assert (first.name == second.name, second.tls) == (False, model.UpstreamTls())
    assert authority.ca_path in built.files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("hello", "there is no certificate in"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate"),
    ],
)
def test_authorities_that_cannot_be_used(build: Any, tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        Path(tmp_path, "ca.pem").write_text(content)
    text = ROUTES.format("https://127.0.0.1", "https://127.0.0.1").replace('1"}', '1", ca: ca.pem}', 1)
    (problem,) = build.errors(text)
    assert (problem.line, message in problem.message) == (5, True)


PLUGIN = '''
from gatewright.sdk import Policy, PolicyConfig

class C(PolicyConfig):
    """Nothing."""

class Wrong(Policy[C]):
    """Asks whom it has not named."""
    name, stage, config = "wrong", "authorize", C

    def __init__(self, config, env):
        self.service = env.service("http://auth")

    @classmethod
    def services(cls, config):
        return NAMED
'''


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("1 / 0", "the policy 'wrong' failed: ZeroDivisionError: division by zero"),
        ('("nonsense",)', "'nonsense' is not the URL of a service: write http://host:port/path or https://…"),
    ],
)
def test_what_a_plugin_gets_wrong_has_a_place(build: Any, tmp_path: Path, named: str, message: str) -> None:
    Path(tmp_path, "wrong.py").write_text(PLUGIN.replace("NAMED", named))
    text = "plugins: [./wrong.py]\nupstreams: {a: {endpoints: [http://127.0.0.1:1]}}\n"
    text += "routes: [{name: r, match: {paths: [/]}, to: a, policies: [wrong: {}]}]\n"
    assert build.messages(text) == [message]


def test_flights_of_one_name_are_the_same() -> None:
    found = Services(cast("Any", None), {})
    assert found.flights("a") is found.flights("a")
    assert found.flights("a") is not found.flights("b")
    with pytest.raises(ValueError, match="has not named http://auth"):
        found.of("http://auth")
