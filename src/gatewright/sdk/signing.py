"""Algorithms of HTTP message signatures (RFC 9421 section 3.3): what a key signs with, and verifying.

A key is bound to one algorithm when it is configured; what a signature says of itself can only agree (section 7.3.6).
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode
from typing import Any, Final, Protocol

from gatewright.sdk.exchange import Secret

ALGORITHMS: Final = ("hmac-sha256", "rsa-v1_5-sha256", "rsa-pss-sha512", "ecdsa-p256-sha256", "ed25519")
_LEAST_RSA: Final = 2048
_MOST_RSA: Final = 4096
_HALF: Final = 32  # octets of each of the two numbers of an ECDSA signature with P-256


class Verifier(Protocol):
    """Verifies signatures of one key."""

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether the signature of ``data`` is by this key. Never raises, whatever the signature is."""


class HmacVerifier:
    """hmac-sha256."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Compares in constant time."""
        return hmac.compare_digest(hmac.digest(self._secret, data, hashlib.sha256), signature)


class KeyVerifier:
    """Signatures of private keys. The public keys come from the configuration and were checked there."""

    __slots__ = ("_algorithm", "_key")

    def __init__(self, pem: str, algorithm: str) -> None:
        self._key: Any = _public_key(pem)
        self._algorithm = algorithm

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Takes 30 to 150 µs."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - few need its megabytes
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature  # noqa: PLC0415

        if self._algorithm == "ecdsa-p256-sha256":
            if len(signature) != 2 * _HALF:
                return False
            signature = encode_dss_signature(
                int.from_bytes(signature[:_HALF], "big"), int.from_bytes(signature[_HALF:], "big")
            )
        try:
            self._key.verify(signature, data, *_parameters(self._algorithm))
        except InvalidSignature:
            return False
        return True


def verifier_of(secret: Secret) -> Verifier:
    """What verifies the signatures of a credential of the kind ``hmac``."""
    if secret.algorithm == "hmac-sha256":
        return HmacVerifier(b64decode(secret.value))
    return KeyVerifier(secret.value, secret.algorithm)


def algorithm_of(pem: str, wanted: str = "") -> str:
    """What a public key signs with.

    Raises:
        ValueError: It is no public key, is too weak, is of a kind that is not known, or has no use for ``wanted``.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415 - few need its megabytes

    key = _public_key(pem)
    if isinstance(key, rsa.RSAPublicKey):
        if not _LEAST_RSA <= key.key_size <= _MOST_RSA:
            raise ValueError(f"an RSA key needs {_LEAST_RSA} to {_MOST_RSA} bits, not {key.key_size}")
        possible: tuple[str, ...] = ("rsa-v1_5-sha256", "rsa-pss-sha512")
    elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        possible = ("ecdsa-p256-sha256",)
    elif isinstance(key, ed25519.Ed25519PublicKey):
        possible = ("ed25519",)
    else:
        raise ValueError("only RSA, P-256 and Ed25519 keys can verify signatures")  # noqa: TRY004 - of text
    if wanted and wanted not in possible:
        raise ValueError(f"this key signs with {' or '.join(possible)}, not with {wanted}")
    return wanted or possible[0]


def _public_key(pem: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - few need its megabytes
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    if "PRIVATE KEY" in pem:
        raise ValueError("this is a private key: it belongs to the caller alone, who gives away the public one")
    try:
        return load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("no public key could be read: it begins with -----BEGIN PUBLIC KEY-----") from None


def _parameters(algorithm: str) -> tuple[Any, ...]:
    """What the key's ``verify`` wants besides signature and data."""
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - few need its megabytes
    from cryptography.hazmat.primitives.asymmetric import ec, padding  # noqa: PLC0415

    if algorithm == "rsa-v1_5-sha256":
        return padding.PKCS1v15(), hashes.SHA256()
    if algorithm == "rsa-pss-sha512":
        return padding.PSS(padding.MGF1(hashes.SHA512()), 64), hashes.SHA512()
    if algorithm == "ecdsa-p256-sha256":
        return (ec.ECDSA(hashes.SHA256()),)
    return ()
