"""Certificates for tests."""

from __future__ import annotations

import builtins
import datetime
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gatewright.testing.certs import Authority


def names_of(path: Path) -> list[str]:
    cert = x509.load_pem_x509_certificate(path.read_bytes())
    found = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.get_values_for_type(x509.DNSName)


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """A handshake in memory; the server's side of it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=name)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (one, other, one, other):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    return other


def test_a_pair_is_for_the_names_and_is_trusted_by_who_trusts_the_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    assert names_of(authority.pair("a.example", "*.b.example")[0]) == ["a.example", "*.b.example"]
    context = authority.client_context(alpn=("h2",))
    done = shake_hands(context, authority.server_context("a.example", alpn=("h2",)), "a.example")
    assert done.selected_alpn_protocol() == "h2"
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context, authority.server_context("other.example"), "a.example")


def test_a_client_shows_its_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "mine")
    server = authority.server_context("a.example")
    server.load_verify_locations(authority.ca_path)
    server.verify_mode = ssl.CERT_REQUIRED
    done = shake_hands(authority.client_context(authority.client_pair("bob.example")), server, "a.example")
    assert (("commonName", "bob.example"),) in (done.getpeercert() or {})["subject"]


def test_pairs_are_renewed_in_place_and_may_have_expired(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.pair("a.example", key_type="rsa", days=-2)
    expires = x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc
    assert expires < datetime.datetime.now(datetime.UTC)
    assert isinstance(load_pem_private_key(key.read_bytes(), None), rsa.RSAPrivateKey)
    authority.renew(cert, key, "b.example")
    assert names_of(cert) == ["b.example"]


def test_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name == "trustme":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RuntimeError, match="pip install trustme"):
        Authority(tmp_path)
