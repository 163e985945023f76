"""Predicates on header fields, query parameters, cookies, addresses, and expressions."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.http.head import RequestHead
from gatewright.http.headers import Fields, Headers
from gatewright.proxy.predicates import Networks, compile_named, compile_tests
from gatewright.snapshot.model import Match, Predicate


def exchange(*headers: tuple[bytes, bytes], query: bytes | None = None, address: str = "10.0.0.1") -> Any:
    head = RequestHead(b"GET", b"/", b"/", query, b"x", b"x", b"http", 11, Headers(Fields(headers)))
    return SimpleNamespace(request=head, client_addr=address, params={}, consumer=None, response=None, vars={})


EQUAL = Predicate("X-A", value="1")
REGEX = Predicate("X-A", regex="^[12]$")
PRESENT = Predicate("X-A")
ABSENT = Predicate("X-A", absent=True)


@pytest.mark.parametrize(
    ("predicate", "values", "holds"),
    [
        (EQUAL, [], False),
        (EQUAL, [b"1"], True),
        (EQUAL, [b"11"], False),
        (EQUAL, [b"2", b"1"], True),
        (EQUAL, [b""], False),
        (REGEX, [], False),
        (REGEX, [b"2"], True),
        (REGEX, [b"3", b"1"], True),
        (REGEX, [b"31"], False),
        (PRESENT, [], False),
        (PRESENT, [b""], True),
        (ABSENT, [], True),
        (ABSENT, [b""], False),
    ],
)
def test_names(predicate: Predicate, values: list[bytes], holds: bool) -> None:
    in_header = exchange(*((b"x-a", value) for value in values))
    assert compile_named("header", predicate)(in_header) is holds
    in_query = exchange(query=b"&".join(b"X-A=" + value for value in values) or None)
    assert compile_named("query parameter", predicate)(in_query) is holds
    one_cookie_field = exchange((b"cookie", b"; ".join(b"X-A=" + value for value in values)))
    assert compile_named("cookie", predicate)(one_cookie_field) is holds
    many_cookie_fields = exchange(*((b"cookie", b"a=b; X-A=" + value) for value in values))
    assert compile_named("cookie", predicate)(many_cookie_fields) is holds


def test_names_of_header_fields_only_are_compared_in_lower_case() -> None:
    assert not compile_named("query parameter", EQUAL)(exchange(query=b"x-a=1"))
    assert not compile_named("cookie", EQUAL)(exchange((b"cookie", b"x-a=1")))


@pytest.mark.parametrize("query", [b"a+b=1%202", b"x&a%20b=1+2&&", b"a+b=3&a+b=1+2"])
def test_queries_are_decoded(query: bytes) -> None:
    assert compile_named("query parameter", Predicate("a b", value="1 2"))(exchange(query=query))


def test_query_parameters_without_a_value() -> None:
    assert compile_named("query parameter", Predicate("a", value=""))(exchange(query=b"a&b="))
    assert compile_named("query parameter", Predicate("b", value=""))(exchange(query=b"a&b="))


def test_cookies_lose_their_quotes_and_nothing_else() -> None:
    ex = exchange((b"cookie", b'a="1" ;b=%20;c=x=y; d; e="'))
    for name, value in {"a": "1", "b": "%20", "c": "x=y", "e": '"'}.items():
        assert compile_named("cookie", Predicate(name, value=value))(ex), name
    assert compile_named("cookie", Predicate("d", absent=True))(ex)


def test_headers_that_a_policy_changed() -> None:
    ex = exchange((b"x-a", b"0"))
    ex.request.headers.set(b"x-a", b"1")
    assert compile_named("header", EQUAL)(ex)
    ex.request.headers.drop(b"x-a")
    assert compile_named("header", ABSENT)(ex)


@pytest.mark.parametrize(
    ("predicate", "wants", "has"),
    [
        (EQUAL, "header x-a is '1'", "5, é\ufffd"),
        (REGEX, "header x-a matches '^[12]$'", "5, é\ufffd"),
        (PRESENT, "header x-a is present", "5, é\ufffd"),
        (ABSENT, "header x-a is absent", "5, é\ufffd"),
        (Predicate("y", value="z"), "header y is 'z'", "absent"),
    ],
)
def test_what_they_say(predicate: Predicate, wants: str, has: str) -> None:
    test = compile_named("header", predicate)
    assert test.describe() == wants
    assert test.saw(exchange((b"x-a", b"5"), (b"x-a", b"\xc3\xa9\xff"))) == has


def test_long_values_are_cut() -> None:
    assert compile_named("header", PRESENT).saw(exchange((b"x-a", b"a" * 500))) == "a" * 100 + "…"


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("10.255.0.1", True),
        ("11.0.0.1", False),
        ("192.168.1.7", True),
        ("192.168.1.8", False),
        ("2001:db8:1::1", True),
        ("2001:db9::1", False),
        ("::ffff:10.0.0.1", True),
        ("fe80::1%eth0", True),
        ("", False),
        ("unix:", False),
    ],
)
def test_sources(address: str, inside: bool) -> None:
    networks = Networks(["10.0.0.0/8", "192.168.1.7", "2001:db8::/32", "[fe80::]/10".replace("[", "").replace("]", "")])
    assert (address in networks) is inside
    assert (address in networks) is inside  # the second time from memory


@given(
    st.lists(st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "10.1.2.3/32", "::/0", "::1/128"]), max_size=3),
    st.one_of(st.ip_addresses(v=4), st.sampled_from([ip_address("10.1.2.3"), ip_address("::1"), ip_address("::2")])),
)
def test_sources_agree_with_the_standard_library(networks: list[str], address: Any) -> None:
    expected = any(address in ip_network(network) for network in networks)
    assert (str(address) in Networks(networks)) is expected


def test_few_addresses_are_remembered() -> None:
    networks = Networks(["10.0.0.0/8"])
    for number in range(10_000):
        assert f"10.0.{number // 250}.{number % 250}" in networks
    assert len(networks._known) <= 4096


def test_all_of_a_route_in_order() -> None:
    match = Match(
        headers=(PRESENT,),
        query=(PRESENT,),
        cookies=(ABSENT,),
        sources=("10.0.0.0/8",),
        when="client.address == '10.0.0.1'",
    )
    tests = compile_tests(match)
    assert [test.describe() for test in tests] == [
        "header x-a is present",
        "query parameter X-A is present",
        "cookie X-A is absent",
        "client address is in 10.0.0.0/8",
        "when: client.address == '10.0.0.1'",
    ]
    ex = exchange((b"x-a", b""), query=b"X-A")
    assert all(test(ex) for test in tests)
    assert compile_tests(Match()) == ()


def test_an_expression_that_is_not_true_does_not_hold() -> None:
    for source, saw in {
        "request.method == 'PUT'": "false",
        "request.headers.nope == 'a'": "error: there is no 'nope'",
        "request.method": "'GET', which is not true",
    }.items():
        (when,) = compile_tests(Match(when=source))
        assert when(exchange()) is False
        assert when.saw(exchange()) == saw


def test_where_there_is_no_address() -> None:
    (source,) = compile_tests(Match(sources=("::/0", "0.0.0.0/0")))
    assert not source(exchange(address=""))
    assert source.saw(exchange(address="")) == "no address"


@pytest.mark.parametrize(
    "match",
    [
        Match(headers=(Predicate("a", regex="("),)),
        Match(sources=("10.0.0.0/40",)),
        Match(sources=("example.com",)),
        Match(when="a ="),
    ],
)
def test_what_cannot_work(match: Match) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        compile_tests(match)
