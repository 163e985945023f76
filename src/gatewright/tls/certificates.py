"""Certificates of servers: whether a chain and a key belong together, and what the certificate says.

What a pair says of itself goes into the snapshot, so that workers need not read certificates.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

#: Pairs of which it is remembered what they say: a reload need not read them all again.
MOST_KEPT: Final = 2_000


class CertificateError(ValueError):
    """A pair that cannot be used.

    Attributes:
        part: ``cert`` or ``key``: which of the two files to look at.
        hint: What may help; may be empty.
    """

    def __init__(self, part: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.part = part
        self.hint = hint


class Facts(NamedTuple):
    """What a certificate says.

    Attributes:
        names: Host names (lower case, ``*.example.com`` too) and addresses it is for.
        common_name: Whether the names come from the subject, because the certificate lists none: clients ignore them.
        kind: Of the key: rsa, ecdsa, ed25519, ed448.
        starts: When it becomes valid, seconds since 1970.
        expires: When it ceases to be valid, seconds since 1970.
        fingerprint: SHA-256 of the certificate, in hexadecimal digits.
        chained: Whether each certificate of the chain has been issued by the next one.
    """

    names: tuple[str, ...]
    common_name: bool
    kind: str
    starts: float
    expires: float
    fingerprint: str
    chained: bool


@lru_cache(maxsize=MOST_KEPT)
def examine(cert: str, key: str) -> Facts:
    """What the pair says of itself.

    Args:
        cert: PEM text of the chain, the server's own certificate first.
        key: PEM text of its private key.

    Raises:
        CertificateError: They cannot be read, or do not belong together.
    """
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - workers never need it

    chain = read_chain(cert)
    leaf = chain[0]
    private = _read_key(key)
    try:
        public = leaf.public_key()
    except (ValueError, TypeError) as error:
        raise CertificateError("cert", f"the key in the certificate cannot be used: {error}") from None
    if private.public_key() != public:
        others = [i for i, other in enumerate(chain) if other.public_key() == private.public_key()]
        hint = "the server's own certificate must come first in its file" if others else ""
        raise CertificateError("key", "the key does not belong to the certificate", hint)
    names, common = names_of(leaf)
    return Facts(
        names=names,
        common_name=common,
        kind=_kind_of(public),
        starts=leaf.not_valid_before_utc.timestamp(),
        expires=leaf.not_valid_after_utc.timestamp(),
        fingerprint=hashlib.sha256(leaf.public_bytes(Encoding.DER)).hexdigest(),
        chained=all(one.issuer == other.subject for one, other in pairwise(chain)),
    )


def read_chain(text: str) -> list[x509.Certificate]:
    """The certificates of a PEM text. Raises CertificateError when there is none, or one cannot be read."""
    from cryptography import x509  # noqa: PLC0415 - as above

    if "-----BEGIN CERTIFICATE-----" not in text:
        hint = "it holds a private key: have cert and key changed places?" if "PRIVATE KEY-----" in text else ""
        raise CertificateError("cert", "the file holds no certificate in PEM form", hint)
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError as error:
        reason = str(error).partition("\n")[0][:200]
        raise CertificateError("cert", f"the certificate cannot be read: {reason}") from None


def _read_key(text: str) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - as above

    if "PRIVATE KEY-----" not in text:
        raise CertificateError("key", "the file holds no private key in PEM form")
    try:
        return load_pem_private_key(text.encode(), None)
    except TypeError:
        hint = "openssl pkey -in FILE -out NEW takes the passphrase off; protect the file by its permissions"
        raise CertificateError("key", "the key is encrypted", hint) from None
    except (ValueError, UnsupportedAlgorithm):  # never the error's own words: they might quote the key
        raise CertificateError("key", "the key cannot be read") from None


def names_of(certificate: x509.Certificate) -> tuple[tuple[str, ...], bool]:
    """The names a certificate is for, and whether they had to be taken from its subject."""
    from cryptography import x509  # noqa: PLC0415 - as above

    try:
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        listed = None
    if listed is not None:
        found = [name.lower() for name in listed.get_values_for_type(x509.DNSName)]
        found += [str(address) for address in listed.get_values_for_type(x509.IPAddress)]
        return tuple(dict.fromkeys(found)), False
    subject = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return tuple(str(attribute.value).lower() for attribute in subject), True


def _kind_of(public: object) -> str:
    name = type(public).__name__.lower()
    return next((kind for kind in ("rsa", "ed25519", "ed448") if kind in name), "ecdsa")


def good_wildcard(name: str) -> bool:
    """Whether ``*`` stands for the whole first label and two more follow (RFC 6125 section 6.4.3)."""
    return "*" not in name or (name.startswith("*.") and "*" not in name[2:] and "." in name[2:])
