"""Certificates for tests: an authority of one's own, made when the test runs, and files signed by it.

::

    authority = Authority(tmp_path)
    cert, key = authority.pair("api.example.com", "*.example.org")
    context = ssl.create_default_context(cafile=authority.ca_path)

Needs the package ``trustme``, which only tests install.
"""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import trustme

KeyType = Literal["ecdsa", "rsa"]


def _trustme() -> type[trustme.CA]:
    try:
        import trustme  # noqa: PLC0415 - a dependency of tests, not of this package
    except ImportError as error:
        raise RuntimeError("certificates for tests need trustme: pip install trustme") from error
    return trustme.CA


class Authority:
    """Signs certificates and writes them into files.

    Args:
        folder: Where the files go; it must exist.
        name: Names the files, and the organisation in the certificates.

    Attributes:
        ca_path: PEM file with the certificate of the authority.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._ca = _trustme()(organization_name=name)
        self._folder = folder
        self._name = name
        self._made = 0
        self.ca_path = folder / f"{name}.pem"
        self.ca_path.write_bytes(self._ca.cert_pem.bytes())

    def pair(
        self,
        *names: str,
        key_type: KeyType = "ecdsa",
        days: float = 90,
        started: float = 1,
        common_name: str | None = None,
    ) -> tuple[Path, Path]:
        """Files with a certificate chain and its key; good for servers and for clients.

        Args:
            names: Host names (``*.example.com`` too), addresses, or mail addresses.
            key_type: ECDSA on the curve P-256, or RSA with 2048 bits.
            days: When it expires, from now; negative for one that has expired.
            started: How many days ago it has become valid.
            common_name: The name in its subject.
        """
        self._made += 1
        stem = self._folder / f"{self._name}-{self._made}"
        cert, key = stem.with_suffix(".pem"), stem.with_suffix(".key")
        self.renew(cert, key, *names, key_type=key_type, days=days, started=started, common_name=common_name)
        return cert, key

    def renew(
        self,
        cert: Path,
        key: Path,
        *names: str,
        key_type: KeyType = "ecdsa",
        days: float = 90,
        started: float = 1,
        common_name: str | None = None,
    ) -> None:
        """Write a new pair over two files; the arguments are those of :meth:`pair`."""
        import trustme  # noqa: PLC0415 - as above; it is there, or there were no authority

        now = datetime.datetime.now(datetime.UTC)
        expires = now + datetime.timedelta(days=days)
        issued = self._ca.issue_cert(
            *(names or ("localhost", "127.0.0.1")),
            organization_name=self._name,
            common_name=common_name,
            not_before=min(now, expires) - datetime.timedelta(days=started),
            not_after=expires,
            key_type=trustme.KeyType.RSA if key_type == "rsa" else trustme.KeyType.ECDSA,
        )
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())

    def client_pair(self, name: str = "client.example", *, days: float = 90) -> tuple[Path, Path]:
        """Files with the certificate of a client and its key; ``name`` is its common name and its DNS name."""
        return self.pair(name, days=days, common_name=name)

    def client_context(self, pair: tuple[Path, Path] | None = None, *, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        """A client's context that trusts this authority, and shows the certificate ``pair`` when asked for one."""
        context = ssl.create_default_context(cafile=self.ca_path)
        if pair is not None:
            context.load_cert_chain(*pair)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context

    def server_context(self, *names: str, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        """A server's context with a fresh certificate for ``names``; for origins that speak TLS."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self.pair(*names))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context
