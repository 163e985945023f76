"""The request path: one class, read from top to bottom."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from gatewright.errors import ProtocolError
from gatewright.http.head import HTTP2, RequestHead, ResponseHead
from gatewright.http.headers import Fields, Headers, Pair
from gatewright.http.reply import Reply
from gatewright.proxy import failures
from gatewright.proxy.bodies import (
    RequestBody,
    change_held,
    change_request,
    change_response,
    request_framing,
    response_framing,
)
from gatewright.proxy.endpoints import FAILED_STATUS, OK
from gatewright.proxy.respond import compose, core_reply
from gatewright.proxy.tree import NO_PARAMS

if TYPE_CHECKING:
    from gatewright.http.forwarding import Origin
    from gatewright.proxy.endpoints import Endpoint, Upstream
    from gatewright.proxy.pool import Pool
    from gatewright.proxy.ports import Downstream, Timer, UpstreamConnection, World
    from gatewright.proxy.runtime import ListenerRuntime, Route
    from gatewright.sdk.exchange import Consumer
    from gatewright.tls.identity import ClientCertificate


class Exchange:
    """One request and its response. Hot: runs for every request.

     1 begin      the route of the pinned runtime                   404 405
     2 policies   request hooks in order                            any
     3 pick       upstream and endpoint                             503
     4 connect    an idle connection, else wait for one             502 504
     5 forward    head, then the body as it comes                   413 502
     6 head_back  response hooks, in reverse order                  any
     7 relay      body back, both directions paced
     8 finish     record once, release everything, next request

    The client's connection has admitted the request before (framing, host, target, limits). A step calls the next
    one; a step that must wait calls :meth:`wait`, and nothing else creates a Task. What goes wrong ends in
    :meth:`answer` or in :mod:`gatewright.proxy.failures`, and all ways end in ``finish``, which acts once.
    """

    __slots__ = (
        "body", "bytes_in", "bytes_out", "client", "client_addr", "conn", "consumer", "ended", "endpoint", "framing",
        "held", "listener", "listener_name", "max_body", "origin", "params", "path", "protocol", "queued", "reason",
        "released", "reply", "reply_body", "request", "request_id", "response", "response_started",
        "response_trailers", "resume_at", "retries", "route", "started", "status", "task", "timeouts", "total",
        "tried", "tries", "try_started", "upstream", "upstream_name", "upstream_seconds", "vars", "wait_until",
        "waited", "world",
    )  # fmt: skip

    #: Name of the status that a gRPC call has ended with; empty for everything else.
    grpc_status = ""
    #: Error code with which the endpoint has reset the stream of a gRPC call; -1 when it has not.
    reset_code = -1
    #: Set by the pool it waits in: when waiting ends (monotonic seconds).
    wait_until: float
    #: Set for the last call of response body hooks.
    response_trailers: tuple[Pair, ...]

    def __init__(
        self,
        world: World,
        client: Downstream,
        listener: ListenerRuntime,
        request: RequestHead,
        origin: Origin,
        framing: int,
    ) -> None:
        # the worker and the connection
        self.world = world
        self.client = client
        self.listener = listener
        self.listener_name = listener.name
        # the request
        self.request = request
        self.origin = origin
        self.client_addr = origin.client
        self.params = NO_PARAMS
        self.consumer: Consumer | None = None
        self.vars: dict[str, Any] = {}
        self.request_id = b""
        self.body = RequestBody(framing) if framing else None
        self.started = world.clock()
        self.route: Route = listener.unmatched
        self.protocol = "http1"
        self.path = b""
        # the tries
        self.upstream: Upstream | None = None
        self.upstream_name = ""
        self.endpoint: Endpoint | None = None
        self.conn: UpstreamConnection | None = None
        self.released = True
        self.tried: tuple[Endpoint, ...] = ()
        self.tries = 0
        #: A policy has waited: the first try begins later than the exchange.
        self.waited = False
        self.upstream_seconds = -1.0
        self.queued: Pool | None = None
        self.task: Timer | None = None
        # the response
        self.response: ResponseHead | None = None
        self.response_started = False
        self.reply: Reply | None = None
        self.held: list[bytes] | None = None
        self.status = 0
        self.reason = ""
        self.total: float | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self.max_body = 0
        self.ended = 0.0

    # cold: for policies; the path itself reads route.name
    @property
    def route_name(self) -> str:
        """Name of the matched route."""
        return self.route.name

    # cold: for policies
    @property
    def has_body(self) -> bool:
        """Whether a request body comes."""
        return self.body is not None

    # cold: for policies
    @property
    def client_certificate(self) -> ClientCertificate | None:
        """The certificate that the client has shown in the TLS handshake."""
        tls = self.client.tls
        return None if tls is None else tls.client_certificate

    # --- 1 begin ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The head is complete: find the route."""
        listener = self.listener
        entry = listener.router.match(self)
        if entry is None:
            return self.policies(0)  # of the runtime's route for what no route takes
        self.route = route = entry.route
        if route.timeout is not None:
            self.total = route.timeout
            self.client.limit(self.started + route.timeout)
        self.max_body = listener.limits.body if route.max_body is None else route.max_body
        return self.policies(0) if route.request_chain else self.go()

    # --- 2 policies ---------------------------------------------------------------------------------------------------

    def policies(self, i: int) -> None:
        """Request hooks from the ``i``-th on."""
        route = self.route
        chain = route.request_chain
        n = len(chain)
        while i < n:
            hook = chain[i]
            i += 1
            try:
                out = hook(self)
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                out = route.failed(hook, error)
            if out is None:
                continue
            if type(out) is not Reply:
                out = route.awaited(hook, out)
            if type(out) is Reply:
                return self.answer(out, route.response_from[i])
            return self.wait(out, self.policies, i)
        return self.go()

    def go(self) -> None:
        """The policies have let the request through."""
        route = self.route
        if self.protocol == "websocket" and not route.websocket:
            if self.request.version == HTTP2:
                return self.answer(core_reply("request.tunnel"), 0)
            self.protocol = "http1"  # the request goes on without its Upgrade
        if route.action is not None:
            return self.answer(route.action(self), 0)
        body = self.body
        if body is not None:
            if body.framing > self.max_body or self.bytes_in > self.max_body:
                return self.answer(core_reply("request.body_too_large"), 0)
            if (body.size or body.done) and route.request_body_chain and not change_held(self, body):
                return None  # a hook has refused what came while policies were waiting
        self.path = self.request.path
        if route.rewrite is not None:
            try:
                self.path = route.rewrite(self)
            except ProtocolError as error:  # what came out is no path
                return self.answer(core_reply(error.reason), 0)
        upstream = route.upstream or route.choose(self)
        self.upstream = upstream
        self.upstream_name = upstream.name
        self.timeouts = route.timeouts or upstream.spec.timeouts
        self.retries = route.retries or upstream.retries
        if self.timeouts.total is not None and self.total is None:
            self.total = self.timeouts.total
            self.client.limit(self.started + self.total)
        return self.pick()

    # --- 3 pick, 4 connect --------------------------------------------------------------------------------------------

    def pick(self) -> None:
        """Choose an endpoint, for each try, and take an idle connection or wait for one."""
        upstream = self.upstream
        self.try_started = now = self.world.clock() if self.tries or self.waited else self.started
        endpoint = upstream.pick(self, now, self.tried)  # type: ignore[union-attr]
        if endpoint is None:
            return failures.no_endpoint(self, now)
        self.endpoint = endpoint
        self.released = False
        self.tries += 1
        upstream.started(endpoint)  # type: ignore[union-attr]
        conn = endpoint.pool.take()
        if conn is not None:
            return self.forward(conn)
        self.queued = endpoint.pool
        endpoint.pool.wait(self)
        return None

    def connected(self, conn: UpstreamConnection) -> None:
        """The pool hands over a connection."""
        self.queued = None
        self.forward(conn)
        conn.flush()

    # --- 5 forward ----------------------------------------------------------------------------------------------------

    def forward(self, conn: UpstreamConnection) -> None:
        """Send the head and, of the body, what is here."""
        self.conn = conn
        body = self.body
        if body is None:
            conn.start(self, 0)
        else:
            conn.start(self, request_framing(self))
            body.start(conn, again=self.retries.attempts > 0)
            self._resume_request(body)

    def on_request_body(self, data: bytes) -> None:
        """A piece of the request body came from the client."""
        self.bytes_in += len(data)
        body = self.body
        if self.ended or self.reply is not None or body is None:
            return
        if self.bytes_in > self.max_body:
            return self.answer(core_reply("request.body_too_large"), 0)
        if self.route.request_body_chain and self.upstream is not None:
            changed = change_request(self, body, data, last=False)
            if changed is None:
                return
            data = changed
        if self.conn is None:
            if body.hold(data):
                body.paused = True
                self.client.pause_request()
        elif data:
            body.sent(data)
            self.conn.send_body(data)

    def on_request_end(self, trailers: tuple[Pair, ...]) -> None:
        """The request body is complete."""
        body = self.body
        if self.ended or self.reply is not None or body is None:
            return
        if self.route.request_body_chain and self.upstream is not None:
            data = change_request(self, body, b"", last=True)
            if data is None:
                return
            if self.conn is None:
                body.hold(data)
            elif data:
                body.sent(data)
                self.conn.send_body(data)
        body.done = True
        body.trailers = trailers
        if self.conn is not None:
            self.conn.send_end(trailers)

    def _resume_request(self, body: RequestBody) -> None:
        if body.paused:
            body.paused = False
            self.client.resume_request()

    # --- 6 head back --------------------------------------------------------------------------------------------------

    def on_response_head(self, status: int, fields: Fields, framing: int) -> None:
        """The endpoint has answered; ``framing`` is 0 where the method or the status allows no body."""
        self.upstream_seconds = self.world.clock() - self.try_started
        self.status = status
        if status in self.retries.statuses and failures.retried(self, status):
            return None
        self.response = ResponseHead(status, Headers(fields))
        self.framing = framing
        if status == 204 and b"content-length" in fields.index:  # RFC 9110 section 8.6
            self.response.headers.drop(b"content-length")
        sticky = self.upstream.sticky  # type: ignore[union-attr]
        if sticky is not None:
            sticky.on_response(self)
        if self.route.response_chain:
            return self.response_policies(0)
        return self.head_back()

    def response_policies(self, i: int) -> None:
        """Response hooks from the ``i``-th on."""
        route = self.route
        chain = route.response_chain
        n = len(chain)
        while i < n:
            hook = chain[i]
            i += 1
            try:
                out = hook(self)
            except Exception as error:  # noqa: BLE001 - as above
                out = route.failed(hook, error)
            if out is None:
                continue
            if type(out) is not Reply:
                out = route.awaited(hook, out)
            if type(out) is Reply:
                return failures.replace_response(self, out, i)
            if self.conn is not None:
                self.conn.pause()
            self.held = []
            return self.wait(out, self.response_policies, i)
        if self.reply is not None:
            return self.send_reply()
        return self.head_back()

    def head_back(self) -> None:
        """Send the response's head to the client."""
        response = self.response
        framing = self.framing
        if response.headers.dropped:  # type: ignore[union-attr]
            self.framing = framing = response_framing(self, response, framing)  # type: ignore[arg-type]
        self.response_started = True
        self.status = response.status  # type: ignore[union-attr]
        self.client.send_head(response, framing)  # type: ignore[arg-type]
        if self.held is not None:
            failures.release_held(self)

    # --- 7 relay ------------------------------------------------------------------------------------------------------

    def on_response_body(self, data: bytes) -> None:
        """A piece of the response body came from the endpoint."""
        if self.held is not None:
            self.held.append(data)
            return
        if self.route.response_body_chain:
            changed = change_response(self, data, last=False)
            if changed is None:
                return
            data = changed
        self.bytes_out += len(data)
        self.client.send_body(data)

    def on_response_end(self, trailers: tuple[Pair, ...]) -> None:
        """The response is complete, and its connection is already free for others."""
        if self.held is not None:
            return failures.hold_end(self, trailers)
        self.conn = None
        if self.route.response_body_chain:
            self.response_trailers = trailers
            data = change_response(self, b"", last=True)
            if data is None:
                return None
            trailers = self.response_trailers
            self.bytes_out += len(data)
            self.client.send_body(data)
        self.client.send_end(trailers)
        now = self.world.clock()
        self.release(FAILED_STATUS if self.status >= 500 else OK, "", now)
        return self.finish("", now)

    def release(self, outcome: int, reason: str, now: float) -> None:
        """The try is over: the endpoint is told how it went."""
        endpoint = self.endpoint
        if endpoint is not None and not self.released:
            self.released = True
            seconds = now - self.try_started
            self.upstream.finished(endpoint, outcome, seconds, now, self.upstream_seconds)  # type: ignore[union-attr]
            endpoint.stats.observe(self.status, seconds, self.bytes_in, self.bytes_out, self.protocol, reason)

    # --- 8 finish -----------------------------------------------------------------------------------------------------

    def finish(self, reason: str, now: float) -> None:
        """Count and log, once, and let the client's connection go on."""
        if self.ended:
            return
        self.ended = now
        self.reason = reason
        route = self.route
        route.stats.observe(self.status, now - self.started, self.bytes_in, self.bytes_out, self.protocol, reason)
        for hook in route.record_chain:
            hook(self)
        self.world.log(self)
        self.client.done()

    # --- answers of our own, and waiting ------------------------------------------------------------------------------

    def answer(self, reply: Reply, start: int) -> None:
        """Answer with ``reply``, after the response hooks from ``start`` on. The upstream is let go."""
        if self.ended:
            return
        failures.let_go(self)
        if self.response_started:
            return self.truncate(reply.reason)
        self.reply = reply
        self.response, self.reply_body = compose(self, reply)
        if self.route.response_chain:
            return self.response_policies(start)
        return self.send_reply()

    def truncate(self, reason: str) -> None:
        """The response has begun and cannot be completed: the client must notice, so its connection ends here."""
        self.client.abort()
        self.finish(reason, self.world.clock())

    def send_reply(self) -> None:
        """Send the answer composed by :meth:`answer`."""
        response, body = self.response, self.reply_body
        self.response_started = True
        self.status = response.status  # type: ignore[union-attr]
        if self.request.method == b"HEAD":
            body = b""
        self.client.send_head(response, len(body))  # type: ignore[arg-type]
        if body:
            self.bytes_out = len(body)
            self.client.send_body(body)
        self.client.send_end(())
        self.client.flush()
        self.finish(self.reply.reason, self.world.clock())  # type: ignore[union-attr]

    def wait(self, awaitable: Awaitable[Any], step: Callable[[int], None], i: int) -> None:
        """Go on with ``step(i)`` when ``awaitable`` is done. The only place where a request costs a Task."""
        self.resume_at = (step, i)
        self.waited = True
        self.task = self.world.wait(awaitable, self._resume)

    def _resume(self, result: Any, error: BaseException | None) -> None:
        self.task = None
        if self.ended:
            return
        step, i = self.resume_at
        try:
            if error is not None:
                self.world.bug("a policy's awaitable", error)
                self.answer(core_reply("plugin.failed"), 0)
            elif type(result) is not Reply:
                step(i)
            elif self.response is None:
                self.answer(result, self.route.response_from[i])
            else:
                failures.replace_response(self, result, i)
        except Exception as bug:  # noqa: BLE001 - nobody above us would end the exchange
            self.world.bug("a request that waited", bug)
            self.answer(core_reply("internal.error"), len(self.route.response_chain))
        self.client.flush()
        if self.conn is not None:
            self.conn.flush()

    # --- what the connections report ----------------------------------------------------------------------------------

    def upstream_failed(self, condition: str) -> None:
        """The try has failed (see :data:`gatewright.proxy.failures.CONDITIONS`); its connection is gone."""
        failures.upstream_failed(self, condition)
        self.client.flush()

    def on_client_gone(self, reason: str = "client.gone") -> None:
        """The client has closed, or does not read: nobody wants the response."""
        if not self.ended:
            failures.let_go(self)
            self.status = self.status or 499
            self.finish(reason, self.world.clock())

    def try_again(self) -> None:
        """The pause before another try is over."""
        self.task = None
        self.pick()
        if self.conn is not None:
            self.conn.flush()
        self.client.flush()

    def on_time_over(self) -> None:
        """The route's total time is over."""
        self.answer(core_reply("route.timeout"), 0)
