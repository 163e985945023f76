"""TLS for clients: which certificate is shown for which name, and what a connection's handshake has agreed on."""

from __future__ import annotations

import ssl
from functools import cached_property
from typing import TYPE_CHECKING, Final

from gatewright.tls.identity import ClientCertificate
from gatewright.tls.memory import load_pair

if TYPE_CHECKING:
    from gatewright.snapshot.model import ListenerTls, TlsPair

#: For TLS 1.2: forward secrecy and authenticated encryption, nothing else. All of them are good, so the client, who
#: knows what its processor is fast at, chooses. TLS 1.3 has only such.
CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
#: Seconds for which session tickets are made with the same keys: who learns them reads no more than that.
TICKET_KEYS_LAST: Final = 12 * 3600.0

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_ALPN: Final = (("h2", "h2"), ("http1", "http/1.1"))  # the first in common is agreed on
_CLIENT_AUTH: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


class Served:
    """What is shown for some names: a pair, or several whose keys are of different types."""

    __slots__ = ("_alpn", "_exact", "_spec", "_wild", "made", "pairs")

    def __init__(self, spec: ListenerTls, alpn: tuple[str, ...], pairs: tuple[TlsPair, ...]) -> None:
        self.pairs = pairs
        #: The context, if there is one already.
        self.made: ssl.SSLContext | None = None
        self._spec = spec
        self._alpn = alpn
        names = {name for pair in pairs for name in pair.names}
        self._exact = frozenset(name for name in names if not name.startswith("*."))
        self._wild = frozenset(name[2:] for name in names if name.startswith("*."))

    @property
    def context(self) -> ssl.SSLContext:
        """What shows them; made when it is first needed, for there may be thousands."""
        context = self.made
        if context is None:
            context = self.made = server_context(self._spec, self._alpn, self.pairs)
        return context

    def covers(self, host: str) -> bool:
        """Whether one of the certificates is for this name or address; a wildcard stands for one label."""
        return host in self._exact or host.partition(".")[2] in self._wild


class Session(ssl.SSLObject):
    """TLS of one client's connection."""

    #: The name that the client asked for (SNI), lower case; None when it named none.
    name: str | None = None
    tls: ServerTls
    #: What it was shown.
    served: Served

    def serves(self, host: bytes) -> bool:
        """Whether requests for ``host`` may come on this connection (RFC 9110 section 7.4); otherwise 421.

        They may for the name that the client asked for, and for all names of the certificate it was shown. A client
        that asked for no name could not be shown a better one, unless another certificate of the listener has the
        name: then it has reached us by mistake, or tries what is not meant for it.

        Args:
            host: Of the request's authority: lower case, no port, IPv6 addresses in brackets; empty for none.
        """
        wanted = host.decode("latin-1").strip("[]")
        if not wanted or wanted == self.name or not self.tls.spec.check_host:
            return True
        return self.served.covers(wanted) or (self.name is None and not self.tls.covers(wanted))

    @cached_property
    def client_certificate(self) -> ClientCertificate | None:
        """The certificate that the client has shown, checked; None when it has shown none."""
        der = self.getpeercert(binary_form=True)
        return ClientCertificate(der) if der else None

    @cached_property
    def lines(self) -> bytes:
        """Lines for the head that goes upstream, which only this connection gives."""
        if not self.tls.spec.client_auth.forward:
            return b""
        certificate = self.client_certificate
        return b"" if certificate is None else b"client-cert: %b\r\n" % certificate.header()


class ServerTls:
    """TLS of one listener. Replaced as a whole when its configuration or a certificate changes.

    All connections begin with one context, whose keys seal the session tickets; it hands over to the context of the
    name that is asked for. So a session may be resumed whatever certificate was shown, and after a certificate has
    been renewed (:meth:`succeed`).

    Args:
        spec: Of the snapshot.
        protocols: Of the listener: http1, h2.

    Raises:
        ssl.SSLError: The default certificate or the authorities cannot be used.
    """

    __slots__ = (
        "_exact",
        "_fresh_until",
        "_front",
        "_shown",
        "_wild",
        "alpn",
        "default",
        "front_shows",
        "hsts",
        "offers",
        "spec",
    )

    def __init__(self, spec: ListenerTls, protocols: tuple[str, ...]) -> None:
        self.spec = spec
        #: Protocols by ALPN, the preferred one first; and as they stand in a ClientHello.
        self.alpn = tuple(name for protocol, name in _ALPN if protocol in protocols)
        self.offers = tuple(bytes([len(name)]) + name.encode() for name in self.alpn)
        #: The value of Strict-Transport-Security; empty for none.
        self.hsts = spec.hsts.encode()
        self._exact: dict[str, Served] = {}
        self._wild: dict[str, Served] = {}
        self.default = self._sort()
        #: What the first context shows by itself; None when that is nothing that is in use any more.
        self.front_shows: Served | None = None
        self._shown: tuple[TlsPair, ...] = ()
        self._front = self._open()
        self._fresh_until = 0.0

    def _sort(self) -> Served:
        """Find out what is shown for which name. Returns what is shown for all others."""
        by_name: dict[str, dict[str, TlsPair]] = {}
        for pair in self.spec.certificates:
            for name in pair.names:
                by_name.setdefault(name, {}).setdefault(pair.kind, pair)
        made: dict[tuple[str, ...], Served] = {}
        for name, pairs in by_name.items():
            served = self._served(tuple(pairs.values()), made)
            if name.startswith("*."):
                self._wild[name[2:]] = served
            else:
                self._exact[name] = served
        first = self.spec.certificates[0]
        same = {first.kind: first}
        for pair in self.spec.certificates:
            if set(pair.names) == set(first.names):
                same.setdefault(pair.kind, pair)
        return self._served(tuple(same.values()), made)

    def _served(self, pairs: tuple[TlsPair, ...], made: dict[tuple[str, ...], Served]) -> Served:
        key = tuple(sorted(pair.fingerprint + pair.label for pair in pairs))
        served = made.get(key)
        if served is None:
            served = made[key] = Served(self.spec, self.alpn, pairs)
        return served

    def _open(self) -> ssl.SSLContext:
        """A context to begin connections with, with ticket keys of its own."""
        self.front_shows, self._shown = self.default, self.default.pairs
        context = server_context(self.spec, self.alpn, self._shown)
        context.sni_callback = _on_name  # type: ignore[assignment]  # typeshed does not know sslobject_class
        return context

    # --- connections --------------------------------------------------------------------------------------------------

    def begin(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, now: float) -> Session:
        """TLS for a new connection; ``now`` is the monotonic clock."""
        if now >= self._fresh_until:
            if self._fresh_until:
                self._front = self._open()
            self._fresh_until = now + TICKET_KEYS_LAST
        session = self._front.wrap_bio(incoming, outgoing, server_side=True)
        session.tls = self  # type: ignore[attr-defined]  # it is of sslobject_class
        session.served = self.default  # type: ignore[attr-defined]
        return session  # type: ignore[return-value]

    def served(self, name: str) -> Served:
        """What is shown to a client that asks for ``name``."""
        return self._exact.get(name) or self._wild.get(name.partition(".")[2]) or self.default

    def covers(self, host: str) -> bool:
        """Whether any certificate is for this name."""
        return host in self._exact or host.partition(".")[2] in self._wild

    # --- change -------------------------------------------------------------------------------------------------------

    def reuse(self, before: ServerTls) -> None:
        """Take over the contexts of those pairs that have not changed: making one takes half a millisecond."""
        if self.manner != before.manner:
            return
        known = {served.pairs: served.made for served in before.all_served}
        for served in self.all_served:
            served.made = known.get(served.pairs)

    def succeed(self, before: ServerTls) -> None:
        """Serve in the place of ``before`` from the next connection on, with the same ticket keys where they fit."""
        if self is before or self.manner != before.manner:
            return
        self._front, self._fresh_until, self._shown = before._front, before._fresh_until, before._shown
        self.front_shows = self.default if self._shown == self.default.pairs else None

    @property
    def all_served(self) -> set[Served]:
        """All that is ever shown."""
        return {*self._exact.values(), *self._wild.values(), self.default}

    @property
    def manner(self) -> tuple[object, ...]:
        """All but the certificates and what concerns requests only: two with the same can share contexts."""
        spec = self.spec
        auth = spec.client_auth
        return spec.min_version, spec.max_version, spec.ciphers, spec.session_tickets, auth.mode, auth.ca, self.alpn


def _on_name(session: Session, name: str | None, _context: ssl.SSLContext) -> None:
    """The client has named whom it wants, or nobody. Called in the middle of the handshake."""
    tls = session.tls
    if name is not None:
        session.name = name.lower().removesuffix(".")
        session.served = tls.served(session.name)
    if session.served is not tls.front_shows:
        session.context = session.served.context


def server_context(spec: ListenerTls, alpn: tuple[str, ...], pairs: tuple[TlsPair, ...]) -> ssl.SSLContext:
    """A context that shows ``pairs``.

    Raises:
        ssl.SSLError: The pairs, the ciphers or the authorities cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = Session
    context.minimum_version = _VERSIONS[spec.min_version]
    if spec.max_version:
        context.maximum_version = _VERSIONS[spec.max_version]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if spec.ciphers:
        context.set_ciphers(":".join(spec.ciphers))  # in the order that somebody has thought about
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.set_ciphers(":".join(CIPHERS))
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if not spec.session_tickets:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    context.set_alpn_protocols(list(alpn))
    auth = spec.client_auth
    if auth.mode != "none":
        context.load_verify_locations(cadata=auth.ca)
        context.verify_mode = _CLIENT_AUTH[auth.mode]
        # What the file holds is trusted, be it an intermediate authority or the client's own certificate.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for pair in pairs:
        load_pair(context, pair.cert, pair.key)
    return context
