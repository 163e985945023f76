"""Rules about HTTP/1.x requests that need no connection: pure functions of what stands in a head."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from gatewright.errors import ProtocolError
from gatewright.http.head import HTTP11
from gatewright.http.headers import Pair
from gatewright.http.target import parse_authority
from gatewright.wire.h1 import CHUNKED, RequestFields

if TYPE_CHECKING:
    from gatewright.proxy.exchange import Exchange


class Nobody:
    """Takes a request body whose exchange is over."""

    __slots__ = ()
    conn = None

    def on_request_body(self, data: bytes) -> None:
        """Thrown away; it is bounded, for it was in hand when the answer was made."""

    def on_request_end(self, trailers: tuple[Pair, ...]) -> None:
        """Nothing to do."""


#: Stands for an exchange that is over.
NOBODY = cast("Exchange", Nobody())


def kept_by_http10(version: int, fields: RequestFields) -> bool:
    """Whether an HTTP/1.0 client wants its connection kept. Raises ProtocolError for what HTTP/1.0 has not."""
    if version == HTTP11:
        raise ProtocolError("request.host", 400, "an HTTP/1.1 request needs a Host")
    if fields.framing == CHUNKED:
        raise ProtocolError("request.ambiguous", 400, "Transfer-Encoding in an HTTP/1.0 request")
    return b"keep-alive" in fields.connection


def too_long(line: bytes, most: int) -> ProtocolError:
    """414 when it is the target that is long; a method as long as that is malformed."""
    space = line.find(b" ", 0, 64)
    if space < 0:
        return ProtocolError("request.malformed", 400, "the request line is malformed")
    return ProtocolError("request.target_too_long", 414, f"more than {most} bytes")


def same_authority(authority: bytes, host: bytes | None) -> bytes:
    """The absolute form names the host; a Host that says something else is a trap (RFC 9112 section 3.2.2)."""
    if host is not None and host.lower() != authority.lower():
        raise ProtocolError("request.ambiguous", 400, "Host differs from the request target")
    return parse_authority(authority)
