"""What requests are counted by."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gatewright.http.headers import Fields, Headers
from gatewright.proxy.expression import compile_expression
from gatewright.sdk import Consumer
from gatewright.sdk.keys import Keys

ENV: Any = SimpleNamespace(expression=compile_expression)


def exchange(**more: Any) -> Any:
    headers = Headers(Fields(more.pop("headers", ())))
    request = SimpleNamespace(headers=headers, method=b"GET")
    given = {"client_addr": "192.0.2.1", "consumer": None, "vars": {}, "route_name": "r", "params": {}, **more}
    return SimpleNamespace(request=request, **given)


def key(by: str, **more: Any) -> bytes:
    return Keys(by, ENV).choose()(exchange(**more))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", b"a192.0.2.1"),
        ("2001:db8::1", b"620010db800000000"),
        ("fe80::1%eth0", b"6fe80000000000000"),
        ("", b"a"),
        ("no:address", b"ano:address"),
    ],
)
def test_addresses(address: str, expected: bytes) -> None:
    assert key("address", client_addr=address) == expected


def test_no_consumer_can_be_named_like_an_address() -> None:
    assert key("consumer", consumer=Consumer("192.0.2.1")) != key("address")


@pytest.mark.parametrize("by", ["consumer", "credential", "header:x", "cookie:x", "request.headers['x']"])
def test_without_what_is_counted_by_the_address_counts(by: str) -> None:
    assert key(by) == b"a192.0.2.1"


def test_keys_are_never_long() -> None:
    one, other = (key("header:x", headers=[(b"x", b"a" * 5000 + end)]) for end in (b"1", b"2"))
    assert one != other
    assert max(len(one), len(other)) <= 66
    assert len(key("consumer", consumer=Consumer("c" * 500))) <= 66
    assert len(key("address", client_addr="x" * 500)) <= 66


def test_many_addresses_and_consumers_do_not_grow_it() -> None:
    keys = Keys("consumer", ENV)
    for n in range(5000):
        keys.by_consumer(exchange(client_addr=f"a{n}"))
        keys.by_consumer(exchange(consumer=Consumer(f"c{n}")))
    assert len(keys._addresses) <= 4096
    assert len(keys._consumers) <= 4096


@pytest.mark.parametrize("by", ["nobody", "header:", "cookie:a b", "1 +", "header:x y"])
def test_mistakes(by: str) -> None:
    with pytest.raises(ValueError, match=r"count by|does not name|column"):
        Keys(by, ENV)
