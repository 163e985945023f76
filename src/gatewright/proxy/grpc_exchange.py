"""A gRPC call: an exchange whose outcome stands behind its body."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gatewright.http.headers import Fields, Pair
from gatewright.proxy import failures, grpc
from gatewright.proxy.endpoints import FAILED_STATUS, OK
from gatewright.proxy.exchange import Exchange
from gatewright.proxy.families import GRPC_REQUESTS, OTHER
from gatewright.proxy.respond import core_reply
from gatewright.reasons import REASONS

if TYPE_CHECKING:
    from gatewright.http.forwarding import Origin
    from gatewright.http.head import RequestHead
    from gatewright.proxy.ports import Downstream, UpstreamConnection, World
    from gatewright.proxy.runtime import ListenerRuntime

#: A client's own deadline is passed on in the client's words as long as no more than this has gone by: a value that
#: stays the same is one octet in HTTP/2.
_AT_ONCE = 0.001
#: Share of the time after which a call that the client ends was ended by its deadline: its clock began before ours,
#: and the time on the way counts twice.
_NEARLY = 0.95


class GrpcExchange(Exchange):
    """One call and its outcome. Hot: runs for every call, and for nothing else.

    Different from other exchanges: the deadline comes from the client as well, and goes on to the endpoint; there is
    no limit to the size of a request body unless the route sets one, for a stream of messages may go on for days; the
    outcome is the ``grpc-status`` of the trailers, which is retried, counted and logged.
    """

    __slots__ = ("by_client", "code", "grpc_status", "reset_code")

    def __init__(
        self,
        world: World,
        client: Downstream,
        listener: ListenerRuntime,
        request: RequestHead,
        origin: Origin,
        framing: int,
    ) -> None:
        Exchange.__init__(self, world, client, listener, request, origin, framing)
        self.protocol = "grpc"
        #: The time limit is the client's deadline, not the route's.
        self.by_client = False
        #: How the call has ended, -1 as long as nobody knows; and its name, when it is over.
        self.code = -1
        self.grpc_status = ""
        #: Error code with which the endpoint has reset the stream; set before ``upstream_failed`` is called.
        self.reset_code = -1

    def begin(self) -> None:
        """The head is complete: find the route, and until when there is time."""
        entry = self.listener.router.match(self)
        route = self.route
        if entry is not None:
            self.route = route = entry.route
        limit = route.max_body
        if limit is None:  # requests of gRPC-Web are one message, not a stream
            limit = sys.maxsize if self.protocol == "grpc" else self.listener.limits.body
        self.max_body = limit
        if not self.find_deadline():
            return self.answer(core_reply("request.grpc_timeout"), 0)
        total = self.total
        if total is not None:
            if total <= 0.0:
                return self.on_time_over()
            self.client.limit(self.started + total)
        return self.policies(0) if entry is None or route.request_chain else self.go()

    def find_deadline(self) -> bool:
        """The client's deadline or the route's time, whichever is over first. False: the client's is malformed."""
        total = self.route.timeout
        asked = self.request.headers.fields.index.get(b"grpc-timeout")
        if asked is not None:
            seconds = grpc.parse_timeout(asked)
            if seconds is None:
                return False
            if total is None or seconds < total:
                total = seconds
                self.by_client = True
        self.total = total
        return True

    def pick(self) -> None:
        """Choose an endpoint. The upstream's time limit counts where the route has none."""
        limit = self.timeouts.total
        if limit is not None and self.by_client and self.shorten(limit):
            self.client.limit(self.started + limit)
        Exchange.pick(self)

    def shorten(self, limit: float) -> bool:
        """Take the upstream's time limit, when the route has none and it is over before the deadline."""
        if self.route.timeout is not None or (self.total is not None and self.total <= limit):
            return False
        self.total = limit
        self.by_client = False
        return True

    def forward(self, conn: UpstreamConnection) -> None:
        """Send the call on, with the time that is left."""
        total = self.total
        if total is not None:
            gone = self.world.clock() - self.started
            if gone > _AT_ONCE or not self.by_client:
                self.request.headers.set(b"grpc-timeout", grpc.write_timeout(total - gone))
        Exchange.forward(self, conn)

    def on_response_head(self, status: int, fields: Fields, framing: int) -> None:
        """The endpoint has answered: with a head, or with the outcome at once."""
        self.code = code = grpc.code_of(status, fields)
        if code in self.retries.grpc and status == 200:
            self.upstream_seconds = self.world.clock() - self.try_started
            self.status = status
            if failures.retried(self, grpc.condition_for(code)):
                return None
        return Exchange.on_response_head(self, status, fields, framing)

    def on_response_end(self, trailers: tuple[Pair, ...]) -> None:
        """The call is over, and the trailers say how it went."""
        for name, value in trailers:
            if name == b"grpc-status":
                self.code = grpc.CODES.get(value, grpc.UNKNOWN)
                break
        else:
            if self.code < 0:
                self.code = grpc.UNKNOWN
        return Exchange.on_response_end(self, trailers)

    def release(self, outcome: int, reason: str, now: float) -> None:
        """The try is over: its status says whether that speaks against the endpoint."""
        code = self.code
        if code >= 0 and self.status == 200 and outcome in (OK, FAILED_STATUS):
            failed = code in grpc.FAILURES and not (code == grpc.DEADLINE_EXCEEDED and self.by_client)
            outcome = FAILED_STATUS if failed else OK
        Exchange.release(self, outcome, reason, now)

    def finish(self, reason: str, now: float) -> None:
        """Count and log. An answer of the gateway's own is logged with the status it would have over HTTP."""
        if self.ended:
            return
        reply = self.reply
        if reply is not None and self.response_started:
            self.status = reply.status
            self.code = grpc.reply_code(reply, self.reset_code)
        code = self.code
        if code < 0:
            self.code = code = grpc.CANCELLED if self.status == 499 else grpc.UNKNOWN
        self.grpc_status = status = grpc.NAMES[code]
        route = self.route
        method = ""
        if route.grpc_methods:  # paths that no endpoint knows are anybody's invention
            method = OTHER if code == grpc.UNIMPLEMENTED else self.request.path[1:].decode("latin-1")
        self.world.stats.count(GRPC_REQUESTS, route.name, method, status)
        Exchange.finish(self, reason, now)

    # --- less often ---------------------------------------------------------------------------------------------------

    def send_reply(self) -> None:
        """Send an answer of the gateway's own; a wait that it asks for is told in gRPC's words too."""
        headers = self.response.headers  # type: ignore[union-attr]
        retry_after = headers.get(b"retry-after")
        if retry_after is not None and b"grpc-retry-pushback-ms" not in headers:
            milliseconds = grpc.pushback(retry_after)
            if milliseconds is not None:
                headers.add(b"grpc-retry-pushback-ms", milliseconds)
        Exchange.send_reply(self)

    def truncate(self, reason: str) -> None:
        """The response has begun and cannot be completed: its trailers tell why, where the client can see trailers."""
        status, detail = REASONS.get(reason, (500, ""))
        self.code = code = grpc.code_for(status, reason, self.reset_code)
        if self.protocol != "grpc":
            return Exchange.truncate(self, reason)
        if not self.request_id:
            self.request_id = self.world.new_id()
        self.client.send_end(grpc.status_fields(code, reason, detail, self.request_id))
        self.client.flush()
        self.finish(reason, self.world.clock())

    def on_client_gone(self, reason: str = "client.gone") -> None:
        """The client has cancelled the call, or given it up at its deadline, which it keeps as well as we do."""
        if not self.ended:
            self.code = grpc.CANCELLED
            total = self.total
            if total is not None and self.by_client and self.world.clock() - self.started >= total * _NEARLY:
                reason = "client.deadline"
                self.code = grpc.DEADLINE_EXCEEDED
                self.status = self.status or 504
        Exchange.on_client_gone(self, reason)

    def on_time_over(self) -> None:
        """The deadline has passed."""
        self.answer(core_reply("client.deadline" if self.by_client else "route.timeout"), 0)
