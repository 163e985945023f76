"""From files to a snapshot: the whole way, in the shapes that the rest of the program relies on."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewright.errors import ConfigError
from gatewright.snapshot.build import build_snapshot

PLUGIN = """\
from gatewright.sdk import Policy, PolicyConfig


class C(PolicyConfig):
    a: int = 1


class P(Policy[C]):
    "P."

    name, stage, config = 'p', 'limit', C
"""


def test_everything_that_was_read_is_to_be_watched(build: Any, tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text(PLUGIN, encoding="utf-8")
    (tmp_path / "token").write_text("t", encoding="utf-8")
    text = "plugins: [./p.py]\nadmin: {token: '${file:token}'}\nroutes: [{name: r, respond: {}, policies: [{p: {}}]}]\n"
    built = build(text)
    assert built.files == [tmp_path / "gateway.yaml", tmp_path / "token", tmp_path / "p.py"]
    assert built.snapshot.plugins == (str(tmp_path / "p.py"),)
    assert "p" in built.registry.policies


def test_plugins_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text(PLUGIN.replace("'p'", f"'p_{name}'"), encoding="utf-8")
        (tmp_path / name / "g.yaml").write_text(
            f"plugins: [./{name}.py]\npolicies: [{{p_{name}: {{}}}}]\n"
            + (
                "listeners: [{name: l, bind: 127.0.0.1:0}]\nroutes: [{name: r, respond: {}}]\n" if name == "one" else ""
            ),
            encoding="utf-8",
        )
    snapshot = build_snapshot([tmp_path / "one/g.yaml", tmp_path / "two/g.yaml"], environ={}).snapshot
    assert [spec.type for spec in snapshot.policies] == ["p_one", "p_two"]


def test_a_plugin_that_cannot_be_loaded_hides_nothing(build: Any, tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text(PLUGIN, encoding="utf-8")
    (tmp_path / "bad.py").write_text("x = 1\n1 / 0\n", encoding="utf-8")
    problems = build.errors(
        "plugins: [./bad.py, ./p.py, ./bad.py, ./none.py]\n"
        "routes: [{name: r, respond: {}, typo: 1, policies: [{p: {b: 1}}]}]\n"
    )
    assert {(Path(p.file).name, p.line, p.path) for p in problems} == {
        ("bad.py", 2, "plugins[0]"),
        ("gateway.yaml", 2, "plugins[3]"),
        ("gateway.yaml", 3, "routes[0].typo"),
        ("gateway.yaml", 3, "routes[0].policies[0].p.b"),
    }


@pytest.mark.parametrize("text", ["routes: [{name: r, respond: {}}]", "routes: ["])
def test_the_collector_is_left_as_it_was(build: Any, text: str) -> None:
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            build(text)
        except ConfigError:
            pass
        finally:
            was = gc.isenabled()
            gc.enable()
        assert was is enabled


def test_a_secret_of_the_environment_is_in_no_report(build: Any) -> None:
    text = "listeners: [{name: l, bind: '${env:SECRET}'}]\nconsumers: [{name: '${env:SECRET}', groups: ['${env:SECRET}!']}]\n"
    with pytest.raises(ConfigError) as caught:
        build(text, environ={"SECRET": "hunter 22"})
    assert "hunter" not in repr(caught.value.problems)


BASE = """\
version: 1
listeners:
  - {name: public, bind: 127.0.0.1:8000, trusted_proxies: [10.0.0.0/8]}
upstreams:
  orders:
    endpoints: [{url: http://127.0.0.1:9001, weight: 2}, http://orders.internal]
    balance: {hash: {by: header, name: x-user}}
    health: {active: {statuses: [200-399], interval: 5s}}
    failover: other
  other: {endpoints: [unix:/run/x.sock], retries: {on: [503]}}
consumers:
  - {name: acme, credentials: [{api_key: '${env:KEY:-k}'}]}
policies:
  - cors: {origins: ["https://a.example.com"], max_age: 10m}
routes:
  - name: a
    match: {hosts: ["*.example.com"], paths: ["/a/{id:[0-9]+}/*"], headers: {x: ~^1}, when: "request.method == 'GET'"}
    to: [{upstream: orders, weight: 3}, {upstream: other, headers: {x: "1"}}]
    rewrite: {path: "/b/{id}/{*}"}
    policies: [{rate_limit: {limit: 5/s, when: "true"}}, {api_key: {}}]
  - {name: b, match: {paths: [/b]}, redirect: {to: "/c?{query}"}}
telemetry: {access_log: {to: stdout}}
"""
WORDS = [
    "",
    "~",
    "null",
    "true",
    "off",
    "-1",
    "1e9",
    "[]",
    "{}",
    "[[]]",
    "{a: b}",
    "'x'",
    "${env:X}",
    "${",
    "&a",
    "*a",
    ":",
    "-",
    "? ",
    "!!str x",
]
WORDS += [
    "\t",
    "\n",
    "\0",
    "\x85",
    "\ufeff",
    "ä",
    "0s",
    "100%",
    "a" * 300,
    "9" * 40,
    "(",
    "~(",
    "/{",
    "<<: 1",
    "# c",
    "|",
    ">",
    "%",
    "@",
    "`",
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, len(BASE)), st.integers(0, 12), st.sampled_from(WORDS) | st.text(max_size=4)),
        min_size=1,
        max_size=4,
    )
)
def test_any_edits_give_a_snapshot_or_problems_and_nothing_else(
    tmp_path: Path, edits: list[tuple[int, int, str]]
) -> None:
    text = BASE
    for at, gone, new in edits:
        text = text[:at] + new + text[at + gone :]
    file = tmp_path / "gateway.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    problems = []
    try:
        assert build_snapshot([file], environ={}).snapshot.digest
    except ConfigError as error:
        problems = error.problems or [None]
    assert all(problem.message and "\n" not in problem.source for problem in problems)
