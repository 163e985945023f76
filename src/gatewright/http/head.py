"""The heads of a request and of a response, as the exchange and the policies see them."""

from __future__ import annotations

from gatewright.http.headers import Headers

HTTP10, HTTP11, HTTP2 = 10, 11, 20


class RequestHead:
    """What the client asked for. All bytes; ``path`` is normalised and starts with ``/``."""

    __slots__ = (
        "authority",
        "headers",
        "host",
        "method",
        "path",
        "query",
        "scheme",
        "target",
        "version",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        path: bytes,
        query: bytes | None,
        authority: bytes,
        host: bytes,
        scheme: bytes,
        version: int,
        headers: Headers,
    ) -> None:
        self.method = method
        #: The request target exactly as it was sent.
        self.target = target
        #: Normalised path (RFC 3986 section 6.2.2), still percent-encoded: what is routed is what is forwarded.
        self.path = path
        #: Without the question mark; None when there was none.
        self.query = query
        #: Host and port as sent (Host or :authority).
        self.authority = authority
        #: Lower case, without port and without brackets' zone; what routes match.
        self.host = host
        self.scheme = scheme
        self.version = version
        self.headers = headers


class ResponseHead:
    """What goes back to the client: status and header fields."""

    __slots__ = ("headers", "status")

    def __init__(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = headers
