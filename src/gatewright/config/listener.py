"""Listeners: where requests come in, and how much of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gatewright.config.base import Bind, Count, Model, Name, PathText, Positive, TlsVersion
from gatewright.sdk.types import Cidr, Duration, Size


class Limits(Model):
    """What a listener lets in. All are on by default."""

    connections: Count = 20_000
    """Open connections; more are closed at once."""
    header_bytes: Size = 64 * 1024
    """Bytes of a whole header section; more is answered with 431."""
    headers: Annotated[int, Field(ge=1, le=10_000)] = 128
    """Header fields of a request; more is answered with 431."""
    target_bytes: Size = 8 * 1024
    """Bytes of a request target; more is answered with 414."""
    body: Size = 64 * 1024 * 1024
    """Bytes of a request body; more is answered with 413. Routes may say otherwise."""
    header_timeout: Positive = 10.0
    """How long a client may take to send a header section."""
    body_timeout: Positive = 30.0
    """How long a client may send nothing of a body."""
    idle_timeout: Positive = 75.0
    """How long a connection is kept open between requests."""
    requests: Count = 10_000
    """Requests on one connection, after which it is closed."""
    streams: Annotated[int, Field(ge=1, le=10_000)] = 128
    """Concurrent streams of an HTTP/2 connection."""
    resets: Count = 100
    """Streams of an HTTP/2 connection that may be reset within a second of their request, refilled in five seconds."""
    control_frames: Count = 200
    """HTTP/2 frames that do nothing (pings, settings, empty data) beyond those that do, refilled in five seconds."""


class Certificate(Model):
    """A certificate chain and its key, as PEM files."""

    cert: PathText
    """File with the certificate and its chain; relative to this file."""
    key: PathText
    """File with the private key; relative to this file."""


class ClientAuth(Model):
    """Client certificates."""

    mode: Literal["none", "optional", "required"] = "none"
    """Whether a client certificate is asked for. A wrong one is refused in either mode, in the handshake."""
    ca: PathText | None = None
    """File with the certificates that client certificates are checked against; relative to this file."""
    forward: bool = False
    """Tell upstreams of the client's certificate, in the header field Client-Cert (RFC 9440)."""


class Hsts(Model):
    """Strict-Transport-Security: browsers come back over TLS only."""

    max_age: Duration = 365 * 86_400.0
    """For how long browsers remember it."""
    include_subdomains: bool = False
    """Whether it holds for the names below this one, too."""
    preload: bool = False
    """Agree to be built into browsers (hstspreload.org). Hard to take back."""


class ListenerTls(Model):
    """TLS termination."""

    certificates: Annotated[tuple[Certificate, ...], Field(min_length=1)]
    """Picked by the name the client asks for (SNI); the first is the default."""
    min_version: TlsVersion = "1.2"
    """The oldest version of TLS that is spoken."""
    max_version: TlsVersion | None = None
    """The newest version of TLS that is spoken; default all."""
    ciphers: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Cipher suites of TLS 1.2 by their OpenSSL names, the preferred one first. Default ECDHE with AES-GCM or
    ChaCha20, of which the client chooses. Those of TLS 1.3 are not configurable, and all good."""
    client_auth: ClientAuth = ClientAuth()
    """Client certificates (mTLS)."""
    session_tickets: bool = True
    """Let clients resume their sessions by tickets: later handshakes cost less."""
    handshake_timeout: Positive = 10.0
    """How long a client may take for the handshake."""
    check_host: bool = True
    """Answer 421 to requests for another name than the client asked for (SNI) that the certificate it was given does
    not cover either. A proxy in front that always asks for one name needs false."""
    hsts: Hsts | None = None
    """Send Strict-Transport-Security with every response that has none."""


class Listener(Model):
    """An address to listen on."""

    name: Name
    """Name of the listener, in routes, metrics and logs."""
    bind: Bind
    """Address to listen on."""
    protocols: Annotated[tuple[Literal["http1", "h2c", "h2"], ...], Field(min_length=1)] | None = None
    """Protocols spoken, detected per connection: http1, h2c (HTTP/2 without TLS), h2 (HTTP/2 over TLS). Default all
    that the port can speak."""
    trusted_proxies: tuple[Cidr, ...] = ()
    """Addresses whose X-Forwarded-* and Forwarded header fields are believed."""
    proxy_protocol: bool = False
    """Expect a PROXY protocol header (version 1 or 2) at the start of each connection. With trusted_proxies, only they
    may connect; without, whoever connects is believed."""
    limits: Limits = Limits()
    """What is let in."""
    tls: ListenerTls | None = None
    """TLS termination."""
