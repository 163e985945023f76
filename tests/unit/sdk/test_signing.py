"""Verifying: keys made here, and the signatures of RFC 9421 in test_hmac.py."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from gatewright.sdk import Consumer, Secret
from gatewright.sdk.signing import Verifier, algorithm_of, verifier_of

DATA = b'"@method": GET\n"@signature-params": ("@method")'
ACME = Consumer("acme")
RSA, EC, ED = (
    rsa.generate_private_key(65537, 2048),
    ec.generate_private_key(ec.SECP256R1()),
    ed25519.Ed25519PrivateKey.generate(),
)


def pem(key: Any) -> str:
    text: str = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return text


def verifier(key: Any, algorithm: str) -> Verifier:
    assert algorithm_of(pem(key), algorithm) == algorithm
    return verifier_of(Secret("k", pem(key), ACME, algorithm))


def ecdsa() -> bytes:
    r, s = decode_dss_signature(EC.sign(DATA, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


MADE = {
    "hmac-sha256": (
        verifier_of(Secret("k", b64encode(b"secret").decode(), ACME, "hmac-sha256")),
        hmac.digest(b"secret", DATA, hashlib.sha256),
    ),
    "rsa-v1_5-sha256": (verifier(RSA, "rsa-v1_5-sha256"), RSA.sign(DATA, padding.PKCS1v15(), hashes.SHA256())),
    "rsa-pss-sha512": (
        verifier(RSA, "rsa-pss-sha512"),
        RSA.sign(DATA, padding.PSS(padding.MGF1(hashes.SHA512()), 64), hashes.SHA512()),
    ),
    "ecdsa-p256-sha256": (verifier(EC, "ecdsa-p256-sha256"), ecdsa()),
    "ed25519": (verifier(ED, "ed25519"), ED.sign(DATA)),
}


@pytest.mark.parametrize("algorithm", MADE)
def test_every_algorithm(algorithm: str) -> None:
    good, signature = MADE[algorithm]
    assert good.verify(signature, DATA)
    assert not good.verify(signature, DATA + b"x")
    assert not good.verify(signature[:-1] + bytes([signature[-1] ^ 1]), DATA)
    for other, (_, wrong) in MADE.items():
        assert other == algorithm or not good.verify(wrong, DATA)


def test_ecdsa_is_not_der() -> None:
    assert not MADE["ecdsa-p256-sha256"][0].verify(EC.sign(DATA, ec.ECDSA(hashes.SHA256())), DATA)


@given(st.binary(max_size=300) | st.sampled_from([bytes(64), b"\xff" * 64, bytes(256), b"\xff" * 256, bytes(32)]))
def test_anything_is_only_wrong(signature: bytes) -> None:
    for good, _ in MADE.values():
        assert good.verify(signature, DATA) is False
