from __future__ import annotations

from typing import Any

import pytest

from gatewright.http.head import ResponseHead
from gatewright.http.headers import Headers
from gatewright.proxy.sticky import Sticky, cookie_value, endpoint_id
from gatewright.snapshot import model


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"gw=1", b"1"),
        (b"a=b; gw=1; c=d", b"1"),
        (b"a=b;gw=1", b"1"),
        (b"a=b;\tgw = 1 ", b"1"),
        (b"gw=1=2", b"1=2"),
        (b"gw=", b""),
        (b"gw=1; gw=2", b"1"),
        (b"xgw=1", None),
        (b"gw", None),
        (b"GW=1", None),
        (b"", None),
    ],
)
def test_cookie_value(field: bytes, value: bytes | None) -> None:
    assert cookie_value(field, b"gw") == value


def test_the_id_shows_nothing_of_the_address_and_differs_by_upstream_and_secret() -> None:
    ids = {
        endpoint_id(secret, upstream, key)
        for secret in (b"", b"s")
        for upstream in ("a", "b")
        for key in ("http://10.0.0.1:80", "http://10.0.0.2:80")
    }
    assert len(ids) == 8
    assert all(len(value) == 16 and not value.strip(b"0123456789abcdef") for value in ids)
    assert endpoint_id(b"s", "a", "k") == endpoint_id(b"s", "a", "k")


def test_the_client_is_led_back(bench: Any) -> None:
    it = bench("a", "b", "c", sticky=model.Sticky("gw"))
    for name in "abc":
        cookie = {"cookie": f"x=y; gw={it[name].id.decode()}"}
        assert it.names(3, headers=cookie) == [name] * 3


@pytest.mark.parametrize("cookie", [{}, {"cookie": "gw=0123456789abcdef"}, {"cookie": "other=1"}, {"cookie": "gw="}])
def test_unknown_clients_are_balanced(bench: Any, cookie: dict[str, str]) -> None:
    it = bench("a", "b", sticky=model.Sticky("gw"))
    assert it.names(4, headers=cookie) == ["a", "b", "a", "b"]


def test_a_sick_endpoint_loses_its_clients_for_the_time_being(bench: Any) -> None:
    it = bench("a", "b", sticky=model.Sticky("gw"))
    cookie = {"cookie": f"gw={it['a'].id.decode()}"}
    it["a"].ejected_until = it.now + 10
    assert it.names(2, headers=cookie) == ["b", "b"]
    it.now += 11
    assert it.names(2, headers=cookie) == ["a", "a"]


def test_a_retry_goes_elsewhere(bench: Any) -> None:
    it = bench("a", "b", sticky=model.Sticky("gw"))
    assert it.pick(headers={"cookie": f"gw={it['a'].id.decode()}"}, exclude=(it["a"],)) is it["b"]


def test_neither_zone_nor_weight_keeps_a_client_from_its_endpoint(bench: Any) -> None:
    far = bench.endpoint("far", zone="b")
    drained = bench.endpoint("drained", zone="a", weight=0)
    it = bench(bench.endpoint("near", zone="a"), far, drained, zone="a", sticky=model.Sticky("gw"))
    assert it.names(2) == ["near", "near"]
    for name in ("far", "drained"):
        assert it.names(1, headers={"cookie": f"gw={it[name].id.decode()}"}) == [name]


def test_the_cookie_is_set_only_when_missing_or_changed(bench: Any) -> None:
    it = bench("a", "b", sticky=model.Sticky("gw", ttl=3600.0, secure=True))
    sticky = it.upstream.sticky
    a, b = it["a"], it["b"]
    expected = b"gw=%b; Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Lax" % a.id
    assert sticky.set_cookie(bench.request(), a) == expected
    assert sticky.set_cookie(bench.request({"cookie": f"gw={a.id.decode()}"}), a) is None
    assert sticky.set_cookie(bench.request({"cookie": f"gw={a.id.decode()}"}), b) is not None


def test_attributes_can_be_left_out() -> None:
    sticky = Sticky(model.Sticky("s", path="/app", http_only=False, same_site=""), "u")
    assert sticky._attributes == b"; Path=/app"


def test_the_answer_of_the_endpoint_carries_it(bench: Any) -> None:
    it = bench("a", sticky=model.Sticky("gw"))
    for endpoint, count in ((it["a"], 1), (None, 0)):
        ex = bench.request(endpoint=endpoint, response=ResponseHead(200, Headers()))
        it.upstream.sticky.on_response(ex)
        assert len(ex.response.headers.all(b"set-cookie")) == count
    it.upstream.sticky.on_response(bench.request(endpoint=it["a"], response=None))
    ex = bench.request({"cookie": f"gw={it['a'].id.decode()}"}, endpoint=it["a"], response=ResponseHead(200, Headers()))
    it.upstream.sticky.on_response(ex)
    assert b"set-cookie" not in ex.response.headers


def test_a_second_cookie_field_is_looked_at(bench: Any) -> None:
    sticky = Sticky(model.Sticky("gw"), "u")
    ex = bench.request({"cookie": "a=1"})
    ex.request.headers.add(b"cookie", b"gw=2")
    assert sticky.wanted(ex) == b"2"
    ex.request.headers.set(b"cookie", b"a=1")
    ex.request.headers.add(b"cookie", b"b=1")
    assert sticky.wanted(ex) is None
