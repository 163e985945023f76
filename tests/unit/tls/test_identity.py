"""What a client's certificate says of it."""

from __future__ import annotations

import base64
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from gatewright.tls.identity import FIELDS, NOBODY, ClientCertificate

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def made(*names: x509.GeneralName) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "bob"),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example"),
        ]
    )
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    builder = x509.CertificateBuilder(
        issuer, subject, key.public_key(), 0xABC123, NOW, NOW + datetime.timedelta(days=1)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256())


def test_all_of_it() -> None:
    certificate = made(
        x509.DNSName("bob.example"),
        x509.UniformResourceIdentifier("spiffe://example/bob"),
        x509.RFC822Name("bob@example.com"),
    )
    seen = ClientCertificate(certificate.public_bytes(Encoding.DER))
    assert seen.values() == {
        "subject": "O=Example,CN=bob",
        "issuer": "CN=authority",
        "serial": "abc123",
        "dns": ["bob.example"],
        "uris": ["spiffe://example/bob"],
        "emails": ["bob@example.com"],
        "fingerprint": certificate.fingerprint(hashes.SHA256()).hex(),
        "not_after": (NOW + datetime.timedelta(days=1)).timestamp(),
    }
    assert base64.b64decode(seen.header().strip(b":")) == seen.der
    assert seen.header()[:1] == seen.header()[-1:] == b":"


def test_without_names() -> None:
    seen = ClientCertificate(made().public_bytes(Encoding.DER))
    assert (seen.dns, seen.uris, seen.emails) == ((), (), ())


def test_nothing_is_read_before_it_is_asked_for() -> None:
    seen = ClientCertificate(b"not a certificate")
    assert len(seen.fingerprint) == 64
    with pytest.raises(ValueError, match=r".+"):
        _ = seen.subject


def test_nobody_has_the_same_fields() -> None:
    assert set(NOBODY) == set(FIELDS)
