"""Header values with places to fill: ``{consumer.name}``, ``{request.header.x-tenant}``, ``{param.id}``.

A template is taken apart once, when the configuration is compiled; what is left for a request is one join. What a
request does not have is empty. Octets that a field value may not hold are left out, so that nothing a client sends
can end a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import TypeAlias

from gatewright.http.headers import VALUE_OCTETS
from gatewright.sdk.exchange import ExchangeView
from gatewright.sdk.lookup import cookies, query_values

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_ILLEGAL = bytes(set(range(256)) - set(VALUE_OCTETS))

Getter: TypeAlias = Callable[[ExchangeView, bytes], bytes]


class Template:
    """A compiled template.

    Args:
        source: Text with places; ``{{`` and ``}}`` stand for the braces themselves.
        response: Whether ``{response.…}`` may be used.

    Raises:
        ValueError: A brace is left open, or a name is not known; the message says which are.
    """

    __slots__ = ("_pieces", "constant")

    def __init__(self, source: str, *, response: bool = False) -> None:
        pieces: list[bytes | tuple[Getter, bytes]] = []
        text, last = "", 0
        for found in _PLACE.finditer(source):
            text += source[last : found.start()]
            last = found.end()
            if found[0] in {"{{", "}}"}:
                text += found[0][0]
            elif found[1] is None:
                raise ValueError(f"'{source}' has a brace that is not closed or not opened; write {{{{ or }}}} for one")
            else:
                pieces += [text.encode(), _getter(found[1], response)]
                text = ""
        pieces.append((text + source[last:]).encode())
        self._pieces = tuple(piece for piece in pieces if piece)
        #: The value when it is always the same, else None.
        self.constant: bytes | None = None
        if not any(isinstance(piece, tuple) for piece in self._pieces):
            self.constant = b"".join(piece for piece in self._pieces if isinstance(piece, bytes))

    def render(self, ex: ExchangeView) -> bytes:
        """The value for this exchange; may be empty. Hot."""
        if self.constant is not None:
            return self.constant
        out = [piece if isinstance(piece, bytes) else piece[0](ex, piece[1]) for piece in self._pieces]
        value = out[0] if len(out) == 1 else b"".join(out)
        return value.translate(None, _ILLEGAL).strip(b" \t")


def _method(ex: ExchangeView, _: bytes) -> bytes:
    return ex.request.method


def _path(ex: ExchangeView, _: bytes) -> bytes:
    return ex.request.path


def _query(ex: ExchangeView, _: bytes) -> bytes:
    return ex.request.query or b""


def _host(ex: ExchangeView, _: bytes) -> bytes:
    return ex.request.host


def _scheme(ex: ExchangeView, _: bytes) -> bytes:
    return ex.request.scheme


def _request_id(ex: ExchangeView, _: bytes) -> bytes:
    return ex.request_id


def _address(ex: ExchangeView, _: bytes) -> bytes:
    return ex.client_addr.encode()


def _route(ex: ExchangeView, _: bytes) -> bytes:
    return ex.route_name.encode()


def _consumer(ex: ExchangeView, _: bytes) -> bytes:
    return ex.consumer.name.encode() if ex.consumer is not None else b""


def _groups(ex: ExchangeView, _: bytes) -> bytes:
    return ",".join(sorted(ex.consumer.groups)).encode() if ex.consumer is not None else b""


def _status(ex: ExchangeView, _: bytes) -> bytes:
    return b"%d" % ex.response.status if ex.response is not None else b""


def _request_header(ex: ExchangeView, name: bytes) -> bytes:
    return ex.request.headers.get(name) or b""


def _response_header(ex: ExchangeView, name: bytes) -> bytes:
    return (ex.response.headers.get(name) or b"") if ex.response is not None else b""


def _query_value(ex: ExchangeView, name: bytes) -> bytes:
    return next(iter(query_values(ex.request.query, name)), b"")


def _cookie(ex: ExchangeView, name: bytes) -> bytes:
    return next(iter(cookies(ex.request.headers, name)), b"")


def _param(ex: ExchangeView, name: bytes) -> bytes:
    return ex.params.get(name, b"")


def _metadata(ex: ExchangeView, name: bytes) -> bytes:
    return ex.consumer.metadata.get(name.decode(), "").encode() if ex.consumer is not None else b""


_NAMES: dict[str, Getter] = {
    "client.address": _address,
    "consumer.groups": _groups,
    "consumer.name": _consumer,
    "request.host": _host,
    "request.id": _request_id,
    "request.method": _method,
    "request.path": _path,
    "request.query": _query,
    "request.scheme": _scheme,
    "response.status": _status,
    "route.name": _route,
}
_FAMILIES: dict[str, Getter] = {
    "consumer.metadata.": _metadata,
    "param.": _param,
    "request.cookie.": _cookie,
    "request.header.": _request_header,
    "request.query.": _query_value,
    "response.header.": _response_header,
}


def _getter(name: str, response: bool) -> tuple[Getter, bytes]:
    if name.startswith("response.") and not response:
        raise ValueError(f"{{{name}}} is not known yet when the request goes upstream")
    plain = _NAMES.get(name)
    if plain is not None:
        return plain, b""
    for prefix, getter in _FAMILIES.items():
        rest = name.removeprefix(prefix)
        if rest not in {name, ""}:
            return getter, (rest.lower() if "header" in prefix else rest).encode()
    near = get_close_matches(name, _NAMES, 1)
    known = ", ".join(sorted([*_NAMES, *(f"{family}NAME" for family in _FAMILIES)]))
    raise ValueError(f"there is no {{{name}}}" + (f"; did you mean {{{near[0]}}}?" if near else f"; known are {known}"))
