"""Conditions over an exchange: what simple expressions are compiled to.

Each is an object that is called with the exchange and reads its bytes. They mean what CEL means: a text that is not
there is an error (ValueError), and an error on one side of a junction does not count when the other side decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from gatewright.http.target import parse_query

if TYPE_CHECKING:
    from gatewright.sdk.exchange import ExchangeView

Condition: TypeAlias = "Callable[[ExchangeView], bool]"
#: Gives the octets of a text; raises ValueError when it is not there.
Text: TypeAlias = "Callable[[ExchangeView], bytes]"


class Constant:
    """``true`` or ``false``."""

    __slots__ = ("value",)

    def __init__(self, value: bool) -> None:
        self.value = value

    def __call__(self, _ex: ExchangeView) -> bool:
        """Evaluate."""
        return self.value


class Not:
    """``!a``."""

    __slots__ = ("condition",)

    def __init__(self, condition: Condition) -> None:
        self.condition = condition

    def __call__(self, ex: ExchangeView) -> bool:
        """Evaluate."""
        return not self.condition(ex)


class And:
    """``a && b``: an error on one side does not count when the other is false."""

    __slots__ = ("left", "right")

    def __init__(self, left: Condition, right: Condition) -> None:
        self.left = left
        self.right = right

    def __call__(self, ex: ExchangeView) -> bool:
        """Evaluate."""
        try:
            if not self.left(ex):
                return False
        except ValueError:
            if not self.right(ex):
                return False
            raise
        return self.right(ex)


class Or:
    """``a || b``: an error on one side does not count when the other is true."""

    __slots__ = ("left", "right")

    def __init__(self, left: Condition, right: Condition) -> None:
        self.left = left
        self.right = right

    def __call__(self, ex: ExchangeView) -> bool:
        """Evaluate."""
        try:
            if self.left(ex):
                return True
        except ValueError:
            if self.right(ex):
                return True
            raise
        return self.right(ex)


class Equal:
    """``text == 'literal'``."""

    __slots__ = ("read", "value")

    def __init__(self, read: Text, value: bytes) -> None:
        self.read = read
        self.value = value

    def __call__(self, ex: ExchangeView) -> bool:
        """Evaluate."""
        return self.read(ex) == self.value


class Unequal:
    """``text != 'literal'``."""

    __slots__ = ("read", "value")

    def __init__(self, read: Text, value: bytes) -> None:
        self.read = read
        self.value = value

    def __call__(self, ex: ExchangeView) -> bool:
        """Evaluate."""
        return self.read(ex) != self.value


class OneOf:
    """``text in ['a', 'b']``."""

    __slots__ = ("read", "values")

    def __init__(self, read: Text, values: frozenset[bytes]) -> None:
        self.read = read
        self.values = values

    def __call__(self, ex: ExchangeView) -> bool:
        """Evaluate."""
        return self.read(ex) in self.values


class Part:
    """``text.startsWith('literal')`` and its sisters."""

    __slots__ = ("read", "test", "value")

    def __init__(self, read: Text, test: Callable[[bytes, bytes], bool], value: bytes) -> None:
        self.read = read
        self.test = test
        self.value = value

    def __call__(self, ex: ExchangeView) -> bool:
        """Evaluate."""
        return self.test(self.read(ex), self.value)


class Status:
    """``response.status >= 500``."""

    __slots__ = ("test", "value")

    def __init__(self, test: Callable[[int, int], bool], value: int) -> None:
        self.test = test
        self.value = value

    def __call__(self, ex: ExchangeView) -> bool:
        """Evaluate."""
        if ex.response is None:
            raise ValueError("there is no response yet")
        return self.test(ex.response.status, self.value)


class Has:
    """``'name' in request.headers`` and ``has(request.headers.name)``."""

    __slots__ = ("find", "name")

    def __init__(self, find: Callable[[ExchangeView, bytes], bytes | None], name: bytes) -> None:
        self.find = find
        self.name = name

    def __call__(self, ex: ExchangeView) -> bool:
        """Evaluate."""
        return self.find(ex, self.name) is not None


class InGroups:
    """``'name' in consumer.groups``."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, ex: ExchangeView) -> bool:
        """Evaluate."""
        return ex.consumer is not None and self.name in ex.consumer.groups


class Item:
    """The value of a key in a map."""

    __slots__ = ("find", "name")

    def __init__(self, find: Callable[[ExchangeView, bytes], bytes | None], name: bytes) -> None:
        self.find = find
        self.name = name

    def __call__(self, ex: ExchangeView) -> bytes:
        """Evaluate."""
        value = self.find(ex, self.name)
        if value is None:
            raise ValueError(f"there is no {self.name.decode()!r}")
        return value


def _method(ex: ExchangeView) -> bytes:
    return ex.request.method


def _path(ex: ExchangeView) -> bytes:
    return ex.request.path


def _host(ex: ExchangeView) -> bytes:
    return ex.request.host


def _scheme(ex: ExchangeView) -> bytes:
    return ex.request.scheme


def _address(ex: ExchangeView) -> bytes:
    return ex.client_addr.encode()


def _consumer(ex: ExchangeView) -> bytes:
    return b"" if ex.consumer is None else ex.consumer.name.encode()


def _route(ex: ExchangeView) -> bytes:
    return ex.route_name.encode()


def _header(ex: ExchangeView, name: bytes) -> bytes | None:
    return ex.request.headers.get(name)


def _parameter(ex: ExchangeView, name: bytes) -> bytes | None:
    values = parse_query(ex.request.query).get(name)
    return values[0] if values else None


def _param(ex: ExchangeView, name: bytes) -> bytes | None:
    return ex.params.get(name)


def _response_header(ex: ExchangeView, name: bytes) -> bytes | None:
    if ex.response is None:
        raise ValueError("there is no response yet")
    return ex.response.headers.get(name)


#: Texts that are always there, by the name they have in expressions.
TEXTS: dict[str, Text] = {
    "request.method": _method,
    "request.path": _path,
    "request.host": _host,
    "request.scheme": _scheme,
    "client.address": _address,
    "consumer.name": _consumer,
    "route.name": _route,
}
#: Maps, by the name they have in expressions: what finds the value of a key.
MAPS: dict[str, Callable[[ExchangeView, bytes], bytes | None]] = {
    "request.headers": _header,
    "request.query": _parameter,
    "request.params": _param,
    "response.headers": _response_header,
}
