"""TLS towards endpoints: contexts, the names that certificates must have, resumed sessions, and failures in words.

Python gives no place to name the session to resume when a loop opens a connection. The loops make the TLS object by
:meth:`ssl.SSLContext.wrap_bio`, though, so a context that overrides it can offer the session it remembers.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
import weakref
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gatewright.clock import Clock, SystemClock
from gatewright.tls.memory import load_pair

if TYPE_CHECKING:
    from gatewright.snapshot.model import Endpoint, UpstreamTls

#: Most names of which a context remembers a session.
MOST_SESSIONS: Final = 1_000
#: Seconds until another session of a name is taken, doubled each time that one was of no use. Reading a session costs
#: memory for ever, 6 KB, in versions of Python without the correction of October 2024 (python/cpython#116810).
_CORRECTED: Final = sys.version_info >= (3, 13, 1) or (3, 12, 8) <= sys.version_info < (3, 13)
PAUSE: Final = 1.0 if _CORRECTED else 3_600.0
LONGEST_PAUSE: Final = 86_400.0
_SETTLED: Final = 1.0  # seconds after which an open connection has its tickets

_ALPN: Final = {"http1": "http/1.1", "h2": "h2", "grpc": "h2"}
#: Name of a certificate in an indexed directory (``openssl rehash``).
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.[0-9]+")
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

#: Codes of OpenSSL's verification (X509_V_ERR_…) → cause; all others are ``certificate``.
_CAUSES: Final = {
    **dict.fromkeys((2, 18, 19, 20, 21, 27), "untrusted"),
    **dict.fromkeys((9, 10), "expired"),
    **dict.fromkeys((62, 63, 64), "name"),
}


class TlsFailure(Exception):
    """A connection could not be made secure.

    Attributes:
        cause: One of untrusted, expired, name, certificate, refused, protocol, alpn, closed, timeout: for metrics.
        detail: A sentence for the operator. Never for clients.
    """

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


class _Resuming(ssl.SSLObject):
    """A TLS connection that leaves its session behind when it ends in order."""

    def unwrap(self) -> None:
        context = self.context
        if isinstance(context, ClientContext):
            context.keep(self)
        super().unwrap()


class _Kept(NamedTuple):
    """A session to resume (None: the endpoint gives none), and when to ask for another one at the earliest."""

    session: ssl.SSLSession | None
    again_at: float
    pause: float


class ClientContext(ssl.SSLContext):
    """The settings of one upstream, shared by its endpoints. Remembers a session for each name."""

    sslobject_class = _Resuming

    def __init__(self, _protocol: int) -> None:
        #: What must be agreed on, or empty when nothing need be.
        self.required_alpn = ""
        self.clock: Clock = SystemClock()
        self._retired = False
        self._sessions: dict[str, _Kept] = {}

    def keep(self, connection: ssl.SSLObject) -> None:
        """Remember the session of an open connection for the next ones to the same name.

        One that was accepted stays; another is taken when it no longer is.
        """
        name = connection.server_hostname
        if name is None or self._retired:
            return
        known = self._sessions.get(name)
        if connection.session_reused:
            if known is not None and known.pause > PAUSE:
                self._sessions[name] = known._replace(pause=PAUSE)
            return
        now = self.clock.monotonic()
        if known is not None and now < known.again_at:
            return
        session = connection.session
        pause = PAUSE if known is None else min(known.pause * 2, LONGEST_PAUSE)
        if len(self._sessions) >= MOST_SESSIONS:
            self._sessions.clear()
        useful = session is not None and session.has_ticket
        self._sessions[name] = _Kept(session if useful else None, now + pause, pause)

    def retire(self) -> None:
        """Remember nothing any more: no configuration has this context.

        Sessions point to their context, and workers keep such circles out of the garbage collector's sight.
        """
        self._retired = True
        self._sessions.clear()

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin a connection, with the session of the one before where there is one."""
        if session is None and isinstance(server_hostname, str):
            known = self._sessions.get(server_hostname)
            session = known.session if known is not None else None
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def client_context(spec: UpstreamTls, protocol: str) -> ClientContext:
    """The context for an upstream that speaks ``protocol`` (http1, h2 or grpc).

    What it takes of ``spec`` is what :func:`settings_of` gives: make one, and use it for as long as that is the same.

    Raises:
        ssl.SSLError: The authorities or the pair cannot be used.
    """
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[spec.min_version]
    context.options |= ssl.OP_NO_RENEGOTIATION
    alpn = _ALPN[protocol]
    context.set_alpn_protocols([alpn])
    # An HTTP/1.1 endpoint may know nothing of ALPN; HTTP/2 must have been agreed on (RFC 9113 section 3.2).
    context.required_alpn = alpn if alpn == "h2" else ""
    if not spec.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif spec.ca:
        context.load_verify_locations(cadata=spec.ca)
        # What the file holds is trusted, be it an intermediate authority or the endpoint's own certificate.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    else:
        _trust_system(context)
    if spec.cert:
        load_pair(context, spec.cert, spec.key)
    return context


def _trust_system(context: ssl.SSLContext) -> None:
    """Trust whom the system trusts.

    Where there is a directory with an index of hashes (Debian, Fedora, SUSE), authorities are looked up there when they
    are needed. Reading all of them takes 50 ms and 1 MB of every worker.
    """
    paths = ssl.get_default_verify_paths()
    chosen = paths.openssl_cafile_env in os.environ
    if paths.capath and not chosen and any(_HASHED.fullmatch(name) for name in os.listdir(paths.capath)):  # noqa: PTH208
        context.load_verify_locations(capath=paths.capath)
    else:
        context.load_default_certs()


def settings_of(spec: UpstreamTls, protocol: str) -> tuple[object, ...]:
    """All that a context is made of: two upstreams that have the same share one."""
    return spec.ca, spec.cert, spec.key, spec.verify, spec.min_version, _ALPN[protocol]


def name_of(spec: UpstreamTls, endpoint: Endpoint) -> str:
    """The name that the endpoint's certificate must have: a host name or a literal address.

    A host name is also what is asked for (SNI); for an address nothing is (RFC 6066 section 3).
    """
    if spec.server_name:
        return spec.server_name
    written = endpoint.name
    if written.startswith("["):
        return written[1 : written.index("]")]
    return written.partition(":")[0] or endpoint.host


def shown(spec: UpstreamTls | None, endpoint: Endpoint) -> str:
    """For people: ``verified as orders.internal``, ``not verified``, or nothing for a plain connection."""
    if spec is None or endpoint.scheme != "https":
        return ""
    return f"verified as {name_of(spec, endpoint)}" if spec.verify else "not verified"


class ClientTls:
    """TLS towards one endpoint: what its pool's connections are opened with."""

    __slots__ = ("_newest", "_since", "context", "name", "noted_at", "upstream")

    def __init__(self, context: ClientContext, name: str, upstream: str) -> None:
        self.context = context
        #: Of the endpoint: asked for, and checked against the certificate.
        self.name = name
        #: Name of the upstream, for reports.
        self.upstream = upstream
        #: When a failure was last reported, monotonic seconds.
        self.noted_at = float("-inf")
        #: The newest connection, whose session the next one may resume.
        self._newest: weakref.ref[ssl.SSLObject] | None = None
        self._since = 0.0

    def same(self, other: object) -> bool:
        """Whether connections made with ``other`` are as good as those made with this."""
        return isinstance(other, ClientTls) and (self.context, self.name) == (other.context, other.name)

    def begin(self) -> ssl.SSLContext:
        """The context for a new connection. What has come of the newest one's session by now is used for it."""
        newest = self._newest() if self._newest is not None else None
        # In TLS 1.3 tickets come after the handshake, most often with the first answer.
        if newest is not None and self.context.clock.monotonic() - self._since >= _SETTLED:
            self.context.keep(newest)
        return self.context

    def begun(self, connection: Any) -> None:
        """The handshake of a connection (its ``ssl_object``) is complete.

        Raises:
            TlsFailure: It did not agree on the protocol that the upstream is to speak.
        """
        required = self.context.required_alpn
        if required and connection.selected_alpn_protocol() != required:
            raise TlsFailure("alpn", f"the endpoint has not agreed to speak {required} (ALPN)")
        self._newest = weakref.ref(connection)
        self._since = self.context.clock.monotonic()


def failure_of(error: BaseException) -> TlsFailure | None:
    """What an exception of a TLS connection says; None when it is not about TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        cause = _CAUSES.get(error.verify_code, "certificate")
        return TlsFailure(cause, f"its certificate is not accepted: {error.verify_message.rstrip('.')}")
    if not isinstance(error, ssl.SSLError):
        return None
    reason = error.reason or ""
    words = reason.lower().replace("_", " ")
    _, alert, said = words.partition(" alert ")
    if alert:
        return TlsFailure("refused", f"the endpoint has refused the connection: {said}")
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE", "BAD_RECORD_TYPE"}:
        return TlsFailure("protocol", f"what the endpoint has sent is not TLS: {words}")
    return TlsFailure("protocol", f"the handshake has failed: {words or error.strerror or 'no reason given'}")
