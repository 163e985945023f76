from __future__ import annotations

from typing import Any

import pytest

from gatewright.sdk import Consumer, InvalidPolicy
from gatewright.sdk.template import Template

SENT = [(b"x-old", b"1"), (b"x-old", b"2"), (b"x-user", b"forged"), (b"accept", b"text/html")]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"remove": ["X-Old", "x-user", "accept"]}, []),
        ({"set": {"X-User": "me"}, "remove": ["x-old", "accept"]}, [(b"x-user", b"me")]),
        ({"add": {"x-user": "me"}, "remove": ["x-old", "accept"]}, [(b"x-user", b"forged"), (b"x-user", b"me")]),
        (
            {"default": {"x-user": "me", "x-a": "b"}, "remove": ["x-old", "accept"]},
            [(b"x-user", b"forged"), (b"x-a", b"b")],
        ),
        (
            {"append": {"accept": "*/*", "x-n": "1"}, "remove": ["x-old", "x-user"]},
            [(b"accept", b"text/html, */*"), (b"x-n", b"1")],
        ),
        ({"append": {"x-old": "3"}, "remove": ["accept", "x-user"]}, [(b"x-old", b"1, 2, 3")]),
        ({"rename": {"x-old": "x-user"}, "remove": ["accept"]}, [(b"x-user", b"1"), (b"x-user", b"2")]),
        ({"rename": {"x-none": "x-user"}, "remove": ["accept", "x-old"]}, [(b"x-user", b"forged")]),
    ],
)
def test_steps_in_both_directions(bench: Any, send: Any, changes: dict[str, Any], expected: Any) -> None:
    ex = send(bench.policy("headers", request=changes), headers=SENT, response=SENT)
    assert ex.upstream_saw == expected
    assert ex.client_saw == SENT
    ex = send(bench.policy("headers", response=changes), headers=SENT, response=SENT)
    assert ex.upstream_saw == SENT
    assert ex.client_saw == expected


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("plain", b"plain"),
        ("{client.address}", b"192.0.2.1"),
        ("{consumer.name}/{consumer.groups}", b"acme/gold,vip"),
        ("{consumer.metadata.plan}", b"big"),
        ("{param.id}", b"42"),
        ("{route.name}", b"orders"),
        ("{request.id}", b"req-1"),
        ("{request.header.X-Old}", b"1"),
        ("{request.cookie.session}", b"s1"),
        ("{request.query.q}", b"a b"),
        (
            "{request.method} {request.scheme}://{request.host}{request.path}?{request.query}",
            b"GET http://api.example.com/p?q=a%20b",
        ),
        ("{{id}}", b"{id}"),
        ("<{param.missing}>", b"<>"),
    ],
)
def test_templates(bench: Any, send: Any, template: str, value: bytes) -> None:
    ex = send(
        bench.policy("headers", request={"set": {"x-out": template}}),
        target=b"/p?q=a%20b",
        headers=[*SENT, (b"cookie", b"a=b; session=s1")],
        consumer=Consumer("acme", frozenset({"vip", "gold"}), {"plan": "big"}),
        params={b"id": b"42"},
        request_id=b"req-1",
    )
    assert ex.request.headers.all(b"x-out") == [value]


def test_response_templates(bench: Any, send: Any) -> None:
    policy = bench.policy("headers", response={"set": {"x-was": "{response.status} {response.header.etag}"}})
    assert send(policy, status=201, response=[(b"etag", b'"1"')]).sent(b"x-was") == [b'201 "1"']


def test_a_forged_field_goes_even_when_there_is_nothing_to_put_in_its_place(bench: Any, send: Any) -> None:
    ex = send(bench.policy("headers", request={"set": {"x-user": "{consumer.name}"}}), headers=SENT)
    assert ex.request.headers.all(b"x-user") == []


def test_nothing_a_client_sends_can_end_a_line(bench: Any, send: Any) -> None:
    policy = bench.policy("headers", request={"set": {"x-q": "{request.query.q}", "x-p": "{param.p}"}})
    ex = send(policy, target=b"/?q=a%0d%0ax-admin:%201%00", params={b"p": b"v\r\nx: y"})
    assert ex.request.headers.all(b"x-q") == [b"ax-admin: 1"]
    assert ex.request.headers.all(b"x-p") == [b"vx: y"]


@pytest.mark.parametrize(
    ("config", "message", "path"),
    [
        ({"request": {"set": {"host": "x"}}}, "'host'", "request.set"),
        ({"request": {"remove": ["content-length"]}}, "'content-length'", "request.remove"),
        ({"request": {"set": {"x-forwarded-for": "x"}}}, "'x-forwarded-for'", "request.set"),
        ({"response": {"rename": {"x-a": "connection"}}}, "'connection'", "response.rename"),
        ({"request": {"set": {"x-a": "{consumer.nmae}"}}}, "did you mean {consumer.name}", "request.set.x-a"),
        ({"request": {"set": {"x-a": "{who}"}}}, "known are client.address", "request.set.x-a"),
        ({"request": {"add": {"x-a": "{response.status}"}}}, "not known yet", "request.add.x-a"),
        ({"request": {"add": {"x-a": "{open"}}}, "brace", "request.add.x-a"),
        ({"request": {"add": {"x-a": "close}"}}}, "brace", "request.add.x-a"),
    ],
)
def test_mistakes_have_their_place(bench: Any, config: dict[str, Any], message: str, path: str) -> None:
    with pytest.raises(InvalidPolicy) as error:
        bench.policy("headers", config)
    assert message in str(error.value)
    assert error.value.path == path


def test_constants_are_found() -> None:
    assert Template("a {{b}}").constant == b"a {b}"
    assert Template("{client.address}").constant is None
