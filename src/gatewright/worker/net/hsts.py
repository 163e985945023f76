"""Strict-Transport-Security on every response of a listener (RFC 6797).

In classes of their own: connections of listeners that do not send it know nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatewright.worker.net.h1_server import H1Server
from gatewright.worker.net.h2_server import H2Server
from gatewright.worker.net.h2_stream import H2Stream

if TYPE_CHECKING:
    from gatewright.http.head import ResponseHead
    from gatewright.http.headers import Pair
    from gatewright.tls.server import Session

_NAME = b"strict-transport-security"


def server_for(session: Session, *, h2: bool) -> type[H1Server | H2Server]:
    """What serves a connection that has agreed on ``session``."""
    if session.tls.hsts:
        return StrictH2Server if h2 else StrictH1Server
    return H2Server if h2 else H1Server


def _add(response: ResponseHead, value: bytes) -> None:
    headers = response.headers
    if _NAME not in headers:
        headers.added.append((_NAME, value))


class StrictH1Server(H1Server):
    """HTTP/1.x."""

    __slots__ = ()

    def send_head(self, response: ResponseHead, framing: int) -> None:
        """Begin the final response. Hot."""
        _add(response, self.tls.tls.hsts)  # type: ignore[union-attr]
        H1Server.send_head(self, response, framing)

    def own_lines(self) -> bytes:
        """For requests that could not be understood."""
        return b"%b: %b\r\n" % (_NAME, self.tls.tls.hsts)  # type: ignore[union-attr]


class StrictH2Stream(H2Stream):
    """A stream of HTTP/2."""

    __slots__ = ()

    def send_head(self, response: ResponseHead, framing: int) -> None:
        """Begin the final response. Hot."""
        _add(response, self.conn.tls.tls.hsts)  # type: ignore[union-attr]
        H2Stream.send_head(self, response, framing)

    def own_pairs(self) -> tuple[Pair, ...]:
        """For requests that could not be understood."""
        return ((_NAME, self.conn.tls.tls.hsts),)  # type: ignore[union-attr]


class StrictH2Server(H2Server):
    """HTTP/2."""

    __slots__ = ()
    stream_type = StrictH2Stream
