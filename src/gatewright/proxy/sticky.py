"""Sticky sessions: a cookie that leads a client back to the endpoint that served it before.

The cookie's value is a keyed hash of the endpoint's key, so it names the endpoint and shows nothing of its address. It
is the same in all workers and after a restart as long as the key is. Without a key of the installation's own it is a
plain digest: not readable, but an address that can be guessed can be confirmed.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatewright.proxy.endpoints import Endpoint
    from gatewright.proxy.exchange import Exchange
    from gatewright.sdk.exchange import ExchangeView
    from gatewright.snapshot.model import Sticky as StickySpec


def cookie_value(field: bytes, name: bytes) -> bytes | None:
    """The value of a cookie in one ``Cookie`` field, or None (RFC 6265 section 5.4). Quotes stay as they are."""
    for pair in field.split(b";"):
        found, equals, value = pair.partition(b"=")
        if equals and found.strip(b" \t") == name:
            return value.strip(b" \t")
    return None


def endpoint_id(secret: bytes, upstream: str, key: str) -> bytes:
    """What the cookie says for an endpoint: 16 hexadecimal digits."""
    text = f"{upstream}\0{key}".encode()
    return blake2b(text, digest_size=8, key=secret[:64], person=b"gw-sticky").hexdigest().encode()


class Sticky:
    """The cookie of one upstream."""

    __slots__ = ("_attributes", "_name", "_secret", "_upstream")

    def __init__(self, spec: StickySpec, upstream: str, secret: bytes = b"") -> None:
        self._name = spec.cookie.encode()
        self._upstream = upstream
        self._secret = secret
        attributes = [f"; Path={spec.path}"]
        if spec.ttl is not None:
            attributes.append(f"; Max-Age={int(spec.ttl)}")
        if spec.secure:
            attributes.append("; Secure")
        if spec.http_only:
            attributes.append("; HttpOnly")
        if spec.same_site:
            attributes.append(f"; SameSite={spec.same_site}")
        self._attributes = "".join(attributes).encode()

    def identify(self, key: str) -> bytes:
        """The cookie's value for an endpoint."""
        return endpoint_id(self._secret, self._upstream, key)

    def wanted(self, ex: ExchangeView) -> bytes | None:
        """The value the client sent, or None. A second Cookie field is looked at when the first does not have it."""
        headers = ex.request.headers
        field = headers.get(b"cookie")
        if field is None:
            return None
        value = cookie_value(field, self._name)
        if value is None:
            for field in headers.all(b"cookie")[1:]:
                value = cookie_value(field, self._name)
                if value is not None:
                    break
        return value

    def set_cookie(self, ex: ExchangeView, endpoint: Endpoint) -> bytes | None:
        """The ``Set-Cookie`` value for the response, or None when the client has the right cookie already."""
        if self.wanted(ex) == endpoint.id:
            return None
        return b"%b=%b%b" % (self._name, endpoint.id, self._attributes)

    def on_response(self, ex: Exchange) -> None:
        """Add the cookie to the endpoint's answer, when the client needs it."""
        endpoint, response = ex.endpoint, ex.response
        if endpoint is None or response is None:
            return
        cookie = self.set_cookie(ex, endpoint)
        if cookie is not None:
            response.headers.add(b"set-cookie", cookie)
