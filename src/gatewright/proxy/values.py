"""What expressions see of an exchange, as values of CEL. For expressions that need the library.

Octets are read as UTF-8; what is none becomes U+FFFD, so that every value is a text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gatewright.http.target import parse_query
from gatewright.tls.identity import NOBODY

if TYPE_CHECKING:
    from gatewright.http.headers import Headers
    from gatewright.sdk.exchange import ExchangeView

#: The fields of each name; none means that any may be there.
FIELDS: dict[str, frozenset[str]] = {
    "request": frozenset({"method", "path", "host", "scheme", "query", "headers", "params", "client_certificate"}),
    "response": frozenset({"status", "headers"}),
    "client": frozenset({"address"}),
    "consumer": frozenset({"name", "groups"}),
    "identity": frozenset(),
    "route": frozenset({"name"}),
}


def text(value: bytes) -> str:
    """Octets as an expression sees them."""
    return value.decode("utf-8", "replace")


def _texts(values: dict[bytes, bytes]) -> dict[str, str]:
    return {text(name): text(value) for name, value in values.items()}


def _headers(headers: Headers) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        found.setdefault(text(name), text(value))
    return found


def _query(ex: ExchangeView) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, values in parse_query(ex.request.query).items():
        found.setdefault(text(name), text(values[0]))
    return found


def _client_certificate(ex: ExchangeView) -> dict[str, Any]:
    certificate = ex.client_certificate
    return NOBODY if certificate is None else certificate.values()


_REQUEST: dict[str, Callable[[ExchangeView], Any]] = {
    "method": lambda ex: text(ex.request.method),
    "path": lambda ex: text(ex.request.path),
    "host": lambda ex: text(ex.request.host),
    "scheme": lambda ex: text(ex.request.scheme),
    "query": _query,
    "headers": lambda ex: _headers(ex.request.headers),
    "params": lambda ex: _texts(ex.params),
    "client_certificate": _client_certificate,
}


def request_values(ex: ExchangeView, fields: frozenset[str]) -> dict[str, Any] | None:
    """``request``: only the fields that the expression names."""
    return {field: _REQUEST[field](ex) for field in fields}


def response_values(ex: ExchangeView, fields: frozenset[str]) -> dict[str, Any] | None:
    """``response``; None while there is none."""
    response = ex.response
    if response is None:
        return None
    return {"status": response.status, "headers": _headers(response.headers) if "headers" in fields else {}}


def client_values(ex: ExchangeView, _fields: frozenset[str]) -> dict[str, Any] | None:
    """``client``."""
    return {"address": ex.client_addr}


def consumer_values(ex: ExchangeView, _fields: frozenset[str]) -> dict[str, Any] | None:
    """``consumer``: an empty name and no groups while none is known."""
    consumer = ex.consumer
    if consumer is None:
        return {"name": "", "groups": []}
    return {"name": consumer.name, "groups": sorted(consumer.groups)}


def identity_values(ex: ExchangeView, _fields: frozenset[str]) -> dict[str, Any] | None:
    """``identity``: what an identifying policy left in ``ex.vars["identity"]``."""
    identity = ex.vars.get("identity")
    return identity if isinstance(identity, dict) else {}


def route_values(ex: ExchangeView, _fields: frozenset[str]) -> dict[str, Any] | None:
    """``route``."""
    return {"name": ex.route_name}


#: Name → what makes its value; None leaves the name undefined.
BUILD: dict[str, Callable[[ExchangeView, frozenset[str]], dict[str, Any] | None]] = {
    "request": request_values,
    "response": response_values,
    "client": client_values,
    "consumer": consumer_values,
    "identity": identity_values,
    "route": route_values,
}
