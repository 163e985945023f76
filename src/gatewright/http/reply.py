"""An answer made by the gateway itself."""

from __future__ import annotations

from gatewright.errors import GatewrightError
from gatewright.http.headers import VALUE_OCTETS, Pair, check_field


class Reply:
    """Answer now, with this. Immutable by convention: policies make theirs once and return it many times.

    Args:
        status: 200 to 599.
        reason: Stable code, ``<policy>.<code>``; stands in the body, the access log and the metrics.
        headers: Fields to add to the answer; names in lower case.
        body: Bytes to send as they are. None makes an RFC 9457 problem document (or ``grpc-status``).
        content_type: Of ``body``.
        detail: One sentence for the problem document; must hold nothing secret.

    Raises:
        ValueError: for another status, and for a field that may not stand in a header section or frames the message:
            no policy can split a response.
    """

    __slots__ = ("body", "content_type", "detail", "headers", "reason", "status")

    def __init__(
        self,
        status: int,
        reason: str,
        headers: tuple[Pair, ...] = (),
        body: bytes | None = None,
        content_type: bytes = b"text/plain; charset=utf-8",
        detail: str = "",
    ) -> None:
        if not 200 <= status <= 599:
            raise ValueError(f"not the status of an answer: {status}")
        for name, value in headers:
            check_field(name, value)
        if content_type.translate(None, VALUE_OCTETS):
            raise ValueError(f"not a content type: {content_type!r}")
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body
        self.content_type = content_type
        self.detail = detail


class Refused(GatewrightError):
    """A body hook will not let a message pass: the exchange ends with ``reply``.

    When the response has begun already, it is cut off, so that nobody takes it for whole; ``reply`` then gives the
    reason.
    """

    __slots__ = ("reply",)

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(reply.reason)
