"""What requests are counted, sorted or cached by: from the words of a configuration to bytes.

Keys of different kinds begin with different octets, so that no consumer can be named like somebody's address. Long
values are replaced by their digest: a key is never longer than 66 octets.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from ipaddress import IPv6Address
from typing import TypeAlias

from gatewright.http.headers import TOKEN_OCTETS
from gatewright.sdk.env import Env, Expression
from gatewright.sdk.exchange import CREDENTIAL, Consumer, ExchangeView
from gatewright.sdk.lookup import cookies

KeyOf: TypeAlias = Callable[[ExchangeView], bytes]

_MOST_OCTETS = 64
_MOST_REMEMBERED = 4096


class Keys:
    """Compiles ``by``: consumer, credential, address, route, global, ``header:NAME``, ``cookie:NAME`` or CEL.

    A request that has no such thing has the key of its address.

    Raises ValueError when ``by`` is none of these.
    """

    __slots__ = ("_addresses", "_by", "_consumers", "_drop_bits", "_expression", "_name")

    def __init__(self, by: str, env: Env, ipv6_prefix: int = 64) -> None:
        kind, colon, name = by.partition(":")
        self._by = kind if colon and kind in {"header", "cookie"} else by
        self._name = (name.lower() if kind == "header" else name).encode()
        self._drop_bits = 128 - ipv6_prefix
        # Both are emptied when full, so that a flood of addresses cannot grow a worker.
        self._addresses: dict[str, bytes] = {}
        self._consumers: dict[Consumer, bytes] = {}
        self._expression: Expression | None = None
        if self._by in {"header", "cookie"} and (not self._name or self._name.translate(None, TOKEN_OCTETS)):
            raise ValueError(f"'{by}' does not name a {kind}")
        if self._by not in _METHODS:
            if by.isidentifier():
                raise ValueError(f"there is no '{by}' to count by; there are {', '.join(_METHODS)} and CEL expressions")
            self._expression = env.expression(by)

    def choose(self) -> KeyOf:
        """The function that finds an exchange's key."""
        method: KeyOf = getattr(self, _METHODS.get(self._by, "by_expression"))
        return method

    def by_address(self, ex: ExchangeView) -> bytes:
        """The client's address; of IPv6 the network's part."""
        address = ex.client_addr
        key = self._addresses.get(address)
        if key is None:
            if len(self._addresses) >= _MOST_REMEMBERED:
                self._addresses.clear()
            key = self._addresses[address] = self._network(address)
        return key

    def _network(self, address: str) -> bytes:
        if ":" not in address:
            return b"a" + address.encode()[:_MOST_OCTETS]
        try:
            number = int(IPv6Address(address.partition("%")[0]))
        except ValueError:
            return b"a" + address.encode()[:_MOST_OCTETS]
        return b"6%x" % (number >> self._drop_bits)

    def by_consumer(self, ex: ExchangeView) -> bytes:
        """The consumer's name."""
        consumer = ex.consumer
        if consumer is None:
            return self.by_address(ex)
        key = self._consumers.get(consumer)
        if key is None:
            if len(self._consumers) >= _MOST_REMEMBERED:
                self._consumers.clear()
            key = self._consumers[consumer] = _short(b"c", consumer.name.encode())
        return key

    def by_credential(self, ex: ExchangeView) -> bytes:
        """The digest of the credential that was used."""
        digest = ex.vars.get(CREDENTIAL)
        return self.by_address(ex) if digest is None else _short(b"d", digest)

    def by_route(self, ex: ExchangeView) -> bytes:
        """The route."""
        return _short(b"r", ex.route_name.encode())

    def by_global(self, _: ExchangeView) -> bytes:
        """One key for all."""
        return b"*"

    def by_header(self, ex: ExchangeView) -> bytes:
        """The first value of a header field."""
        value = ex.request.headers.get(self._name)
        return _short(b"h", value) if value else self.by_address(ex)

    def by_cookie(self, ex: ExchangeView) -> bytes:
        """The first value of a cookie."""
        values = cookies(ex.request.headers, self._name)
        return _short(b"k", values[0]) if values and values[0] else self.by_address(ex)

    def by_expression(self, ex: ExchangeView) -> bytes:
        """What the expression says, as text."""
        try:
            value = self._expression(ex) if self._expression is not None else None
        except ValueError:
            value = None
        if value is None or value == "":
            return self.by_address(ex)
        return _short(b"e", str(value).encode(errors="backslashreplace"))


_METHODS = {
    "consumer": "by_consumer",
    "credential": "by_credential",
    "address": "by_address",
    "route": "by_route",
    "global": "by_global",
    "header": "by_header",
    "cookie": "by_cookie",
}


def _short(kind: bytes, value: bytes) -> bytes:
    if len(value) <= _MOST_OCTETS:
        return kind + value
    return kind.upper() + blake2b(value, digest_size=16).digest()
