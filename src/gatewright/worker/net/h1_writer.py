"""The answering half of a client's HTTP/1.x connection: responses to bytes (RFC 9112 sections 4, 6, 7)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gatewright.http.head import HTTP11, ResponseHead
from gatewright.http.headers import Fields, Pair
from gatewright.http.status import NO_BODY, STATUS_LINE
from gatewright.proxy.respond import problem
from gatewright.wire.chunked import write_chunk, write_end
from gatewright.worker.net.h1_client import JOIN_AT_MOST

if TYPE_CHECKING:
    from gatewright.proxy.exchange import Exchange
    from gatewright.worker.net.listener import Listener
    from gatewright.worker.world import World

#: What a client's connection is doing. HEAD: a request's head is awaited. BODY: its body comes. BUSY: it is complete,
#: its response is not. LINGER: answered and closing, what still comes is thrown away.
HEAD, BODY, BUSY, TUNNEL, LINGER, CLOSED = range(6)

_LENGTH = frozenset({b"content-length"})  # which a 1xx response must not have (RFC 9110 section 8.6)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ResponseWriter(asyncio.Protocol):
    """Gathers pieces of a response and writes them in one. The reading half is its subclass."""

    __slots__ = ("chunked", "exchange", "in_hand", "keep", "listener", "out", "state", "transport", "world")

    def __init__(self, world: World, listener: Listener) -> None:
        self.world = world
        self.listener = listener
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.state = HEAD
        self.exchange: Exchange | None = None
        #: The request body is not complete, but all of it has come.
        self.in_hand = False
        self.out: list[bytes] = []
        self.chunked = False
        #: Whether the connection serves another request after this one.
        self.keep = True

    def send_informational(self, status: int, fields: Fields) -> None:
        """Pass a 1xx response on; HTTP/1.0 knows none."""
        exchange = self.exchange
        if exchange is None or exchange.request.version != HTTP11 or self.state == CLOSED:
            return
        if status == 100 and not fields.pairs:
            self.transport.write(_CONTINUE)
            return
        self.transport.write(STATUS_LINE[status] + fields.block(fields.not_forwarded | _LENGTH) + b"\r\n")

    def send_head(self, response: ResponseHead, framing: int) -> None:
        """Begin the final response. Hot."""
        headers = response.headers
        fields = headers.fields
        status = response.status
        self.out = out = [STATUS_LINE[status]]
        headers.write(out)
        if status == 101:
            out.append(b"connection: upgrade\r\nupgrade: websocket\r\n\r\n")
            return
        if b"date" not in fields.index:
            out.append(self.world.date_line)
        exchange = self.exchange
        old = exchange is not None and exchange.request.version != HTTP11
        self.chunked = False
        if framing < 0:
            if old:
                self.keep = False
            else:
                self.chunked = True
                out.append(b"transfer-encoding: chunked\r\n")
        elif not framing and b"content-length" not in fields.index:
            self._no_body(response, out)
        if self.state == BODY and not self.in_hand:
            self.keep = False  # the rest of the request body may never come
        if not self.keep or self.listener.closing:
            self.keep = False
            out.append(b"connection: close\r\n\r\n")
        else:
            out.append(b"connection: keep-alive\r\n\r\n" if old else b"\r\n")

    def _no_body(self, response: ResponseHead, out: list[bytes]) -> None:
        """HTTP/2 can end a response with its head; here the client has to be told that nothing follows."""
        exchange = self.exchange
        if response.status in NO_BODY or response.headers.get(b"content-length") is not None:
            return
        if exchange is None or exchange.request.method != b"HEAD":
            out.append(b"content-length: 0\r\n")

    def send_body(self, data: bytes) -> None:
        """A piece of the response body. Hot."""
        if self.chunked:
            write_chunk(self.out, data)
            if len(data) > JOIN_AT_MOST:
                self.flush()
        elif len(data) > JOIN_AT_MOST:
            self.flush()
            self.transport.write(data)
        else:
            self.out.append(data)

    def send_end(self, trailers: tuple[Pair, ...]) -> None:
        """The response is complete."""
        if self.chunked:
            self.out.append(write_end(trailers))
            self.chunked = False

    def flush(self) -> None:
        """Write what has been gathered, in one piece."""
        out = self.out
        if out:
            self.out = []
            if self.state != CLOSED:
                self.transport.write(b"".join(out))

    def write_problem(self, status: int, reason: str, detail: str) -> None:
        """Answer a request that could not be understood; nothing of it is repeated."""
        body = problem(status, reason, detail, b"")
        self.transport.write(
            b"%bcontent-type: application/problem+json\r\ncontent-length: %d\r\n%b%bconnection: close\r\n\r\n%b"
            % (STATUS_LINE[status], len(body), self.world.date_line, self.own_lines(), body)
        )

    def own_lines(self) -> bytes:
        """Header lines of answers of our own, on listeners that have such."""
        return b""
