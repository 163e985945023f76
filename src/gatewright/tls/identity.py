"""Who a client says it is: the certificate it has shown, and how upstreams are told of it (RFC 9440)."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cryptography import x509

#: What expressions see of it (``request.client_certificate``), and what all of it is when there is none.
FIELDS: Final = ("subject", "issuer", "serial", "dns", "uris", "emails", "fingerprint", "not_after")


class ClientCertificate:
    """The certificate of a client, checked in the handshake. It is read on first use, once for each connection.

    Texts are as they stand in the certificate; names are only as good as the authorities that the listener trusts.
    """

    __slots__ = ("_read", "der")

    def __init__(self, der: bytes) -> None:
        #: The certificate itself, DER.
        self.der = der
        self._read: x509.Certificate | None = None

    @property
    def _certificate(self) -> x509.Certificate:
        read = self._read
        if read is None:
            from cryptography import x509  # noqa: PLC0415 - 6 MB and 40 ms, only where identities are asked for

            read = self._read = x509.load_der_x509_certificate(self.der)
        return read

    @property
    def subject(self) -> str:
        """The distinguished name, RFC 4514: ``CN=billing,O=Example``."""
        return self._certificate.subject.rfc4514_string()

    @property
    def issuer(self) -> str:
        """The distinguished name of the authority that signed it."""
        return self._certificate.issuer.rfc4514_string()

    @property
    def serial(self) -> str:
        """The serial number, in lower-case hexadecimal digits."""
        return f"{self._certificate.serial_number:x}"

    @property
    def dns(self) -> tuple[str, ...]:
        """The DNS names it is for."""
        from cryptography import x509  # noqa: PLC0415 - as above

        return self._listed(x509.DNSName)

    @property
    def uris(self) -> tuple[str, ...]:
        """The URIs it is for, such as SPIFFE identities."""
        from cryptography import x509  # noqa: PLC0415 - as above

        return self._listed(x509.UniformResourceIdentifier)

    @property
    def emails(self) -> tuple[str, ...]:
        """The mail addresses it is for."""
        from cryptography import x509  # noqa: PLC0415 - as above

        return self._listed(x509.RFC822Name)

    def _listed(self, kind: Any) -> tuple[str, ...]:
        from cryptography import x509  # noqa: PLC0415 - as above

        try:
            names = self._certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (x509.ExtensionNotFound, ValueError):  # it names nobody, or cannot be read
            return ()
        return tuple(names.get_values_for_type(kind))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in lower-case hexadecimal digits."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def not_after(self) -> float:
        """When it ceases to be valid, seconds since 1970."""
        return self._certificate.not_valid_after_utc.timestamp()

    def values(self) -> dict[str, Any]:
        """All of it as plain values, for expressions."""
        found = {field: getattr(self, field) for field in FIELDS}
        return {field: list(value) if type(value) is tuple else value for field, value in found.items()}

    def header(self) -> bytes:
        """The value of ``Client-Cert`` (RFC 9440 section 2.1)."""
        return b":%b:" % b64encode(self.der)


#: What expressions see where there is no certificate.
NOBODY: Final[dict[str, Any]] = {
    **dict.fromkeys(("subject", "issuer", "serial", "fingerprint"), ""),
    **{name: [] for name in ("dns", "uris", "emails")},
    "not_after": 0.0,
}
