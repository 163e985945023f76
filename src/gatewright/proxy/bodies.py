"""Request bodies on their way: held until there is a connection, kept while a retry may need them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatewright.errors import ProtocolError
from gatewright.http.headers import Pair
from gatewright.http.reply import Reply

if TYPE_CHECKING:
    from gatewright.proxy.exchange import Exchange
    from gatewright.proxy.ports import UpstreamConnection
    from gatewright.sdk.policy import Hook

#: Bytes of one request body that are held or kept. More than this is never in memory because of us: without a
#: connection the client is paused, with one the body can no longer be sent a second time.
MOST_KEPT = 64 * 1024


class RequestBody:
    """The body of one request, from the client to the endpoint."""

    __slots__ = ("done", "framing", "kept", "paused", "size", "trailers")

    def __init__(self, framing: int) -> None:
        #: Length in bytes, or CHUNKED.
        self.framing = framing
        self.done = False
        self.trailers: tuple[Pair, ...] = ()
        #: Pieces so far; None when they are no longer all here, so that the body cannot be sent again.
        self.kept: list[bytes] | None = []
        self.size = 0
        self.paused = False

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


def transform(chain: tuple[Hook, ...], ex: Exchange, data: bytes, *, last: bool) -> bytes | None:
    """Send a piece through the body hooks of a route. None: a hook has failed, and the exchange has been ended."""
    try:
        for hook in chain:
            data = hook(ex, data, last)
    except ProtocolError as error:  # from the guard around a plugin's hook
        ex.answer(Reply(error.status, error.reason, detail="A plugin failed"), 0)
        return None
    return data
