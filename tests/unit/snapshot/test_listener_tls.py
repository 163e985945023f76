"""TLS of listeners in a configuration: what is read, what is refused with its place, and what is odd."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gatewright.errors import Problem
from gatewright.snapshot.model import ListenerTls, Snapshot
from gatewright.testing.certs import Authority

ROUTES = "routes: [{name: r, respond: {status: 200}}]\n"


@pytest.fixture
def pair(authority: Authority, tmp_path: Path) -> tuple[Path, Path]:
    """``a.pem`` and ``a.key`` beside the configuration."""
    cert, key = authority.pair("a.example", "*.a.example")
    return shutil.move(cert, tmp_path / "a.pem"), shutil.move(key, tmp_path / "a.key")


def listener(tls: str = "", more: str = "", certificates: str = "{cert: a.pem, key: a.key}") -> str:
    return (
        "listeners:\n"
        "  - name: public\n"
        "    bind: 127.0.0.1:8443\n"
        f"    tls: {{certificates: [{certificates}]{tls}}}\n"
        f"{more}{ROUTES}"
    )


def tls_of(snapshot: Snapshot) -> ListenerTls:
    found = snapshot.listeners[0].tls
    assert found is not None
    return found


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, problems
    return problems[0]


# --- what is taken ----------------------------------------------------------------------------------------------------


def test_the_files_travel_as_text(build: Any, pair: tuple[Path, Path]) -> None:
    built = build(listener())
    assert not built.problems
    (shown,) = tls_of(built.snapshot).certificates
    assert (shown.label, shown.cert, shown.key) == ("a.pem", pair[0].read_text(), pair[1].read_text())
    assert (shown.names, shown.kind) == (("a.example", "*.a.example"), "ecdsa")
    assert {path.resolve() for path in pair} <= {path.resolve() for path in built.files}
    assert built.snapshot.listeners[0].protocols == ("http1", "h2")
    decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(built.snapshot), type=Snapshot)
    assert decoded == built.snapshot


def test_everything_can_be_written(build: Any, pair: tuple[Path, Path], authority: Authority) -> None:
    text = (
        ", min_version: '1.3', max_version: '1.3', ciphers: [ECDHE-ECDSA-AES256-GCM-SHA384], session_tickets: false"
        f", client_auth: {{mode: required, ca: {authority.ca_path}, forward: true}}, handshake_timeout: 3s, check_host: false"
        ", hsts: {max_age: 1h, include_subdomains: true}"
    )
    tls = tls_of(build(listener(text)).snapshot)
    assert (tls.min_version, tls.max_version, tls.ciphers) == ("1.3", "1.3", ("ECDHE-ECDSA-AES256-GCM-SHA384",))
    assert (tls.session_tickets, tls.handshake_timeout, tls.check_host) == (False, 3.0, False)
    assert tls.hsts == "max-age=3600; includeSubDomains"
    assert (tls.client_auth.mode, tls.client_auth.forward) == ("required", True)
    assert tls.client_auth.ca == authority.ca_path.read_text()


def test_defaults(build: Any, pair: tuple[Path, Path]) -> None:
    tls = tls_of(build(listener(", hsts: {}")).snapshot)
    assert (tls.min_version, tls.max_version, tls.ciphers, tls.session_tickets) == ("1.2", "", (), True)
    assert (tls.client_auth.mode, tls.check_host, tls.hsts) == ("none", True, "max-age=31536000")


def test_a_renewed_pair_is_another_snapshot(build: Any, pair: tuple[Path, Path], authority: Authority) -> None:
    before = build(listener()).snapshot
    authority.renew(*pair, "a.example")
    assert build(listener()).snapshot.digest != before.digest


def test_keys_are_not_printed(build: Any, pair: tuple[Path, Path]) -> None:
    shown = f"{build(listener())!r}"
    assert "PRIVATE KEY" not in shown
    assert pair[1].read_text().splitlines()[1] not in shown
    assert "a.pem" in shown


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cert", "key", "code", "part", "said"),
    [
        ("missing.pem", "a.key", "config.file", "cert", "no such file"),
        ("a.pem", "missing.key", "config.file", "key", "no such file"),
        (".", "a.key", "config.file", "cert", "is a directory"),
        ("text.pem", "a.key", "config.file", "cert", "nothing in it that is PEM"),
        ("a.pem", "other.key", "config.key", "key", "does not belong to the certificate"),
        ("a.key", "a.pem", "config.certificate", "cert", "no certificate in PEM form"),
        ("weak.pem", "weak.key", "config.certificate", "cert", "too small"),
    ],
)
def test_pairs_that_cannot_be_used(
    build: Any, pair: tuple[Path, Path], authority: Authority, tmp_path: Path, cert: str, key: str, code: str, part: str,
    said: str,
) -> None:  # fmt: skip
    (tmp_path / "text.pem").write_text("hello")
    shutil.copy(authority.pair("b.example")[1], tmp_path / "other.key")
    if cert == "weak.pem":
        weak = ["-newkey", "rsa:1024", "-keyout", tmp_path / key, "-out", tmp_path / cert, "-nodes", "-subj", "/CN=w"]
        subprocess.run(["openssl", "req", "-x509", *weak], check=True, capture_output=True)
    problem = only(build.errors(listener(certificates=f"{{cert: {cert}, key: {key}}}")))
    assert (problem.code, problem.line, said in problem.message) == (code, 4, True), problem
    assert problem.source[problem.column - 1 :].startswith(cert if part == "cert" else key)


@pytest.mark.parametrize(
    ("tls", "code", "said"),
    [
        (", min_version: '1.3', max_version: '1.2'", "config.conflict", "is older than 'min_version'"),
        (", ciphers: [ECDHE-ECDSA-AES128-GCM-SHA265]", "config.cipher", "there is no cipher"),
        (", ciphers: [TLS_AES_128_GCM_SHA256]", "config.cipher", "are always on"),
        (", ciphers: [NULL-MD5]", "config.cipher", "there is no cipher"),
        (", client_auth: {mode: required}", "config.missing_key", "need 'ca'"),
        (", client_auth: {ca: a.pem}", "config.conflict", "no client certificate is asked for"),
        (", client_auth: {forward: true}", "config.conflict", "no client certificate is asked for"),
        (", client_auth: {mode: optional, ca: missing.pem}", "config.file", "no such file"),
        (", client_auth: {mode: optional, ca: a.key}", "config.certificate", "authorities"),
        (", hsts: {preload: true}", "config.conflict", "include_subdomains"),
        (", hsts: {preload: true, include_subdomains: true, max_age: 1h}", "config.conflict", "a year"),
        (", handshake_timeout: 0s", "config.value", "above zero"),
    ],
)
def test_options_that_cannot_be_used(build: Any, pair: tuple[Path, Path], tls: str, code: str, said: str) -> None:
    problems = [each for each in build.errors(listener(tls)) if each.severity == "error"]
    problem = only(problems)
    assert (problem.code, said in f"{problem.message} {problem.hint}") == (code, True), problem
    assert problem.line == 4


def test_a_mistyped_cipher_is_guessed(build: Any, pair: tuple[Path, Path]) -> None:
    problem = only(build.errors(listener(", ciphers: [ECDHE-ECDSA-AES128-GCM-SHA265]")))
    assert problem.hint == "did you mean 'ECDHE-ECDSA-AES128-GCM-SHA256'?"


def test_all_that_is_wrong_is_told_at_once(build: Any, pair: tuple[Path, Path]) -> None:
    certificates = "{cert: no.pem, key: a.key}, {cert: a.pem, key: no.key}"
    problems = build.errors(listener(", client_auth: {mode: optional, ca: no.ca}", certificates=certificates))
    assert [problem.code for problem in problems] == ["config.file"] * 3


def test_http2_is_h2_with_tls_and_h2c_without(build: Any, pair: tuple[Path, Path]) -> None:
    problem = only(build.errors(listener(more="    protocols: [http1, h2c]\n")))
    assert (problem.line, problem.hint) == (5, "write h2")
    problem = only(build.errors("listeners: [{name: p, bind: 127.0.0.1:1, protocols: [h2]}]\n" + ROUTES))
    assert (problem.code, problem.hint) == ("config.conflict", "write h2c")


# --- what is odd ------------------------------------------------------------------------------------------------------


def warnings(build: Any, text: str) -> list[tuple[str, int]]:
    return [(problem.code, problem.line) for problem in build(text).problems]


def test_certificates_that_clients_will_not_like(build: Any, authority: Authority, pair: tuple[Path, Path]) -> None:
    for days, started, code in ((-1, 1, "lint.expired"), (90, -5, "lint.not_yet_valid")):
        authority.renew(*pair, "a.example", days=days, started=started)
        assert warnings(build, listener()) == [(code, 4)]
    authority.renew(*pair, "*.com", "ok.example.com")
    assert warnings(build, listener()) == [("lint.wildcard", 4)]
    authority.renew(*pair, "a.example")
    pair[0].write_bytes(pair[0].read_bytes() + authority.pair("b.example")[0].read_bytes())
    assert warnings(build, listener()) == [("lint.chain", 4)]


def test_a_certificate_that_is_never_shown(build: Any, authority: Authority, pair: tuple[Path, Path]) -> None:
    def with_more(*more: tuple[Path, Path]) -> str:
        listed = ["{cert: a.pem, key: a.key}", *(f"{{cert: {cert}, key: {key}}}" for cert, key in more)]
        return listener(certificates=", ".join(listed))

    same, other_kind = authority.pair("a.example"), authority.pair("a.example", key_type="rsa")
    more_names = authority.pair("a.example", "c.example")
    assert warnings(build, with_more(same)) == [("lint.shadowed", 4)]
    assert warnings(build, with_more(other_kind, more_names)) == []


def test_weak_choices(build: Any, pair: tuple[Path, Path]) -> None:
    assert warnings(build, listener(", ciphers: [AES128-GCM-SHA256]")) == [("lint.weak_cipher", 4)]
    assert warnings(build, listener(", max_version: '1.2'")) == [("lint.tls_version", 4)]


def test_authorities_that_have_expired(
    build: Any, authority: Authority, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copy(authority.pair("ca.example", days=-1)[0], tmp_path / "ca.pem")
    assert warnings(build, listener(", client_auth: {mode: required, ca: ca.pem}")) == [("lint.expired", 4)]
