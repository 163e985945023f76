"""TLS of the configuration → TLS of the snapshot: files are read and checked here, once, and travel as text."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Final

from gatewright.clock import SystemClock
from gatewright.config.document import Document
from gatewright.config.tree import Path
from gatewright.config.upstream import Upstream, UpstreamTls
from gatewright.snapshot import model

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MOST_PEM_BYTES: Final = 4 * 1024 * 1024


def resolve_tls(document: Document, files: list[FilePath], upstream: Upstream, path: Path) -> model.UpstreamTls | None:
    """What the endpoints of an upstream are called with; None when none of them is called with TLS.

    Problems go to ``document``, and the files that were read to ``files``: when they change, the configuration has.
    """
    tls = upstream.tls
    secure = any(endpoint.url.scheme == "https" for endpoint in upstream.endpoints)
    if tls is None:
        return model.UpstreamTls() if secure else None
    place = (*path, "tls")
    if not secure:
        message = "no endpoint of this upstream is called with TLS"
        document.problem("config.conflict", message, place, key=True, hint="write https:// in their URLs")
    if not tls.verify:
        message = "certificates are not checked: anybody in between can read and change what is sent"
        document.problem("lint.unverified", message, (*place, "verify"), severity="warning")
        if tls.ca is not None:
            document.problem("config.conflict", "'ca' is not used without 'verify'", (*place, "ca"), key=True)
    cert, key = _pair(document, files, tls, place)
    return model.UpstreamTls(
        ca=_authorities(document, files, tls, place),
        server_name=tls.server_name or "",
        cert=cert,
        key=key,
        verify=tls.verify,
        min_version=tls.min_version,
    )


def _authorities(document: Document, files: list[FilePath], tls: UpstreamTls, path: Path) -> str:
    if tls.ca is None:
        return ""
    place = (*path, "ca")
    text = read_pem(document, files, tls.ca, place)
    found = _certificates(document, text, tls.ca, place) if text else []
    if found and all(_expired(certificate) for certificate in found):
        message = f"every certificate in {tls.ca} has expired"
        document.problem("lint.expired", message, place, severity="warning")
    return text if found else ""


def _pair(document: Document, files: list[FilePath], tls: UpstreamTls, path: Path) -> tuple[str, str]:
    """Certificate and key; both empty when there are none, or they cannot be used."""
    if tls.cert is None and tls.key is None:
        return "", ""
    if tls.cert is None or tls.key is None:
        given, missing = ("cert", "key") if tls.key is None else ("key", "cert")
        document.problem("config.missing_key", f"'{given}' needs '{missing}'", (*path, given), key=True)
        return "", ""
    cert = read_pem(document, files, tls.cert, (*path, "cert"))
    key = read_pem(document, files, tls.key, (*path, "key"))
    certificates = _certificates(document, cert, tls.cert, (*path, "cert")) if cert else []
    if not certificates or not key or not _fits(document, certificates[0], key, tls, path):
        return "", ""
    if _expired(certificates[0]):
        message = f"the certificate in {tls.cert} has expired: endpoints that ask for one will refuse it"
        document.problem("lint.expired", message, (*path, "cert"), severity="warning")
    return cert, key


def read_pem(document: Document, files: list[FilePath], name: str, path: Path) -> str:
    """The text of a PEM file that is named at ``path``; empty, with the problem reported, when it cannot be read."""
    file = (document.base(path) / name).absolute()
    files.append(file)
    data, why = b"", ""
    try:
        with file.open("rb") as opened:
            data = opened.read(MOST_PEM_BYTES + 1)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
    if not why and len(data) > MOST_PEM_BYTES:
        why = f"it is larger than {MOST_PEM_BYTES >> 20} MiB"
    elif not why and b"-----BEGIN " not in data:
        why = "there is nothing in it that is PEM"
    if not why:
        return data.decode("ascii", "replace")
    document.problem("config.file", f"the file {name} cannot be used: {why}", path)
    return ""


def _certificates(document: Document, text: str, name: str, path: Path) -> list[Certificate]:
    # Not at the top: the command line and the controller need it only where there are certificates.
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415

    try:
        return load_pem_x509_certificates(text.encode())
    except ValueError:
        document.problem("config.certificate", f"the file {name} holds no certificate that can be read", path)
        return []


def _fits(document: Document, certificate: Certificate, key: str, tls: UpstreamTls, path: Path) -> bool:
    """Whether the key is the certificate's."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - as above

    place = (*path, "key")
    try:
        private = load_pem_private_key(key.encode(), None)
    except TypeError:
        document.problem("config.key", f"the key in {tls.key} is encrypted", place, hint="openssl pkey removes that")
        return False
    except ValueError:
        document.problem("config.key", f"the file {tls.key} holds no private key that can be read", place)
        return False
    if private.public_key() != certificate.public_key():
        message = f"the key in {tls.key} does not belong to the certificate in {tls.cert}"
        document.problem("config.key", message, place)
        return False
    return True


def _expired(certificate: Certificate) -> bool:
    return certificate.not_valid_after_utc < datetime.fromtimestamp(SystemClock().wall(), UTC)
