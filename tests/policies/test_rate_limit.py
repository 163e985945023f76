from __future__ import annotations

from typing import Any

import pytest

from gatewright.sdk import CREDENTIAL, Consumer, InvalidPolicy

ACME = Consumer("acme", frozenset({"gold"}))
INITECH = Consumer("initech")


def passed(send: Any, policy: Any, tries: int, **request: Any) -> int:
    return sum(send(policy, **request).reply is None for _ in range(tries))


def test_refused_over_the_limit_and_told_when_to_come_back(bench: Any, send: Any, reason: Any) -> None:
    policy = bench.policy("rate_limit", limit="2/m")
    first, second, third = (send(policy) for _ in range(3))
    assert (reason(first), reason(second)) == (None, None)
    assert first.client_saw == [(b"ratelimit-policy", b'"default";q=2;w=60'), (b"ratelimit", b'"default";r=1;t=30')]
    assert second.sent(b"ratelimit") == [b'"default";r=0;t=60']
    assert reason(third) == (429, "rate_limit.exceeded")
    assert dict(third.client_saw) == {
        b"ratelimit-policy": b'"default";q=2;w=60',
        b"ratelimit": b'"default";r=0;t=60',
        b"retry-after": b"30",
    }
    bench.clock.advance(30)
    assert reason(send(policy)) is None
    assert bench.counted("rate_limit_refused_total") == {"default\x1frefused": 1}


def test_burst(bench: Any, send: Any) -> None:
    assert passed(send, bench.policy("rate_limit", limit="10/s", burst=15), 20) == 15


def test_without_fields(bench: Any, send: Any) -> None:
    policy = bench.policy("rate_limit", limit="1/s", fields=False)
    assert send(policy).client_saw == []
    assert send(policy).client_saw == [(b"retry-after", b"1")]


def test_another_status(bench: Any, send: Any, reason: Any) -> None:
    policy = bench.policy("rate_limit", limit="1/s", status=503)
    assert [reason(send(policy)) for _ in range(2)] == [None, (503, "rate_limit.exceeded")]


@pytest.mark.parametrize(
    ("by", "one", "other"),
    [
        ("consumer", {"consumer": ACME}, {"consumer": INITECH}),
        ("consumer", {"client_addr": "192.0.2.1"}, {"client_addr": "192.0.2.2"}),  # nobody known: the address
        ("consumer", {"consumer": Consumer("192.0.2.1")}, {"client_addr": "192.0.2.1"}),
        ("address", {"client_addr": "192.0.2.1", "consumer": ACME}, {"client_addr": "192.0.2.2", "consumer": ACME}),
        ("address", {"client_addr": "2001:db8:0:1::1"}, {"client_addr": "2001:db8:0:2::1"}),
        ("credential", {"vars": {CREDENTIAL: b"1" * 32}}, {"vars": {CREDENTIAL: b"2" * 32}}),
        ("route", {"route_name": "a"}, {"route_name": "b"}),
        ("header:X-Tenant", {"headers": [(b"x-tenant", b"a")]}, {"headers": [(b"x-tenant", b"b")]}),
        ("header:x-tenant", {"headers": [(b"x-tenant", b"a" * 70)]}, {"headers": [(b"x-tenant", b"a" * 71)]}),
        ("cookie:session", {"headers": [(b"cookie", b"session=a")]}, {"headers": [(b"cookie", b"session=b")]}),
        ("request.method", {"method": b"GET"}, {"method": b"POST"}),
        ("request.headers['x-t']", {"headers": [(b"x-t", b"a")]}, {"headers": []}),
    ],
)
def test_what_is_counted_apart(bench: Any, send: Any, by: str, one: Any, other: Any) -> None:
    policy = bench.policy("rate_limit", limit="3/h", by=by)

    def fresh(request: Any) -> Any:
        return {name: dict(value) if name == "vars" else value for name, value in request.items()}

    assert [send(policy, **fresh(one)).reply is None for _ in range(4)] == [True, True, True, False]
    assert [send(policy, **fresh(other)).reply is None for _ in range(4)] == [True, True, True, False]


def test_addresses_of_one_ipv6_network_count_together(bench: Any, send: Any) -> None:
    policy = bench.policy("rate_limit", limit="2/h", by="address")
    addresses = ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::3"]
    assert [send(policy, client_addr=address).reply is None for address in addresses] == [True, True, False]


def test_global(bench: Any, send: Any) -> None:
    policy = bench.policy("rate_limit", limit="2/h", by="global")
    assert [send(policy, client_addr=f"192.0.2.{n}").reply is None for n in range(3)] == [True, True, False]


def test_several_windows_at_once(bench: Any, send: Any) -> None:
    policy = bench.policy("rate_limit", limit=["3/s", "5/h"], algorithm="fixed_window", name="api")
    ex = send(policy)
    assert ex.sent(b"ratelimit-policy") == [b'"api-s";q=3;w=1, "api-h";q=5;w=3600']
    assert ex.sent(b"ratelimit")[0].startswith(b'"api-s";r=2;t=1, "api-h";r=4;t=')
    assert passed(send, policy, 5) == 2  # three in the first second
    bench.clock.advance(1)
    assert passed(send, policy, 5) == 2  # what one window refused was not taken from the other
    bench.clock.advance(1)
    ex = send(policy)
    assert int(ex.sent(b"retry-after")[0]) > 60


@pytest.mark.parametrize("algorithm", ["token_bucket", "sliding_window", "fixed_window"])
def test_algorithms(bench: Any, send: Any, algorithm: str) -> None:
    policy = bench.policy("rate_limit", limit="5/s", algorithm=algorithm)
    assert passed(send, policy, 10) == 5
    bench.clock.advance(2.0)
    assert passed(send, policy, 10) == 5


def test_concurrency(bench: Any, send: Any, reason: Any) -> None:
    policy = bench.policy("rate_limit", limit=2, algorithm="concurrency")
    running = [send(policy, record=False) for _ in range(3)]
    assert [reason(ex) for ex in running] == [None, None, (429, "rate_limit.exceeded")]
    assert running[0].sent(b"ratelimit-policy") == [b'"default";q=2;qu="concurrent-requests"']
    assert running[2].sent(b"retry-after") == [b"1"]
    for ex in running:
        policy.on_record(ex)
        policy.on_record(ex)  # twice gives back once
    assert [reason(send(policy, record=False)) for _ in range(3)] == [None, None, (429, "rate_limit.exceeded")]


def test_tiers(bench: Any, send: Any) -> None:
    policy = bench.policy("rate_limit", limit="2/h", tiers={"gold": {"limit": "4/h", "burst": 5}, "silver": "3/h"})
    assert passed(send, policy, 9, consumer=ACME) == 5
    assert passed(send, policy, 9, consumer=Consumer("s", frozenset({"silver"}))) == 3
    assert passed(send, policy, 9, consumer=INITECH) == 2
    assert passed(send, policy, 9) == 2


def test_cost(bench: Any, send: Any) -> None:
    assert passed(send, bench.policy("rate_limit", limit="10/h", cost=4), 9) == 2
    policy = bench.policy("rate_limit", limit="10/h", cost="request.method == 'POST' ? 5 : 1", name="by-method")
    assert passed(send, policy, 9, method=b"POST") == 2
    assert passed(send, bench.policy("rate_limit", limit="3/h", cost="request.headers['none']", name="x"), 9) == 3


def test_final_cost(bench: Any, send: Any) -> None:
    policy = bench.policy("rate_limit", limit="10/h", final_cost="response.status == 404 ? 9 : 0")
    assert passed(send, policy, 30) == 30  # given back
    send(policy, status=404)
    assert passed(send, policy, 3) == 3
    send(policy, status=404)
    assert passed(send, policy, 3) == 0  # more was owed than was there


def test_dry_run(bench: Any, send: Any) -> None:
    policy = bench.policy("rate_limit", limit="2/h", dry_run=True)
    exchanges = [send(policy) for _ in range(5)]
    assert all(ex.reply is None and ex.client_saw == [] for ex in exchanges)
    assert bench.counted("rate_limit_refused_total") == {"default\x1fpassed": 3}


def test_scopes_count_apart_and_equal_places_together(bench: Any, send: Any) -> None:
    assert passed(send, bench.policy("rate_limit", limit="3/h"), 2) == 2
    assert passed(send, bench.policy("rate_limit", limit="3/h"), 5) == 1  # the same policy, built again
    assert passed(send, bench.policy("rate_limit", limit="3/h", scope="orders"), 5) == 3


def test_two_limits_on_one_route(bench: Any, send: Any) -> None:
    policies = (
        bench.policy("rate_limit", limit="5/h", by="global", name="all"),
        bench.policy("rate_limit", limit="2/h", name="each"),
    )
    ex = send(*policies)
    assert ex.sent(b"ratelimit") == [b'"each";r=1;t=1800', b'"all";r=4;t=720']


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"limit": 5}, "limit: 100/s"),
        ({"limit": "5/s", "algorithm": "concurrency"}, "limit: 10"),
        ({"limit": 0, "algorithm": "concurrency"}, "above zero"),
        ({"limit": ["1/s", "2/m"], "burst": 3}, "burst"),
        ({"limit": "5/s", "burst": 3, "algorithm": "fixed_window"}, "burst"),
        ({"limit": []}, "one to four"),
        ({"limit": "fast"}, "not a rate"),
        ({"limit": "1/s", "tiers": {"gold": "fast"}}, "not a rate"),
        ({"limit": "1/s", "by": "consumr"}, "'consumr'"),
        ({"limit": "1/s", "by": "header:"}, "header"),
        ({"limit": "1/s", "by": "1 +"}, "column"),
        ({"limit": "1/s", "cost": "1 +"}, "column"),
        ({"limit": "1/s", "cost": -1}, "negative"),
        ({"limit": "1/s", "name": "A"}, "name"),
    ],
)
def test_mistakes(bench: Any, config: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, InvalidPolicy), match=message):
        bench.policy("rate_limit", config)


def test_only_what_must_be_given_back_is_waited_for(bench: Any) -> None:
    assert bench.policy("rate_limit", limit="2/h").unused_hooks == ("on_record",)
    assert not bench.policy("rate_limit", limit=2, algorithm="concurrency").unused_hooks
    assert not bench.policy("rate_limit", limit="2/h", final_cost="2").unused_hooks
