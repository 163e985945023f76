"""TLS on a client's connection: between the socket and what speaks HTTP, which takes it for its transport.

uvloop has TLS of its own, which we do not use for clients: it sends no alert when a handshake fails, does not say why
it has failed, and spends more on a handshake (docs/internals/tls.md has the figures).
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, Final, cast

from gatewright.http.status import STATUS_LINE
from gatewright.proxy.families import TLS_HANDSHAKES, TLS_REFUSED
from gatewright.proxy.respond import problem
from gatewright.reasons import REASONS
from gatewright.tls.hello import HANDSHAKE, NO_APPLICATION_PROTOCOL, is_http, offered_protocols

if TYPE_CHECKING:
    from gatewright.tls.server import ServerTls, Session
    from gatewright.worker.net.h1_server import H1Server
    from gatewright.worker.net.h2_server import H2Server
    from gatewright.worker.net.listener import Listener
    from gatewright.worker.world import World

#: Most octets of content that a record holds (RFC 8446 section 5.1): what one read gives at most.
_RECORD: Final = 16_384
_PLAIN: Final = "request.plain_http"

#: Why a handshake has failed: OpenSSL's word for it → ours, which are few.
_REASONS: Final = {
    "UNSUPPORTED_PROTOCOL": "version",
    "NO_PROTOCOLS_AVAILABLE": "version",
    "VERSION_TOO_LOW": "version",
    "INAPPROPRIATE_FALLBACK": "version",
    "NO_SHARED_CIPHER": "cipher",
    "NO_SHARED_GROUP": "cipher",
    "NO_SUITABLE_KEY_SHARE": "cipher",
    "NO_SHARED_SIGNATURE_ALGORITHMS": "cipher",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "cipher",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "client_certificate_missing",
}


class TlsServer(asyncio.Transport, asyncio.Protocol):
    """The TLS of one connection: protocol of its socket, and transport of what speaks HTTP on it."""

    __slots__ = (
        "_begun", "_deaf", "_ended", "_incoming", "_into", "_out", "_over", "_paused", "_peername", "_read", "_whole",
        "_write", "app", "deadline", "listener", "peer", "session", "tcp", "wheel_at", "world",
    )  # fmt: skip

    def __init__(self, world: World, listener: Listener) -> None:
        self.world = world
        self.listener = listener
        self.tcp: asyncio.Transport = None  # type: ignore[assignment]
        #: Address of the client; what read a PROXY header sets it.
        self.peer = ""
        self._peername: Any = None
        self.session: Session = None  # type: ignore[assignment]
        self._begun = False
        #: What speaks HTTP here; None until the handshake is complete, and when the connection is gone.
        self.app: H1Server | H2Server | None = None
        self.deadline = 0.0
        self.wheel_at = 0
        #: The application wants nothing for now. Nothing more is sent. Nothing more comes. What comes is not read.
        self._paused = False
        self._over = False
        self._ended = False
        self._deaf = False
        #: All that came before has been handed on: no part of a record waits for the rest of it.
        self._whole = False

    # --- the socket's protocol ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self.tcp = tcp = cast("asyncio.Transport", transport)
        self._peername = peername = transport.get_extra_info("peername")
        self.peer = peername[0] if isinstance(peername, tuple) else ""
        listener = self.listener
        if not listener.opened(self):
            self._fail("too_many")
            tcp.abort()
            return
        self.deadline = self.world.now + listener.runtime.tls.spec.handshake_timeout  # type: ignore[union-attr]
        self.world.watch(self)

    def data_received(self, data: bytes) -> None:
        """Octets from the socket. Hot."""
        if self.app is None:
            self._shake(data)
        elif not self._deaf:
            self._into(data)
            if not self._paused:
                self._deliver(len(data) if self._whole else _RECORD)
            else:
                self._whole = False

    def _deliver(self, most: int) -> None:
        """Decrypt what is here, and hand it on in one piece. Hot.

        ``most`` is what one record here may hold. A record is smaller decrypted: one that came whole, as nearly all do,
        needs no more room than its octets, and making room for the largest each time costs as much as decrypting.
        """
        try:
            data = self._read(most)
        except ssl.SSLError as error:
            self._whole = False
            return self._cannot_read(error)
        if data and not self._incoming.pending:
            self._whole = True
            self.app.data_received(data)  # type: ignore[union-attr]
            return None
        self._whole = False
        pieces = []
        failed: ssl.SSLError | None = None
        try:
            while data:
                pieces.append(data)
                data = self._read(_RECORD)
        except ssl.SSLError as error:
            failed = error
        if pieces:
            self.app.data_received(b"".join(pieces))  # type: ignore[union-attr]
        if failed is None:
            self._on_goodbye()
        else:
            self._cannot_read(failed)
        return None

    def _cannot_read(self, error: ssl.SSLError) -> None:
        """There is nothing more to decrypt, or it is not what TLS allows."""
        self._flush()  # an alert, or an answer of the library's own
        if not isinstance(error, ssl.SSLWantReadError):
            self._deaf = True
            if not self._over:
                self._over = True
                self.tcp.close()

    def _on_goodbye(self) -> None:
        """The client will send no more (close_notify, RFC 8446 section 6.1). It may still wait for its answer."""
        if not self._ended and self.app is not None:
            self._ended = True
            if not self.app.eof_received():
                self.close()

    def eof_received(self) -> bool:
        """The client has closed its side of the connection, with a goodbye before it or without."""
        app = self.app
        if app is None:
            return False
        if not self._ended:
            self._ended = True
            return app.eof_received()
        return not self.tcp.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whoever's doing."""
        self.world.unwatch(self)
        app, self.app = self.app, None
        self._deaf = True
        if app is not None:
            app.connection_lost(exc)
            return
        self.listener.closed(self)
        self._fail("closed")

    def pause_writing(self) -> None:
        """The client reads slowly."""
        if self.app is not None:
            self.app.pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self.app is not None:
            self.app.resume_writing()

    # --- handshake ----------------------------------------------------------------------------------------------------

    def _shake(self, data: bytes) -> None:
        """A piece of the handshake."""
        if self._over or (not self._begun and not self._begin(data)):
            return
        self._incoming.write(data)
        try:
            self.session.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except OSError as error:  # as all errors of TLS are
            self._flush()
            self._fail(_reason(error))
            self.tcp.close()
        else:
            self._flush()
            self._established()

    def _begin(self, data: bytes) -> bool:
        """Look at the first octets: whether they can begin anything that is spoken here."""
        if data[0] != HANDSHAKE:
            self._refuse_plain(data)
            return False
        tls = cast("ServerTls", self.listener.runtime.tls)
        if not any(map(data.__contains__, tls.offers)):
            offered = offered_protocols(data)
            if offered is not None:
                self._fail("no_application_protocol")
                self.tcp.write(NO_APPLICATION_PROTOCOL)
                self.tcp.close()
                return False
        self._incoming = ssl.MemoryBIO()
        outgoing = ssl.MemoryBIO()
        self._into, self._out = self._incoming.write, outgoing.read
        self._begun = True
        self.session = tls.begin(self._incoming, outgoing, self.world.now)
        return True

    def _refuse_plain(self, data: bytes) -> None:
        """Whoever speaks HTTP without TLS is told what is wrong; all else is just closed."""
        tcp = self.tcp
        if is_http(data):
            self._fail("http")
            status, title = REASONS[_PLAIN]
            body = problem(status, _PLAIN, title, b"")
            tcp.write(
                b"%bcontent-type: application/problem+json\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n%b"
                % (STATUS_LINE[status], len(body), self.world.date_line, body)
            )
        else:
            self._fail("not_tls")
        tcp.close()

    def _established(self) -> None:
        """Let what has been agreed on have the connection."""
        world, session, listener = self.world, self.session, self.listener
        self._read, self._write = session.read, session.write
        world.unwatch(self)
        resumed = "yes" if session.session_reused else "no"
        world.stats.count(TLS_HANDSHAKES, listener.name, session.version() or "", resumed)
        self.app = app = listener.secured(self)
        app.connection_made(self)
        app.peer = self.peer
        if self._incoming.pending:
            self._deliver(_RECORD)

    def _fail(self, reason: str) -> None:
        """There will be no connection. Counted once."""
        if not self._over:
            self._over = True
            self.world.stats.count(TLS_REFUSED, self.listener.name, reason)

    # --- what a listener asks of its connections, as long as the handshake lasts --------------------------------------

    def drain(self, *, new_too: bool) -> None:
        """Serve no further request: its first one is still to come."""
        if new_too:
            self.give_up()

    def give_up(self) -> None:
        """The time for ending in order is over."""
        self._fail("draining")
        self.tcp.abort()

    def in_flight(self) -> int:
        """No request has come yet."""
        return 0

    def on_deadline(self, now: float) -> None:
        """The handshake takes too long."""
        self._fail("timeout")
        self.tcp.abort()

    # --- the application's transport ----------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send. Hot."""
        if self._over or not data:
            return
        try:
            self._write(data)
        except ssl.SSLError:  # the connection cannot be used any more; whoever reads it learns so
            self.abort()
            return
        self.tcp.write(self._out())

    def _flush(self) -> None:
        """Send what the library has to say: handshake, alerts, answers to changes of keys."""
        data = self._out()
        if data:
            self.tcp.write(data)

    def _say_goodbye(self) -> None:
        """Tell the client that this was all (close_notify). Nothing can be written afterwards."""
        if self._over:
            return
        self._over = True
        try:
            self.session.unwrap()
        except ssl.SSLError:  # the client has not said goodbye yet: nobody waits for that
            pass
        self._flush()

    def close(self) -> None:
        """Close after what has been written."""
        self._say_goodbye()
        self.tcp.close()

    def abort(self) -> None:
        """Close at once: whoever still reads notices that it was not the regular end."""
        self._over = True
        self.tcp.abort()

    def can_write_eof(self) -> bool:
        """Whether only our side can be closed."""
        return self.tcp.can_write_eof()

    def write_eof(self) -> None:
        """Close our side."""
        self._say_goodbye()
        self.tcp.write_eof()

    def is_closing(self) -> bool:
        """Whether the connection is being closed, or is."""
        return self.tcp.is_closing()

    def pause_reading(self) -> None:
        """Hand nothing on for now."""
        self._paused = True
        self.tcp.pause_reading()

    def resume_reading(self) -> None:
        """Go on handing on."""
        self._paused = False
        self.tcp.resume_reading()
        if self._incoming.pending or self.session.pending():
            self.world.soon(self._read_on)

    def _read_on(self) -> None:
        """What had come before reading was paused."""
        if self.app is not None and not self._paused and not self._deaf:
            self._deliver(_RECORD)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When the application is told that the client reads slowly."""
        self.tcp.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """About the socket; ``ssl_object`` about TLS."""
        if name == "peername":
            return self._peername  # to ask the system again would cost as much as a request does
        return self.session if name == "ssl_object" else self.tcp.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another one have the connection from now on."""
        self.app = cast("H1Server | H2Server", protocol)


# cold: for handshakes that fail
def _reason(error: OSError) -> str:
    """The label of a failure. There are few, whatever clients send."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "client_certificate"
    said = getattr(error, "reason", None) or ""
    return "alert" if "_ALERT_" in said else _REASONS.get(said, "protocol")
