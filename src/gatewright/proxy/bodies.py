"""Request bodies on their way: held until there is a connection, kept while a retry may need them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatewright.errors import ProtocolError
from gatewright.http.headers import Pair
from gatewright.http.reply import Refused, Reply
from gatewright.http.status import NO_BODY
from gatewright.wire.h1 import CHUNKED, UNTIL_CLOSE

if TYPE_CHECKING:
    from gatewright.http.head import ResponseHead
    from gatewright.proxy.exchange import Exchange
    from gatewright.proxy.ports import UpstreamConnection
    from gatewright.sdk.policy import Hook

#: Bytes of one request body that are held or kept. More than this is never in memory because of us: without a
#: connection the client is paused, with one the body can no longer be sent a second time.
MOST_KEPT = 64 * 1024


class RequestBody:
    """The body of one request, from the client to the endpoint."""

    __slots__ = ("changed", "done", "framing", "kept", "paused", "size", "trailers")

    def __init__(self, framing: int) -> None:
        #: Length in bytes, or CHUNKED.
        self.framing = framing
        self.done = False
        self.trailers: tuple[Pair, ...] = ()
        #: Pieces so far; None when they are no longer all here, so that the body cannot be sent again.
        self.kept: list[bytes] | None = []
        self.size = 0
        self.paused = False
        #: Bytes that body hooks have made of it.
        self.changed = 0

    def hold(self, data: bytes) -> bool:
        """Keep a piece that cannot be sent yet. True when the client should pause."""
        if self.kept is not None and data:
            self.kept.append(data)
            self.size += len(data)
        return self.size > MOST_KEPT

    def sent(self, data: bytes) -> None:
        """A piece has been sent: keep it for another try, while that is little."""
        kept = self.kept
        if kept is not None:
            self.size += len(data)
            if self.size > MOST_KEPT:
                self.kept = None
            else:
                kept.append(data)

    def start(self, conn: UpstreamConnection, *, again: bool) -> None:
        """A connection is here: send all there is; keep it only when it may be needed ``again``."""
        for piece in self.kept or ():
            conn.send_body(piece)
        if not again or self.size > MOST_KEPT:
            self.kept = None
        if self.done:
            conn.send_end(self.trailers)


def request_framing(ex: Exchange) -> int:
    """How the request body is framed upstream: chunked when a policy has taken its length away."""
    framing = ex.body.framing  # type: ignore[union-attr]
    if framing > 0 and b"content-length" not in ex.request.headers:
        return CHUNKED
    return framing


def response_framing(ex: Exchange, response: ResponseHead, framing: int) -> int:
    """How the response body is framed when fields have been dropped: without its length it is sent in chunks."""
    if framing < 0 or response.status in NO_BODY or response.status < 200 or ex.request.method == b"HEAD":
        return framing
    return framing if b"content-length" in response.headers else UNTIL_CLOSE


def change_request(ex: Exchange, body: RequestBody, data: bytes, *, last: bool) -> bytes | None:
    """Send a piece of the request body through the hooks of the route. None: the exchange has been ended."""
    changed = _transform(ex.route.request_body_chain, ex, data, last=last)
    if changed is None:
        return None
    body.changed += len(changed)
    return _checked(ex, changed, body.changed, request_framing(ex), last=last)


def change_held(ex: Exchange, body: RequestBody) -> bool:
    """Send what came while policies were waiting through the hooks of the route. False: the exchange has been ended.

    Until now it was held as it came: no body hook is called before the request hook of its policy.
    """
    pieces, body.kept, body.size = body.kept or [], [], 0
    for piece in pieces:
        changed = change_request(ex, body, piece, last=False)
        if changed is None:
            return False
        body.hold(changed)
    if body.done:
        changed = change_request(ex, body, b"", last=True)
        if changed is None:
            return False
        body.hold(changed)
    return True


def change_response(ex: Exchange, data: bytes, *, last: bool) -> bytes | None:
    """Send a piece of the response body through the hooks of the route. None: the exchange has been ended."""
    if not ex.framing:
        return b""  # there is no body, and a hook cannot make one
    changed = _transform(ex.route.response_body_chain, ex, data, last=last)
    if changed is None:
        return None
    return _checked(ex, changed, ex.bytes_out + len(changed), ex.framing, last=last)


def _checked(ex: Exchange, data: bytes, total: int, framing: int, *, last: bool) -> bytes | None:
    """``data``, unless the head promised another length: what follows would be taken for another message."""
    if framing < 0 or (total == framing if last else total <= framing):
        return data
    detail = "A policy has changed the length of a body and left its Content-Length"
    ex.answer(Reply(500, "plugin.failed", detail=detail), 0)
    return None


def _transform(chain: tuple[Hook, ...], ex: Exchange, data: bytes, *, last: bool) -> bytes | None:
    try:
        for hook in chain:
            data = hook(ex, data, last)
    except Refused as refused:
        ex.answer(refused.reply, 0)
        return None
    except ProtocolError as error:  # from the guard around a plugin's hook
        ex.answer(Reply(error.status, error.reason, detail="A plugin failed"), 0)
        return None
    return data
