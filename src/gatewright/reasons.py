"""The closed list of reasons the core gives for an answer of its own. Policies add ``<policy>.<code>``.

A reason is stable: it is the same in the body, in the access log (``reason``) and in the metrics.
"""

from __future__ import annotations

#: reason → (status, title). The title is the problem document's; it never says what only an operator may know.
REASONS: dict[str, tuple[int, str]] = {
    "request.malformed": (400, "The request is malformed"),
    "request.ambiguous": (400, "The request could be read in two ways"),
    "request.host": (400, "The Host header field is missing, repeated or malformed"),
    "request.target": (400, "The request target is malformed"),
    "request.method": (400, "The method is malformed"),
    "request.version": (505, "The HTTP version is not supported"),
    "request.transfer_coding": (501, "The transfer coding is not supported"),
    "request.timeout": (408, "The request was not received in time"),
    "request.body_timeout": (408, "The request body was not received in time"),
    "request.body_too_large": (413, "The request body is too large"),
    "request.target_too_long": (414, "The request target is too long"),
    "request.headers_too_large": (431, "The header section is too large"),
    "request.expectation": (417, "The expectation cannot be met"),
    "request.misdirected": (421, "The connection is not meant for this host"),
    "request.plain_http": (400, "This port speaks HTTP over TLS only: use https"),
    "request.tunnel": (501, "CONNECT is not supported"),
    "listener.connections": (503, "Too many connections"),
    "listener.draining": (503, "The gateway is shutting down"),
    "request.grpc_timeout": (400, "The grpc-timeout field is malformed"),
    "route.none": (404, "No route matches"),
    "route.method": (405, "The method is not allowed here"),
    "route.timeout": (504, "The request took too long"),
    "upstream.none": (503, "No endpoint is available"),
    "upstream.unhealthy": (503, "No healthy endpoint is available"),
    "upstream.circuit_open": (503, "The upstream is not being called for a while"),
    "upstream.overloaded": (503, "The upstream has no free connection"),
    "upstream.connect": (502, "The upstream could not be reached"),
    "upstream.connect_timeout": (504, "The upstream could not be reached in time"),
    "upstream.tls": (502, "No secure connection to the upstream could be made"),
    "upstream.protocol": (502, "The upstream does not speak the protocol it should"),
    "upstream.reset": (502, "The upstream closed the connection before answering"),
    "upstream.timeout": (504, "The upstream did not answer in time"),
    "upstream.malformed": (502, "The upstream's answer is malformed"),
    "upstream.truncated": (502, "The upstream's answer ended early"),
    "upstream.idle_timeout": (504, "The upstream stopped sending"),
    "client.deadline": (504, "The client's deadline has passed"),
    "client.gone": (499, "The client closed the connection"),
    "client.stalled": (499, "The client stopped reading"),
    "plugin.failed": (500, "A plugin failed"),
    "internal.error": (500, "The gateway failed"),
}
