"""Certificates of servers: what they say, and what cannot be used."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from gatewright.testing.certs import Authority
from gatewright.tls.certificates import CertificateError, examine, good_wildcard, read_chain


def texts(pair: tuple[Path, Path]) -> tuple[str, str]:
    return pair[0].read_text(), pair[1].read_text()


def test_what_a_certificate_says(authority: Authority) -> None:
    pair = authority.pair("A.example", "*.b.example", "127.0.0.1", "::1", days=10)
    facts = examine(*texts(pair))
    assert facts.names == ("a.example", "*.b.example", "127.0.0.1", "::1")
    assert (facts.kind, facts.common_name, facts.chained) == ("ecdsa", False, True)
    assert facts.expires - time.time() == pytest.approx(10 * 86_400, abs=60)
    assert facts.starts < time.time()
    certificate = x509.load_pem_x509_certificate(pair[0].read_bytes())
    assert facts.fingerprint == certificate.fingerprint(hashes.SHA256()).hex()
    assert examine(*texts(authority.pair("a.example", key_type="rsa"))).kind == "rsa"


@pytest.mark.parametrize(("algorithm", "kind"), [("ed25519", "ed25519"), ("ed448", "ed448")])
def test_other_kinds_and_no_listed_names(tmp_path: Path, algorithm: str, kind: str) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", algorithm, "-keyout", key, "-out", cert, "-nodes", "-subj", "/CN=Old.example"],
        check=True, capture_output=True,
    )  # fmt: skip
    facts = examine(cert.read_text(), key.read_text())
    assert (facts.kind, facts.names, facts.common_name) == (kind, ("old.example",), True)


def refusal(cert: str, key: str) -> CertificateError:
    with pytest.raises(CertificateError) as caught:
        examine(cert, key)
    return caught.value


def test_pairs_that_cannot_be_used(authority: Authority) -> None:
    cert, key = texts(authority.pair("a.example"))
    _, other = texts(authority.pair("a.example"))
    loaded = load_pem_private_key(key.encode(), None)
    encrypted = loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode()
    body = cert.splitlines()[1]
    cases = [
        (cert, other, "key", "does not belong"),
        (cert, encrypted, "key", "is encrypted"),
        (cert, "nothing", "key", "no private key"),
        (cert, key.replace(key.splitlines()[1], "AAAA"), "key", "cannot be read"),
        (cert, cert, "key", "no private key"),
        ("nothing", key, "cert", "no certificate"),
        (key, cert, "cert", "no certificate"),
        (cert.replace(body, "AAAA"), key, "cert", "cannot be read"),
    ]
    for one, two, part, said in cases:
        error = refusal(one, two)
        assert (error.part, said in str(error)) == (part, True), str(error)
        assert key.splitlines()[1] not in f"{error}{error.hint}", "nothing of the key is told"
    assert "changed places" in refusal(key, cert).hint
    assert "passphrase" in refusal(cert, encrypted).hint


def test_a_chain_in_the_wrong_order(authority: Authority) -> None:
    cert, key = texts(authority.pair("a.example"))
    authority_text = authority.ca_path.read_text()
    error = refusal(authority_text + cert, key)
    assert error.part == "key"
    assert "must come first" in error.hint
    assert examine(cert + authority_text, key).chained
    assert not examine(cert + texts(authority.pair("b.example"))[0], key).chained


def test_a_file_of_authorities_is_read(authority: Authority) -> None:
    text = authority.ca_path.read_text()
    assert len(read_chain(text + text)) == 2
    with pytest.raises(CertificateError):
        read_chain("")


@pytest.mark.parametrize(
    ("name", "good"),
    [("a.example", True), ("*.a.example", True), ("*.example", False), ("*", False), ("a*.example.com", False), ("*.*.example.com", False)],
)  # fmt: skip
def test_wildcards(name: str, good: bool) -> None:
    assert good_wildcard(name) is good
