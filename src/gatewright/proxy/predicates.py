"""Predicates of a route: what a request must have besides host, path and method.

Each is an object that says yes or no when it is called with an exchange, and what it wants and what it saw when it is
asked. Everything configured is compiled; a query or a cookie header is only parsed when a predicate looks at it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Protocol, TypeAlias

from gatewright.http.fields import parse_cookies
from gatewright.http.target import parse_query
from gatewright.proxy.expression import compile_expression

if TYPE_CHECKING:
    from gatewright.proxy.expression import Expression
    from gatewright.sdk.exchange import ExchangeView
    from gatewright.snapshot.model import Match, Predicate

_MOST_ADDRESSES = 4096  # client addresses remembered per source predicate
_MOST_SHOWN = 100  # octets of a value that an explanation shows


class Test(Protocol):
    """A compiled predicate."""

    def __call__(self, ex: ExchangeView) -> bool:
        """Whether the exchange's request fulfils it. Hot."""

    def describe(self) -> str:
        """What it wants, for an explanation."""

    def saw(self, ex: ExchangeView) -> str:
        """What the request has in its place, for an explanation."""


def query_values(ex: ExchangeView, name: bytes) -> list[bytes]:
    """All values of a query parameter."""
    query = ex.request.query
    return parse_query(query).get(name, []) if query else []


def cookie_values(ex: ExchangeView, name: bytes) -> list[bytes]:
    """All values of a cookie."""
    headers = ex.request.headers
    return parse_cookies(headers.all(b"cookie")).get(name, []) if b"cookie" in headers else []


def header_values(ex: ExchangeView, name: bytes) -> list[bytes]:
    """All values of a header field."""
    headers = ex.request.headers
    return headers.all(name) if name in headers else []


Read: TypeAlias = "Callable[[ExchangeView, bytes], list[bytes]]"
_READ: dict[str, Read] = {"header": header_values, "query parameter": query_values, "cookie": cookie_values}


class Named:
    """What the predicates on a header field, query parameter or cookie have in common: that it is there."""

    __slots__ = ("kind", "name", "read")

    def __init__(self, kind: str, name: bytes) -> None:
        self.kind = kind
        self.name = name
        self.read = _READ[kind]

    def __call__(self, ex: ExchangeView) -> bool:
        """Whether it is there."""
        return bool(self.read(ex, self.name))

    def describe(self) -> str:
        """What is wanted."""
        return f"{self.kind} {_show(self.name)} is present"

    def saw(self, ex: ExchangeView) -> str:
        """The values the request has."""
        values = self.read(ex, self.name)
        return ", ".join(map(_show, values)) if values else "absent"


class Absent(Named):
    """It is not there."""

    __slots__ = ()

    def __call__(self, ex: ExchangeView) -> bool:
        """Whether it is not there."""
        return not self.read(ex, self.name)

    def describe(self) -> str:
        """What is wanted."""
        return f"{self.kind} {_show(self.name)} is absent"


class Equal(Named):
    """One of its values is equal to a text."""

    __slots__ = ("value",)

    def __init__(self, kind: str, name: bytes, value: bytes) -> None:
        super().__init__(kind, name)
        self.value = value

    def __call__(self, ex: ExchangeView) -> bool:
        """Whether one of the values is equal."""
        return self.value in self.read(ex, self.name)

    def describe(self) -> str:
        """What is wanted."""
        return f"{self.kind} {_show(self.name)} is {_show(self.value)!r}"


class HeaderEqual(Equal):
    """The same for a header field, whose first value is at hand. Saves 0.9 us a request when it is equal."""

    __slots__ = ()

    def __call__(self, ex: ExchangeView) -> bool:
        """Whether one of the values is equal."""
        value = ex.request.headers.get(self.name)
        return value is not None and (value == self.value or self.value in self.read(ex, self.name))


class Found(Named):
    """A regular expression is found in one of its values."""

    __slots__ = ("regex",)

    def __init__(self, kind: str, name: bytes, regex: re.Pattern[bytes]) -> None:
        super().__init__(kind, name)
        self.regex = regex

    def __call__(self, ex: ExchangeView) -> bool:
        """Whether the expression is found in one of the values."""
        return any(map(self.regex.search, self.read(ex, self.name)))

    def describe(self) -> str:
        """What is wanted."""
        return f"{self.kind} {_show(self.name)} matches {_show(self.regex.pattern)!r}"


class Networks:
    """The client's address is in one of these networks."""

    __slots__ = ("_known", "_shifts", "texts")

    def __init__(self, networks: Sequence[str]) -> None:
        """Raises ValueError for what is not a network."""
        self.texts = tuple(networks)
        #: (version, bits that do not count) → networks as numbers without those bits.
        self._shifts: dict[tuple[int, int], set[int]] = {}
        self._known: dict[str, bool] = {}
        for text in networks:
            network = ip_network(text.strip("[]"), strict=False)
            shift = network.max_prefixlen - network.prefixlen
            self._shifts.setdefault((network.version, shift), set()).add(int(network.network_address) >> shift)

    def __contains__(self, address: str) -> bool:
        """Whether an address, as text, is in one of the networks. Hot."""
        known = self._known.get(address)
        return self._look_up(address) if known is None else known

    def _look_up(self, address: str) -> bool:
        try:
            ip = ip_address(address.partition("%")[0])
        except ValueError:  # a unix socket has no address
            return False
        if ip.version == 6 and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        number, version = int(ip), ip.version
        found = any(number >> shift in known for (of, shift), known in self._shifts.items() if of == version)
        if len(self._known) >= _MOST_ADDRESSES:
            self._known.clear()
        self._known[address] = found
        return found


class From:
    """The request comes from one of these networks."""

    __slots__ = ("networks",)

    def __init__(self, networks: Networks) -> None:
        self.networks = networks

    def __call__(self, ex: ExchangeView) -> bool:
        """Whether the client's address is in one of the networks."""
        return ex.client_addr in self.networks

    def describe(self) -> str:
        """What is wanted."""
        return f"client address is in {', '.join(self.networks.texts)}"

    def saw(self, ex: ExchangeView) -> str:
        """The client's address."""
        return ex.client_addr or "no address"


class When:
    """An expression holds. One that cannot be evaluated does not."""

    __slots__ = ("expression",)

    def __init__(self, expression: Expression) -> None:
        self.expression = expression

    def __call__(self, ex: ExchangeView) -> bool:
        """Whether the expression is true."""
        try:
            return self.expression(ex) is True
        except ValueError:
            return False

    def describe(self) -> str:
        """What is wanted."""
        return f"when: {self.expression.source}"

    def saw(self, ex: ExchangeView) -> str:
        """The value of the expression."""
        try:
            value = self.expression(ex)
        except ValueError as error:
            return f"error: {error}"
        return "false" if value is False else f"{value!r}, which is not true"


def compile_named(kind: str, predicate: Predicate) -> Test:
    """Compile a predicate on a ``header``, ``query parameter`` or ``cookie``. Raises ValueError for a bad regex."""
    name = predicate.name.encode()
    if kind == "header":
        name = name.lower()
    if predicate.absent:
        return Absent(kind, name)
    if predicate.regex is not None:
        try:
            return Found(kind, name, re.compile(predicate.regex.encode()))
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}: {predicate.regex}") from None
    if predicate.value is None:
        return Named(kind, name)
    return (HeaderEqual if kind == "header" else Equal)(kind, name, predicate.value.encode())


def compile_tests(match: Match) -> tuple[Test, ...]:
    """All predicates of a route, in the order in which they are tried. Raises ValueError for what cannot work."""
    tests: list[Test] = [compile_named("header", predicate) for predicate in match.headers]
    tests += [compile_named("query parameter", predicate) for predicate in match.query]
    tests += [compile_named("cookie", predicate) for predicate in match.cookies]
    if match.sources:
        tests.append(From(Networks(match.sources)))
    if match.when:
        tests.append(When(compile_expression(match.when)))
    return tuple(tests)


def _show(value: bytes) -> str:
    text = value.decode("utf-8", "replace")
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…"
