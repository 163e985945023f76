"""What another HTTP service has answered to the gateway's own question, or why there is no answer."""

from __future__ import annotations

from gatewright.errors import GatewrightError
from gatewright.http.headers import Pair


class Answer:
    """A complete answer.

    Attributes:
        status: 200 to 599.
        headers: Fields as they came, names in lower case.
        body: All of it, as it came: a content coding is not undone.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: tuple[Pair, ...] = (), body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def get(self, name: bytes) -> bytes | None:
        """The first value of ``name``, or None."""
        for other, value in self.headers:
            if other == name:
                return value
        return None

    def all(self, name: bytes) -> list[bytes]:
        """Every value of ``name``, in order."""
        return [value for other, value in self.headers if other == name]

    def __repr__(self) -> str:  # what is printed must not hold what a service says of somebody
        return f"Answer({self.status}, {len(self.headers)} fields, {len(self.body)} bytes)"


class ServiceError(GatewrightError):
    """There is no answer: the service cannot be reached, is too slow, breaks off, or says too much.

    Attributes:
        reason: As in the metrics of upstreams: ``upstream.connect``, ``upstream.timeout``, ``upstream.reset``,
            ``upstream.circuit_open`` and so on, and ``upstream.too_large`` for an answer above the limit.
    """

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
