"""TLS towards endpoints: files are read once, checked, and travel as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gatewright.snapshot import model
from gatewright.testing.certs import Authority


def config(tls: str, url: str = "https://127.0.0.1:1") -> str:
    return f"upstreams: {{a: {{endpoints: [{url}], tls: {{{tls}}}}}}}\nroutes: [{{name: r, to: a}}]\n"


def tls_of(built: Any) -> model.UpstreamTls:
    found = built.snapshot.upstreams[0].tls
    assert isinstance(found, model.UpstreamTls)
    return found


def test_https_alone_is_enough(build: Any) -> None:
    built = build("upstreams: {a: {endpoints: ['https://127.0.0.1:1']}}\nroutes: [{name: r, to: a}]\n")
    assert tls_of(built) == model.UpstreamTls()
    assert built.problems == []


def test_a_system_without_authorities_is_warned_of(
    build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "nowhere"))
    text = "upstreams: {a: {endpoints: ['http://127.0.0.1:2', 'https://127.0.0.1:1']}}\nroutes: [{name: r, to: a}]\n"
    (warning,) = build(text).problems
    assert (warning.code, warning.path) == ("lint.certificate", "upstreams.a.endpoints")
    assert "no certificates of authorities" in warning.message
    assert build(config(f"ca: {authority.ca_path}")).problems == []
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_path))
    assert build(text).problems == []


def test_plain_endpoints_have_none(build: Any) -> None:
    built = build("upstreams: {a: {endpoints: ['http://127.0.0.1:1']}}\nroutes: [{name: r, to: a}]\n")
    assert built.snapshot.upstreams[0].tls is None


def test_everything_that_can_be_written(build: Any, authority: Authority) -> None:
    cert, key = authority.client_pair()
    built = build(
        config(f'ca: {authority.ca_path}, cert: {cert}, key: {key}, server_name: Orders.Internal, min_version: "1.3"')
    )
    found = tls_of(built)
    assert found.ca == authority.ca_path.read_text("ascii")
    assert (found.cert, found.key) == (cert.read_text("ascii"), key.read_text("ascii"))
    assert (found.server_name, found.min_version, found.verify) == ("orders.internal", "1.3", True)
    assert found.expires > 0
    assert {authority.ca_path, cert, key} <= set(built.files), "they are watched"
    assert built.problems == []
    encoded = msgspec.msgpack.encode(built.snapshot)
    assert msgspec.msgpack.decode(encoded, type=model.Snapshot) == built.snapshot
    assert "PRIVATE" not in repr(built.snapshot)


def test_renewed_files_make_another_snapshot(build: Any, authority: Authority) -> None:
    cert, key = authority.client_pair()
    text = config(f"cert: {cert}, key: {key}")
    before = build(text).snapshot.digest
    assert build(text).snapshot.digest == before
    authority.renew(cert, key, "client.example")
    assert build(text).snapshot.digest != before


@pytest.mark.parametrize(
    ("written", "name"), [("'[::1]'", "::1"), ("::1", "::1"), ("127.0.0.1", "127.0.0.1"), ("A.example.", "a.example")]
)
def test_server_names(build: Any, written: str, name: str) -> None:
    assert tls_of(build(config(f"server_name: '{written.strip(chr(39))}'"))).server_name == name


@pytest.mark.parametrize(
    ("written", "hint"),
    [("'https://a'", "write the name alone"), ("'a:443'", "write the name alone"), ("'a b'", "host name"), ("7", "")],
)
def test_server_names_that_are_none(build: Any, written: str, hint: str) -> None:
    (problem,) = build.errors(config(f"server_name: {written}"))
    assert problem.path == "upstreams.a.tls.server_name"
    assert "name" in problem.message
    assert hint in problem.hint


@pytest.mark.parametrize(("written", "version"), [("1.3", "1.3"), ('"1.3"', "1.3"), ("1.2", "1.2")])
def test_versions_with_and_without_quotes(build: Any, written: str, version: str) -> None:
    assert tls_of(build(config(f"min_version: {written}"))).min_version == version


def test_tls_that_nobody_uses(build: Any) -> None:
    (problem,) = build.errors(config("", "http://127.0.0.1:1"))
    assert (problem.code, problem.line) == ("config.conflict", 2)
    assert problem.message == "no endpoint of this upstream is called with TLS"


def test_without_verification_there_is_a_warning(build: Any) -> None:
    built = build(config("verify: false"))
    assert not tls_of(built).verify
    (warning,) = built.problems
    assert (warning.code, warning.severity) == ("lint.unverified", "warning")
    assert warning.path == "upstreams.a.tls.verify"


def test_an_authority_that_is_not_asked(build: Any, authority: Authority) -> None:
    errors = build.errors(config(f"verify: false, ca: {authority.ca_path}"))
    assert [problem.message for problem in errors if problem.severity == "error"] == [
        "'ca' is not used without 'verify'"
    ]


def test_files_that_cannot_be_used(build: Any, authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.pair()
    other_cert, other_key = authority.pair()
    empty, garbage, large = tmp_path / "empty", tmp_path / "garbage", tmp_path / "large"
    empty.write_bytes(b"")
    garbage.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    large.write_bytes(b"-" * (5 << 20))
    cases = {
        f"ca: {tmp_path / 'none'}": ("ca", "no such file or directory"),
        f"ca: {tmp_path}": ("ca", "is a directory"),
        f"ca: {empty}": ("ca", "nothing in it that is PEM"),
        f"ca: {large}": ("ca", "larger than 4 MiB"),
        f"ca: {garbage}": ("ca", "the certificate cannot be read"),
        f"ca: {key}": ("ca", "holds no certificate"),
        f"cert: {cert}": ("cert", "'cert' needs 'key'"),
        f"key: {key}": ("key", "'key' needs 'cert'"),
        f"cert: {cert}, key: {other_key}": ("key", "does not belong to the certificate"),
        f"cert: {key}, key: {cert}": ("cert", "holds no certificate"),
        f"cert: {cert}, key: {other_cert}": ("key", "holds no private key"),
    }
    for keys, (part, said) in cases.items():
        (problem,) = build.errors(config(keys))
        assert problem.path == f"upstreams.a.tls.{part}", keys
        assert said in problem.message, keys
        assert problem.line == 2, keys
        assert "PRIVATE KEY" not in problem.message


def test_expired_certificates_are_warned_of(build: Any, authority: Authority) -> None:
    cert, key = authority.client_pair(days=-1)
    built = build(config(f"cert: {cert}, key: {key}, ca: {cert}"))
    assert {(problem.code, problem.path) for problem in built.problems} == {
        ("lint.certificate", "upstreams.a.tls.cert"),
        ("lint.certificate", "upstreams.a.tls.ca"),
    }
