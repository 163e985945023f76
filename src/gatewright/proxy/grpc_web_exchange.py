"""A gRPC-Web call: a gRPC call whose client sees no trailers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatewright.http.grpc_web import trailer_frame, wanted_type, write_text, write_type
from gatewright.proxy import grpc
from gatewright.proxy.bodies import change_response
from gatewright.proxy.exchange import Exchange
from gatewright.proxy.grpc_exchange import GrpcExchange
from gatewright.reasons import REASONS

if TYPE_CHECKING:
    from gatewright.http.forwarding import Origin
    from gatewright.http.head import RequestHead
    from gatewright.proxy.ports import Downstream, World
    from gatewright.proxy.runtime import ListenerRuntime

#: What begins the names of fields that belong to the call's end.
_OF_THE_END = b"grpc-"


class GrpcWebExchange(GrpcExchange):
    """One call, in the form that browsers can read. Its end stands in the body, in a frame of its own.

    The gateway's own answers are made here. What comes from an upstream passes as it is when the upstream speaks
    gRPC-Web itself; the policy ``grpc_web`` translates for those that speak gRPC.
    """

    __slots__ = ("ending",)

    def __init__(
        self,
        world: World,
        client: Downstream,
        listener: ListenerRuntime,
        request: RequestHead,
        origin: Origin,
        framing: int,
    ) -> None:
        GrpcExchange.__init__(self, world, client, listener, request, origin, framing)
        self.protocol = "grpc-web"
        #: Why the response is being ended early; empty as long as it is not.
        self.ending = ""

    def send_reply(self) -> None:
        """Send an answer of the gateway's own."""
        headers = self.response.headers  # type: ignore[union-attr]
        end = [pair for pair in headers if pair[0].startswith(_OF_THE_END)]
        for name, _ in end:
            headers.drop(name)
        form = wanted_type(self.request.headers.fields)
        body = trailer_frame(end)
        if form[0]:
            body = write_text(body)
        headers.set(b"content-type", write_type(form))
        headers.drop(b"content-length")
        headers.added.append((b"content-length", b"%d" % len(body)))
        self.reply_body = body
        Exchange.send_reply(self)

    def truncate(self, reason: str) -> None:
        """The response has begun and cannot be completed.

        Its trailers tell why, where a body hook puts them behind the last message; within a message nothing but the
        end of the connection can tell.
        """
        if self.ending or not self.route.response_body_chain:
            return self._break_off(self.ending or reason)
        self.ending = reason
        status, detail = REASONS.get(reason, (500, ""))
        self.code = code = grpc.code_for(status, reason, self.reset_code)
        if not self.request_id:
            self.request_id = self.world.new_id()
        self.response_trailers = grpc.status_fields(code, reason, detail, self.request_id)
        data = change_response(self, b"", last=True)
        if data is None:  # a hook has refused, and that has ended the exchange
            return None
        if len(self.response_trailers):  # nobody has put them into the body
            return self._break_off(reason)
        self.bytes_out += len(data)
        self.client.send_body(data)
        self.client.send_end(())
        self.client.flush()
        return self.finish(reason, self.world.clock())

    def _break_off(self, reason: str) -> None:
        self.code = grpc.code_for(REASONS.get(reason, (500, ""))[0], reason, self.reset_code)
        Exchange.truncate(self, reason)
