"""TLS of the configuration → TLS of the snapshot: files are read and checked here, once, and travel as text."""

from __future__ import annotations

import ssl
from pathlib import Path as FilePath
from typing import Final

from gatewright.clock import SystemClock
from gatewright.config.document import Document
from gatewright.config.tree import Path
from gatewright.config.upstream import Upstream, UpstreamTls
from gatewright.snapshot import model
from gatewright.tls.certificates import CertificateError, examine, read_chain

MOST_PEM_BYTES: Final = 4 * 1024 * 1024
_NO_PAIR: Final = ("", "", 0.0)


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
    cert, key, expires = _pair(document, files, tls, place)
    return model.UpstreamTls(
        ca=_authorities(document, files, tls, place),
        server_name=tls.server_name or "",
        cert=cert,
        key=key,
        verify=tls.verify,
        min_version=tls.min_version,
        expires=expires,
    )


def _authorities(document: Document, files: list[FilePath], tls: UpstreamTls, path: Path) -> str:
    if tls.ca is None:
        return ""
    place = (*path, "ca")
    text = read_pem(document, files, tls.ca, place)
    if not text:
        return ""
    try:
        found = read_chain(text)
    except CertificateError as error:
        _report(document, tls.ca, error, place)
        return ""
    if all(certificate.not_valid_after_utc.timestamp() < _now() for certificate in found):
        message = f"every certificate in {tls.ca} has expired"
        document.problem("lint.certificate", message, place, severity="warning")
    return text


def _pair(document: Document, files: list[FilePath], tls: UpstreamTls, path: Path) -> tuple[str, str, float]:
    """Certificate, key, and when the certificate expires; empty when there are none, or they cannot be used."""
    if tls.cert is None and tls.key is None:
        return _NO_PAIR
    if tls.cert is None or tls.key is None:
        given, missing = ("cert", "key") if tls.key is None else ("key", "cert")
        document.problem("config.missing_key", f"'{given}' needs '{missing}'", (*path, given), key=True)
        return _NO_PAIR
    cert = read_pem(document, files, tls.cert, (*path, "cert"))
    key = read_pem(document, files, tls.key, (*path, "key"))
    if not cert or not key:
        return _NO_PAIR
    try:
        facts = examine(cert, key)
    except CertificateError as error:
        _report(document, tls.cert if error.part == "cert" else tls.key, error, (*path, error.part))
        return _NO_PAIR
    if facts.expires < _now():
        message = f"the certificate in {tls.cert} has expired: endpoints that ask for one will refuse it"
        document.problem("lint.certificate", message, (*path, "cert"), severity="warning")
    return cert, key, facts.expires


def _report(document: Document, name: str, error: CertificateError, path: Path) -> None:
    document.problem("config.certificate", f"{name}: {error}", path, hint=error.hint)


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


def trusts_nobody() -> bool:
    """Whether the system has no trust store: no file and no directory with certificates of authorities."""
    paths = ssl.get_default_verify_paths()
    file, folder = (FilePath(path) if path else None for path in (paths.cafile, paths.capath))
    return (file is None or not file.is_file()) and (folder is None or not folder.is_dir() or not any(folder.iterdir()))


def _now() -> float:
    return SystemClock().wall()
