"""What gRPC adds to HTTP/2: statuses, deadlines and answers that are nothing but trailers.

The wire format is that of gRPC's "PROTOCOL-HTTP2": a call is a POST, its outcome stands in the trailer fields
``grpc-status`` and ``grpc-message``, and a call that fails before it has answered anything may put both into the
response's only header section. Nothing here reads messages: they pass as they are, compressed or not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gatewright.http.head import ResponseHead
from gatewright.http.headers import Headers, Pair
from gatewright.http.reply import Reply
from gatewright.reasons import REASONS

if TYPE_CHECKING:
    from gatewright.errors import ProtocolError
    from gatewright.http.headers import Fields

#: Labels of exchanges (``protocol``) that end with a gRPC status.
PROTOCOLS: Final = frozenset({"grpc", "grpc-web"})

#: Names of the statuses, by code.
NAMES: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
(
    OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS,
    PERMISSION_DENIED, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNIMPLEMENTED,
    INTERNAL, UNAVAILABLE, DATA_LOSS, UNAUTHENTICATED,
) = range(17)  # fmt: skip

#: The value of ``grpc-status`` → its code. What is not in it counts as UNKNOWN, as in gRPC's own libraries.
CODES: Final[dict[bytes, int]] = {b"%d" % code: code for code in range(len(NAMES))}

#: Statuses of the endpoint's own making that speak against the endpoint. The others are what a call may end with at
#: an endpoint that is well. DEADLINE_EXCEEDED is one of them only when the client did not choose the deadline.
FAILURES: Final = frozenset({UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS})

#: The gateway's own answers: status over HTTP → status of the call. What is not in it is UNKNOWN.
BY_STATUS: Final = {
    400: INVALID_ARGUMENT,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: UNIMPLEMENTED,
    405: UNIMPLEMENTED,
    408: DEADLINE_EXCEEDED,
    409: ABORTED,
    412: FAILED_PRECONDITION,
    413: RESOURCE_EXHAUSTED,
    414: RESOURCE_EXHAUSTED,
    415: INVALID_ARGUMENT,
    416: OUT_OF_RANGE,
    417: FAILED_PRECONDITION,
    421: UNAVAILABLE,
    422: INVALID_ARGUMENT,
    425: UNAVAILABLE,
    428: FAILED_PRECONDITION,
    429: RESOURCE_EXHAUSTED,
    431: RESOURCE_EXHAUSTED,
    451: PERMISSION_DENIED,
    499: CANCELLED,
    500: INTERNAL,
    501: UNIMPLEMENTED,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: DEADLINE_EXCEEDED,
}

#: Reasons that say more than their status does.
BY_REASON: Final = {
    "upstream.connect_timeout": UNAVAILABLE,  # nothing was sent: the call may be made again
    "upstream.idle_timeout": UNAVAILABLE,
    "upstream.malformed": INTERNAL,
}

#: What a client makes of an answer that is not gRPC ("HTTP to gRPC Status Code Mapping"); all others are UNKNOWN.
FOREIGN: Final = {
    400: INTERNAL,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: UNIMPLEMENTED,
    429: UNAVAILABLE,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}

#: Error code of a RST_STREAM → status of the call ("PROTOCOL-HTTP2", Errors); all others are INTERNAL.
BY_RESET: Final = {
    5: UNKNOWN,  # STREAM_CLOSED: no mapping
    7: UNAVAILABLE,  # REFUSED_STREAM
    8: CANCELLED,  # CANCEL
    11: RESOURCE_EXHAUSTED,  # ENHANCE_YOUR_CALM
    12: PERMISSION_DENIED,  # INADEQUATE_SECURITY
}

_RESETS: Final = frozenset({"upstream.reset", "upstream.truncated"})

#: Conditions of ``retries.on`` → the status they stand for: ``grpc_unavailable`` …
CONDITIONS: Final = {f"grpc_{name.lower()}": code for code, name in enumerate(NAMES) if code != OK}
_CONDITION_OF: Final = {code: condition for condition, code in CONDITIONS.items()}

_STATUS_VALUES: Final = tuple(b"%d" % code for code in range(len(NAMES)))
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_ENCODED: Final = re.compile(rb"[^ -$&-~]")
_CONTENT_TYPES: Final = {
    "grpc": (b"content-type", b"application/grpc"),
    "grpc-web": (b"content-type", b"application/grpc-web+proto"),
}
_LONGEST_MESSAGE: Final = 512


# --- deadlines --------------------------------------------------------------------------------------------------------


def parse_timeout(value: bytes) -> float | None:
    """Seconds that ``grpc-timeout`` gives: one to eight digits and a unit. None when it is malformed."""
    unit = _UNITS.get(value[-1:])
    digits = value[:-1]
    if unit is None or not digits.isdigit() or len(digits) > 8:
        return None
    return int(digits) * unit


def write_timeout(seconds: float) -> bytes:
    """``seconds`` as a value of ``grpc-timeout``, rounded down: the endpoint never gets more than is left."""
    if seconds < 1.0:
        return b"%du" % max(1, int(seconds * 1e6))
    if seconds < 99_999.0:
        return b"%dm" % int(seconds * 1e3)
    if seconds < 99_999_999.0:
        return b"%dS" % int(seconds)
    return b"%dH" % min(99_999_999, int(seconds / 3600.0))


# --- statuses ---------------------------------------------------------------------------------------------------------


def code_for(status: int, reason: str, reset: int = -1) -> int:
    """The status of a call that the gateway itself ends.

    Args:
        status: What the answer would have over HTTP.
        reason: Of the answer.
        reset: Error code with which the endpoint has reset the stream; -1 when it has not.
    """
    if reset >= 0 and reason in _RESETS:
        return BY_RESET.get(reset, INTERNAL)
    code = BY_REASON.get(reason)
    return BY_STATUS.get(status, UNKNOWN) if code is None else code


def condition_for(code: int) -> str:
    """The name by which ``retries.on`` knows a status; empty for OK."""
    return _CONDITION_OF.get(code, "")


def write_message(text: str) -> bytes:
    """A value of ``grpc-message``: UTF-8, percent-encoded, printable, not endless."""
    return _ENCODED.sub(_percent, text[:_LONGEST_MESSAGE].encode(errors="replace"))


def _percent(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found[0][0]


def status_fields(code: int, reason: str, detail: str, request_id: bytes) -> tuple[Pair, Pair]:
    """The fields that end a call. The message begins with the reason, which is stable."""
    message = f"{reason}: {detail}" if detail and reason else detail or reason
    if request_id:
        message += f" (request {request_id.decode('latin-1')})"
    return (b"grpc-status", _STATUS_VALUES[code]), (b"grpc-message", write_message(message))


def reply_code(reply: Reply, reset: int) -> int:
    """The status that a reply ends a call with. One that brings a ``grpc-status`` of its own keeps it."""
    for name, value in reply.headers:
        if name == b"grpc-status":
            return CODES.get(value, UNKNOWN)
    return code_for(reply.status, reply.reason, reset)


def trailers_only(reply: Reply, protocol: str, reset: int, request_id: bytes) -> ResponseHead:
    """The head of an answer of the gateway's own: the call's status and no message.

    The body of a reply is text for people and its content fields describe it, so they stay behind; its other fields
    go with the answer.
    """
    headers = Headers()
    added = headers.added
    added.append(_CONTENT_TYPES[protocol])
    detail = reply.detail or f"HTTP status {reply.status}"
    for pair in status_fields(reply_code(reply, reset), reply.reason, detail, request_id):
        if not any(name == pair[0] for name, _ in reply.headers):
            added.append(pair)
    added.extend(pair for pair in reply.headers if not pair[0].startswith(b"content-"))
    return ResponseHead(200, headers)


# cold: once for each request that cannot be read
def refusal(error: ProtocolError) -> ResponseHead:
    """The answer to a call that could not be read."""
    _, title = REASONS.get(error.reason, (0, ""))
    return trailers_only(Reply(error.status, error.reason, detail=error.detail or title), "grpc", -1, b"")


def pushback(retry_after: bytes) -> bytes | None:
    """``grpc-retry-pushback-ms`` for a ``Retry-After`` in seconds; None for a date."""
    return b"%d" % (1000 * int(retry_after)) if retry_after.isdigit() and len(retry_after) <= 6 else None


def code_of(status: int, fields: Fields) -> int:
    """The status that a response's head tells; -1 when it stands in the trailers, which are still to come. Hot."""
    value = fields.index.get(b"grpc-status")
    if value is not None:
        return CODES.get(value, UNKNOWN)
    return -1 if status == 200 else FOREIGN.get(status, UNKNOWN)
