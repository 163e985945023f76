"""Comments between server-sent events, so that nobody on the way takes silence for the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatewright.proxy.exchange import Exchange

#: The end of an event, as it stands in a body and at the end of a chunk.
_EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"\n\n\r\n")


class Heartbeat:
    """Of one stream of events. ``every`` is how long it may be silent, in seconds."""

    __slots__ = ("_heard_at", "_tail", "every")

    def __init__(self, every: float, now: float) -> None:
        self.every = every
        self._heard_at = now
        self._tail = b""

    def heard(self, data: bytes, now: float) -> None:
        """The endpoint has sent something."""
        self._heard_at = now
        self._tail = (self._tail + data[-4:])[-4:]

    def beat(self, exchange: Exchange, now: float) -> bool:
        """Send a comment, between two events only. False: the endpoint has been silent for too long."""
        if now - self._heard_at >= exchange.timeouts.idle:
            return False
        if not self._tail or self._tail.endswith(_EVENT_ENDS):
            exchange.on_response_body(b":\n\n")
            exchange.client.flush()
        return True


def heartbeat_of(exchange: Exchange, now: float) -> Heartbeat | None:
    """The heartbeat that the route of a stream of events has, when it is quicker than the endpoint's time limit."""
    every = exchange.route.sse_heartbeat
    if every is None or every >= exchange.timeouts.idle:
        return None
    return Heartbeat(every, now)
