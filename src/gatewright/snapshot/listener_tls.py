"""TLS of listeners → TLS of the snapshot: certificates are read and checked here, once, and travel as text."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Final

import msgspec

from gatewright.clock import SystemClock
from gatewright.config import listener as written
from gatewright.config.document import Document, suggestion
from gatewright.config.tree import Path
from gatewright.snapshot import model
from gatewright.snapshot.upstream_tls import read_pem
from gatewright.tls.certificates import MOST_KEPT, CertificateError, Facts, examine, good_wildcard, read_chain
from gatewright.tls.ciphers import known_ciphers, weakness
from gatewright.tls.memory import load_pair
from gatewright.tls.server import CIPHERS

#: What hstspreload.org asks for.
_PRELOAD_SECONDS: Final = 31_536_000.0


class TlsListeners:
    """Resolves the TLS of all listeners. What is read is added to ``files``: when it changes, the configuration has."""

    def __init__(self, document: Document, files: list[FilePath]) -> None:
        self._document = document
        self._files = files
        self._now = SystemClock().wall()

    def resolve(self, listener: written.Listener, path: Path) -> model.ListenerTls | None:
        """The TLS of one listener; None when it has none, or when it cannot be used, which has been reported then."""
        self._check_protocols(listener, path)
        tls = listener.tls
        if tls is None:
            return None
        place = (*path, "tls")
        self._check_versions(tls, place)
        spec = model.ListenerTls(
            certificates=(),
            min_version=tls.min_version,
            max_version=tls.max_version or "",
            ciphers=self._ciphers(tls, listener, place),
            client_auth=self._client_auth(tls.client_auth, (*place, "client_auth")),
            session_tickets=tls.session_tickets,
            handshake_timeout=tls.handshake_timeout,
            check_host=tls.check_host,
            hsts=self._hsts(tls.hsts, (*place, "hsts")),
        )
        pairs = self._pairs(tls, place)
        if len(pairs) < len(tls.certificates):
            return None
        self._find_shadowed(pairs, place)
        return msgspec.structs.replace(spec, certificates=tuple(pairs))

    def _check_protocols(self, listener: written.Listener, path: Path) -> None:
        secure = listener.tls is not None
        wrong, right = ("h2c", "h2") if secure else ("h2", "h2c")
        for index, protocol in enumerate(listener.protocols or ()):
            if protocol == wrong:
                message = f"'{wrong}' is HTTP/2 {'without' if secure else 'over'} TLS, and this listener has " + (
                    "TLS" if secure else "none"
                )
                self._document.problem("config.conflict", message, (*path, "protocols", index), hint=f"write {right}")

    def _check_versions(self, tls: written.ListenerTls, path: Path) -> None:
        if tls.max_version is not None and tls.max_version < tls.min_version:
            message = f"'max_version' is older than 'min_version' ({tls.min_version})"
            self._document.problem("config.conflict", message, (*path, "max_version"), key=True)
        if tls.max_version == "1.2":
            message = "TLS 1.3 is switched off: handshakes take longer and tell more"
            self._document.problem("lint.tls_version", message, (*path, "max_version"), severity="warning")

    # --- ciphers ------------------------------------------------------------------------------------------------------

    def _ciphers(self, tls: written.ListenerTls, listener: written.Listener, path: Path) -> tuple[str, ...]:
        if tls.ciphers is None:
            return ()
        known = known_ciphers()
        h2 = listener.protocols is None or "h2" in listener.protocols
        for index, name in enumerate(tls.ciphers):
            place = (*path, "ciphers", index)
            if name.startswith("TLS_"):
                message = f"'{name}' is a cipher of TLS 1.3, which are always on"
                self._document.problem("config.cipher", message, place, hint="leave it out")
            elif name not in known:
                hint = suggestion(name, sorted(known)) or f"the usual ones are {', '.join(CIPHERS)}"
                self._document.problem("config.cipher", f"there is no cipher '{name}' for TLS 1.2", place, hint=hint)
            elif weak := weakness(name):
                more = "; HTTP/2 clients will refuse it" if h2 else ""
                self._document.problem("lint.weak_cipher", f"'{name}' {weak}{more}", place, severity="warning")
        return tls.ciphers if set(tls.ciphers) <= known else ()

    # --- client certificates ------------------------------------------------------------------------------------------

    def _client_auth(self, auth: written.ClientAuth, path: Path) -> model.ClientAuth:
        document = self._document
        if auth.mode == "none":
            for key in ("ca", "forward"):
                if getattr(auth, key):
                    message = f"'{key}' is not used: no client certificate is asked for"
                    hint = "write mode: optional or mode: required"
                    document.problem("config.conflict", message, (*path, key), key=True, hint=hint)
            return model.ClientAuth()
        if auth.ca is None:
            hint = "ca: a PEM file with the authorities that sign your clients' certificates"
            document.problem("config.missing_key", "client certificates need 'ca'", (*path, "mode"), hint=hint)
            return model.ClientAuth()
        place = (*path, "ca")
        text = read_pem(document, self._files, auth.ca, place)
        if not text:
            return model.ClientAuth()
        try:
            chain = read_chain(text)
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=text)
        except (CertificateError, ssl.SSLError) as error:
            reason = error.reason if isinstance(error, ssl.SSLError) else str(error)
            document.problem("config.certificate", f"the authorities in {auth.ca} cannot be used: {reason}", place)
            return model.ClientAuth()
        if all(certificate.not_valid_after_utc.timestamp() < self._now for certificate in chain):
            message = f"every certificate in {auth.ca} has expired: no client will be let in by it"
            document.problem("lint.expired", message, place, severity="warning")
        return model.ClientAuth(auth.mode, text, auth.forward)

    # --- certificates -------------------------------------------------------------------------------------------------

    def _pairs(self, tls: written.ListenerTls, path: Path) -> list[model.TlsPair]:
        found = []
        for index, certificate in enumerate(tls.certificates):
            place = (*path, "certificates", index)
            cert = read_pem(self._document, self._files, certificate.cert, (*place, "cert"))
            key = read_pem(self._document, self._files, certificate.key, (*place, "key"))
            if not cert or not key:
                continue
            pair = self._pair(certificate, cert, key, place)
            if pair is not None:
                found.append(pair)
        return found

    def _pair(self, certificate: written.Certificate, cert: str, key: str, path: Path) -> model.TlsPair | None:
        """A pair that has been found good: by what it says, and by the library that will show it."""
        try:
            facts = examine(cert, key)
        except CertificateError as error:
            name = certificate.key if error.part == "key" else certificate.cert
            code = "config.key" if error.part == "key" else "config.certificate"
            message = f"{name} cannot be used: {error}"
            self._document.problem(code, message, (*path, error.part), hint=error.hint)
            return None
        pair = model.TlsPair(
            certificate.cert, cert, key, facts.names, facts.kind, facts.starts, facts.expires, facts.fingerprint
        )
        unusable = _why_unusable(cert, key)
        if unusable:
            message = f"{certificate.cert} cannot be used: {unusable}"
            self._document.problem("config.certificate", message, (*path, "cert"))
            return None
        self._lint(facts, certificate.cert, (*path, "cert"))
        return pair

    def _lint(self, facts: Facts, name: str, path: Path) -> None:
        """Warnings: it works, but clients will not be happy with it."""
        warnings = []
        if facts.expires < self._now:
            warnings.append(("lint.expired", f"the certificate in {name} has expired: clients will refuse it"))
        elif facts.starts > self._now:
            warnings.append(("lint.not_yet_valid", f"the certificate in {name} is not valid yet"))
        if not facts.chained:
            message = f"the certificates in {name} are no chain: each must have been issued by the one behind it"
            warnings.append(("lint.chain", message))
        if not facts.names:
            warnings.append(("lint.no_names", f"the certificate in {name} is for no name at all"))
        elif facts.common_name:
            message = f"the certificate in {name} lists no names (subjectAltName): clients ignore its common name"
            warnings.append(("lint.no_names", message))
        for wildcard in facts.names:
            if not good_wildcard(wildcard):
                message = (
                    f"the name {wildcard} of {name} matches nothing: * stands for one whole label, not the last but one"
                )
                warnings.append(("lint.wildcard", message))
        for code, message in warnings:
            self._document.problem(code, message, path, severity="warning")

    def _find_shadowed(self, pairs: list[model.TlsPair], path: Path) -> None:
        """A certificate none of whose names is its own is never shown."""
        taken: dict[tuple[str, str], int] = {}
        for index, pair in enumerate(pairs):
            names = [(name, pair.kind) for name in pair.names]
            others = {taken[name] for name in names if name in taken}
            if names and all(name in taken for name in names):
                where = self._document.node((*path, "certificates", min(others), "cert")).place()
                message = f"the certificate in {pair.label} is never shown: others before it have all of its names"
                self._document.problem(
                    "lint.shadowed",
                    message,
                    (*path, "certificates", index, "cert"),
                    severity="warning",
                    related=[f"the first is at {where}"],
                )
            for name in names:
                taken.setdefault(name, index)

    # --- HSTS ---------------------------------------------------------------------------------------------------------

    def _hsts(self, hsts: written.Hsts | None, path: Path) -> str:
        if hsts is None:
            return ""
        if hsts.preload and (not hsts.include_subdomains or hsts.max_age < _PRELOAD_SECONDS):
            message = "'preload' needs include_subdomains and a max_age of a year"
            self._document.problem("config.conflict", message, (*path, "preload"), key=True)
        value = f"max-age={int(hsts.max_age)}"
        if hsts.include_subdomains:
            value += "; includeSubDomains"
        return value + "; preload" if hsts.preload else value


@lru_cache(maxsize=MOST_KEPT)
def _why_unusable(cert: str, key: str) -> str:
    """What the TLS library has against a pair (a key that is too weak); empty for nothing. Half a millisecond."""
    try:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert, key)
    except ssl.SSLError as error:
        return (error.reason or str(error)).lower().replace("_", " ")
    return ""
