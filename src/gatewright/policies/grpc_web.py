"""Let browsers call gRPC services: gRPC-Web from the client, gRPC to the upstream.

Both forms are taken, binary (`application/grpc-web`) and text (`application/grpc-web-text`), over HTTP/1.1 and
HTTP/2, for unary calls and for streams of answers. Policies behind this one see plain gRPC, and everything else passes
as it is. Nothing is gathered: each piece goes on as it comes.
"""

from __future__ import annotations

from typing import Final

from gatewright.http import grpc_web
from gatewright.http.fields import kind_of_call
from gatewright.http.headers import Headers, Pair
from gatewright.sdk import BodyPolicy, ExchangeView, Outcome, PolicyConfig, Refused, Reply

_CALL: Final = "grpc_web.call"
_GRPC: Final = b"application/grpc"
#: A call that fails at once may carry its outcome in the head.
_OUTCOME: Final = frozenset({b"grpc-status", b"grpc-message", b"grpc-status-details-bin"})
#: What stands in such a head for HTTP's sake; the rest is metadata of the call's end.
_OF_HTTP: Final = frozenset(
    {
        b"alt-svc", b"cache-control", b"connection", b"content-length", b"content-type", b"date", b"expires",
        b"grpc-accept-encoding", b"grpc-encoding", b"keep-alive", b"server", b"set-cookie",
        b"strict-transport-security", b"trailer", b"transfer-encoding", b"vary", b"via",
    }
)  # fmt: skip
_NO_OUTCOME: Final = ((b"grpc-status", b"2"), (b"grpc-message", b"the upstream has not said how the call ended"))


class GrpcWebConfig(PolicyConfig):
    """Configuration of `grpc_web`: there is nothing to choose."""


class _Call:
    """One call on its way."""

    __slots__ = ("answer", "answered", "asked", "outcome", "reader")

    def __init__(self, answer: tuple[bool, bytes], reader: grpc_web.TextReader | None) -> None:
        #: The form in which the client wants its answer.
        self.answer = answer
        #: Of a request in the text form.
        self.reader = reader
        self.asked = grpc_web.Messages()
        self.answered = grpc_web.Messages()
        #: What the head of the response said about the call's end.
        self.outcome: tuple[Pair, ...] = ()


class GrpcWeb(BodyPolicy[GrpcWebConfig]):
    """Translate gRPC-Web into gRPC, and what comes back into gRPC-Web."""

    __slots__ = ()
    name, stage, config = "grpc_web", "admission", GrpcWebConfig

    def on_request(self, ex: ExchangeView) -> Outcome:
        """Make the head that of a gRPC call."""
        request = ex.request
        headers = request.headers
        content_type = headers.get(b"content-type")
        if content_type is None or content_type[: len(grpc_web.PREFIX)].lower() != grpc_web.PREFIX:
            return None
        form = grpc_web.read_type(content_type)
        if form is None or headers.get(b"content-encoding") is not None:
            return WRONG_TYPE
        if request.method != b"POST":
            return WRONG_METHOD
        text, kind = form
        ex.vars[_CALL] = _Call(grpc_web.wanted_type(headers.fields), grpc_web.TextReader() if text else None)
        if text:
            headers.drop(b"content-length")
        headers.drop(b"accept")
        headers.drop(b"accept-encoding")  # for HTTP's own codings; a body under one would have no room for trailers
        headers.drop(b"x-grpc-web")
        headers.set(b"content-type", _GRPC + kind)
        headers.set(b"te", b"trailers")
        return None

    def on_request_chunk(self, ex: ExchangeView, data: bytes, last: bool) -> bytes:
        """Decode, and see that the messages are whole."""
        call: _Call | None = ex.vars.get(_CALL)
        if call is None:
            return data
        if call.reader is not None:
            try:
                data = call.reader.feed(data, last=last)
            except ValueError:
                raise Refused(NOT_BASE64) from None
        try:
            call.asked.feed(data)
        except ValueError:
            raise Refused(NOT_A_MESSAGE) from None
        if last and not call.asked.whole():
            raise Refused(CUT_OFF)
        return data

    def on_response(self, ex: ExchangeView) -> Outcome:
        """Make the head that of a gRPC-Web answer. The gateway's own answers are in that form already."""
        call: _Call | None = ex.vars.get(_CALL)
        response = ex.response
        if call is None or response is None or ex.reply is not None:
            return None
        headers = response.headers
        content_type = headers.get(b"content-type") or b""
        is_grpc = kind_of_call(content_type) == "grpc"
        if b"grpc-status" in headers:
            call.outcome = _take_outcome(headers)
            response.status = 200
        elif response.status != 200 or not is_grpc:
            status = response.status if response.status >= 400 else 502
            return Reply(status, "grpc_web.not_grpc", detail="The upstream's answer is not gRPC")
        text, kind = call.answer
        if is_grpc:
            kind = content_type[len(_GRPC) :].partition(b";")[0].strip() or kind
        headers.drop(b"content-length")
        headers.drop(b"trailer")
        headers.set(b"content-type", grpc_web.write_type((text, kind)))
        return None

    def on_response_chunk(self, ex: ExchangeView, data: bytes, last: bool) -> bytes:
        """Encode, and put the trailers behind the last message."""
        call: _Call | None = ex.vars.get(_CALL)
        if call is None:
            return data
        try:
            call.answered.feed(data)
        except ValueError:
            raise Refused(BAD_ANSWER) from None
        if last:
            if not call.answered.whole():
                raise Refused(BAD_ANSWER)
            trailers = ex.response_trailers
            if b"grpc-status" not in dict(trailers):
                trailers += call.outcome or _NO_OUTCOME
            data += grpc_web.trailer_frame(trailers)
            ex.response_trailers = ()
        return grpc_web.write_text(data) if call.answer[0] else data


def _take_outcome(headers: Headers) -> tuple[Pair, ...]:
    """The trailers of an answer that has nothing else: its head holds them.

    Metadata stand in both places then. Scripts of other origins can read the body, but not any field of the head.
    """
    outcome = tuple(pair for pair in headers if pair[0] not in _OF_HTTP)
    for name in _OUTCOME:
        headers.drop(name)
    return outcome


WRONG_TYPE = Reply(415, "grpc_web.content_type", detail="Not a form of gRPC-Web that is spoken here")
WRONG_METHOD = Reply(405, "grpc_web.method", ((b"allow", b"POST"),), detail="gRPC-Web calls are POST requests")
NOT_BASE64 = Reply(400, "grpc_web.base64", detail="The request body is not base64")
NOT_A_MESSAGE = Reply(400, "grpc_web.message", detail="The request body is not made of gRPC messages")
CUT_OFF = Reply(400, "grpc_web.cut_off", detail="The request body ends within a message")
BAD_ANSWER = Reply(502, "grpc_web.bad_answer", detail="The upstream's answer is not made of gRPC messages")
