"""One request through the real router, policies and upstreams, with nothing sent: what ``explain`` reports.

The head is parsed, the client found behind trusted proxies, the route matched and the hooks called by the code that
serves, on a runtime compiled from the files. Only what would wait or connect is left out. Counters, limits and health
are those of a gateway that has just started.
"""

from __future__ import annotations

import inspect
from typing import Any, cast
from urllib.parse import urlsplit

from gatewright.cli.load import Loaded
from gatewright.errors import ProtocolError
from gatewright.http.forwarding import trace_back
from gatewright.http.head import RequestHead
from gatewright.http.headers import Headers
from gatewright.http.reply import Reply
from gatewright.http.target import parse_authority, split_target
from gatewright.proxy import grpc
from gatewright.proxy.exchange import Exchange
from gatewright.proxy.explain import explain
from gatewright.proxy.expression import compile_expression
from gatewright.proxy.forward import request_head
from gatewright.proxy.grpc_exchange import GrpcExchange
from gatewright.proxy.grpc_web_exchange import GrpcWebExchange
from gatewright.proxy.ports import Downstream
from gatewright.proxy.respond import core_reply
from gatewright.proxy.runtime import ListenerRuntime, Route
from gatewright.sdk.policy import overrides
from gatewright.tls.client import shown
from gatewright.wire.h1 import RequestFields, parse_request_line

Report = dict[str, Any]

#: What a call is served as. The text of a request is that of HTTP/1.1; gRPC itself comes over HTTP/2 only.
_KINDS: dict[str, type[Exchange]] = {"grpc": GrpcExchange, "grpc-web": GrpcWebExchange}


def dry_run(loaded: Loaded, listener: ListenerRuntime, head: tuple[bytes, bytes], address: str) -> Report:
    """Explain the request whose line and header section are ``head``, as if it came from ``address``.

    A request that would be refused before routing gives ``refused`` and nothing else.
    """
    report: Report = {"listener": listener.name}
    try:
        exchange = begin(loaded, listener, head, address)
    except ProtocolError as error:
        report["refused"] = {"status": error.status, "reason": error.reason, "detail": error.detail}
        return report
    report["client"] = exchange.client_addr
    report["routing"] = explain(listener.router, exchange).as_dict()
    entry = listener.router.match(exchange)
    if entry is not None:
        exchange.route = entry.route
    route = exchange.route
    report["protocol"] = exchange.protocol
    report["policies"] = [_policy(exchange, route, at) for at in range(len(route.policies))]
    answered = next((policy["answer"] for policy in report["policies"] if "answer" in policy), None)
    if isinstance(exchange, GrpcExchange) and not exchange.find_deadline():
        answered = _answer(exchange, core_reply("request.grpc_timeout"))
    if route.action is not None:
        report["answer"] = answered or _answer(exchange, route.action(exchange))
        return report
    if answered is not None:
        report["answer"] = answered
    report |= _upstream(exchange, route, loaded.world.clock())
    return report


def request(method: str, url: str, headers: list[str]) -> tuple[bytes, bytes]:
    """Request line and header section as a client would send them; Host comes from the URL unless it is given."""
    parts = urlsplit(url if "://" in url or url.startswith("/") else f"http://{url}")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [header.replace(":", ": ", 1).replace(":  ", ": ") for header in headers]
    if not any(line.lower().startswith("host:") for line in lines):
        lines.insert(0, f"host: {parts.netloc or 'localhost'}")
    return f"{method.upper()} {target} HTTP/1.1".encode(), "\r\n".join(lines).encode()


def begin(loaded: Loaded, listener: ListenerRuntime, head: tuple[bytes, bytes], address: str) -> Exchange:
    """The exchange as the client's connection would begin it. Raises ProtocolError."""
    method, target, version = parse_request_line(head[0])
    fields = RequestFields(head[1], listener.spec.limits.headers)
    if fields.host is None:
        raise ProtocolError("request.host", 400, "an HTTP/1.1 request needs a Host")
    path, query, authority, _ = split_target(method, target)
    host = parse_authority(authority or fields.host)
    origin = trace_back(address, b"http", fields.host, fields, listener.trust)
    named = authority or fields.host
    parsed = RequestHead(method, target, path, query, named, host, origin.scheme, version, Headers(fields))
    nobody = cast("Downstream", None)  # nothing is answered, so nobody is needed to take it
    kind = _KINDS.get(fields.call, Exchange) if method == b"POST" else Exchange
    exchange = kind(loaded.world, nobody, listener, parsed, origin, fields.framing)
    if fields.upgrade == b"websocket":
        exchange.protocol = "websocket"
    return exchange


def _policy(exchange: Exchange, route: Route, at: int) -> Report:
    """What one policy does with the request. Later ones are asked too, although an answer would end it."""
    policy, spec = route.policies[at], _specs(route)[at]
    report: Report = {"policy": policy.name, "stage": policy.stage, "when": spec.when, "outcome": "goes on"}
    if not overrides(policy, "on_request"):
        report["outcome"] = "acts on the response"
        return report
    if spec.when:
        try:
            if not compile_expression(spec.when)(exchange):
                report["outcome"] = "skipped"
                return report
        except ValueError as error:
            report["outcome"] = f"skipped: {error}"
            return report
    number = sum(overrides(other, "on_request") for other in route.policies[:at])
    hook = route.request_chain[number]
    try:
        out = hook(exchange)
    except Exception as error:  # noqa: BLE001 - as when it serves
        out = route.failed(hook, error)
    if isinstance(out, Reply):
        report["outcome"], report["answer"] = "answers", _answer(exchange, out)
    elif out is not None:
        report["outcome"] = "waits (not run here)"
        if inspect.iscoroutine(out):
            out.close()
    return report


def _specs(route: Route) -> Any:
    """The settings of a route's policies; those of all routes where no route matches."""
    return route.spec.policies


def _answer(exchange: Exchange, reply: Reply) -> Report:
    headers = [f"{_text(name)}: {_text(value)}" for name, value in reply.headers]
    report: Report = {"status": reply.status, "reason": reply.reason, "headers": headers}
    if isinstance(exchange, GrpcExchange):
        report["grpc_status"] = grpc.NAMES[grpc.reply_code(reply, exchange.reset_code)]
    return report


def _upstream(exchange: Exchange, route: Route, now: float) -> Report:
    """Where the request would go, and as what."""
    request = exchange.request
    exchange.path = request.path if route.rewrite is None else route.rewrite(exchange)
    exchange.upstream = upstream = route.upstream or route.choose(exchange)
    endpoint = upstream.pick(exchange, now)
    report: Report = {
        "upstream": {
            "name": upstream.name,
            "protocol": upstream.spec.protocol,
            "balance": upstream.spec.balance.algorithm,
            "splits": [{"upstream": split.upstream, "weight": split.weight} for split in route.spec.to],
            "endpoints": [
                {
                    "endpoint": spec.key,
                    "weight": spec.weight,
                    "zone": spec.zone,
                    "tls": shown(upstream.spec.tls, spec),
                }
                for spec in upstream.spec.endpoints
            ],
            "picked": endpoint.key if endpoint is not None else "",
        }
    }
    if endpoint is not None:
        exchange.endpoint = endpoint
        _set_deadline(exchange, upstream.spec.timeouts.total)
        line, *fields = b"".join(request_head(exchange)).rstrip(b"\r\n").split(b"\r\n")
        if upstream.spec.protocol != "http1":
            line = line.replace(b"HTTP/1.1", b"HTTP/2")
            fields[0] = b":authority" + fields[0].removeprefix(b"host")
            if exchange.protocol in grpc.PROTOCOLS:
                fields.append(b"te: trailers")
        path = _text(line.split(b" ")[1])
        report["sent"] = {
            "url": f"{endpoint.scheme}://{_text(endpoint.authority)}{path}",
            "line": _text(line),
            "headers": [_text(field) for field in fields],
        }
    return report


def _set_deadline(exchange: Exchange, limit: float | None) -> None:
    """Write the time that a gRPC call has, as when it is sent at once."""
    if isinstance(exchange, GrpcExchange):
        if limit is not None:
            exchange.shorten(limit)
        if exchange.total is not None and not exchange.by_client:
            exchange.request.headers.set(b"grpc-timeout", grpc.write_timeout(exchange.total))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
