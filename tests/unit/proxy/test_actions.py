"""Redirects, fixed answers, rewrites and splits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gatewright.errors import ProtocolError
from gatewright.proxy.actions import FixedAction, PathRewrite, RedirectAction, SplitChoice, Template, no_route
from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream


def exchange(path: bytes = b"/", query: bytes | None = None, params: dict[bytes, bytes] | None = None) -> Any:
    request = SimpleNamespace(path=path, query=query, host=b"ex.org")
    return SimpleNamespace(request=request, params=params or {})


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("/plain", b"/plain"),
        ("", b""),
        ("/{id}", b"/7"),
        ("/{id}/{*}?{query}", b"/7/a%2Fb?q=1"),
        ("https://{host}/{missing}/", b"https://ex.org//"),
        ("/{}{1}{a-b}", b"/{}{1}{a-b}"),
        ("/caf\xe9", b"/caf\xc3\xa9"),
    ],
)
def test_templates(text: str, becomes: bytes) -> None:
    assert Template(text).render(exchange(query=b"q=1", params={b"id": b"7", b"*": b"a%2Fb"})) == becomes
    assert Template("{query}").render(exchange()) == b""


@pytest.mark.parametrize(
    ("to", "keep", "query", "location"),
    [
        ("/new", True, None, b"/new"),
        ("/new", True, b"", b"/new"),
        ("/new", True, b"a=b", b"/new?a=b"),
        ("/new", False, b"a=b", b"/new"),
        ("/new?{query}", True, b"a=b", b"/new?a=b"),
        ("/new?c=d", True, b"a=b", b"/new?c=d"),
        ("https://other/{x}", True, None, b"https://other//evil"),
    ],
)
def test_redirects(to: str, keep: bool, query: bytes | None, location: bytes) -> None:
    reply = RedirectAction(model.Redirect(to, 307, keep))(exchange(query=query, params={b"x": b"/evil"}))
    assert (reply.status, reply.headers, reply.body) == (307, ((b"location", location),), b"")


@pytest.mark.parametrize("parameter", [b"/evil.org", b"//evil.org", b"\\evil.org", b"/\\evil.org"])
def test_a_parameter_cannot_lead_to_another_host(parameter: bytes) -> None:
    reply = RedirectAction(model.Redirect("/{x}"))(exchange(params={b"x": parameter}))
    assert reply.headers == ((b"location", b"/evil.org"),)


def test_fixed_answers_are_made_once() -> None:
    action = FixedAction(model.Respond(201, "h\xe9", {"Content-Type": "text/html", "X-A": "b"}))
    reply = action(exchange())
    assert (reply.status, reply.body, reply.content_type, reply.headers) == (
        201,
        b"h\xc3\xa9",
        b"text/html",
        ((b"x-a", b"b"),),
    )
    assert action(exchange()) is reply
    assert FixedAction(model.Respond())(exchange()).content_type == b"text/plain; charset=utf-8"


def test_a_fixed_answer_that_would_split_the_response_cannot_be_compiled() -> None:
    with pytest.raises(ValueError, match="not a header field"):
        FixedAction(model.Respond(headers={"x": "a\r\nb: c"}))


@pytest.mark.parametrize(("status", "allow"), [(404, b""), (405, b"GET, HEAD")])
def test_where_no_route_takes_it(status: int, allow: bytes) -> None:
    ex = exchange()
    ex.listener = SimpleNamespace(router=SimpleNamespace(refusal=lambda _ex: (status, allow)))
    reply = no_route(ex)
    assert (reply.status, reply.reason) == (status, "route.method" if allow else "route.none")
    assert reply.headers == (((b"allow", allow),) if allow else ())


@pytest.mark.parametrize(
    ("spec", "path", "becomes"),
    [
        (model.Rewrite(path="/v2/{id}"), b"/x", b"/v2/7"),
        (model.Rewrite(path="/v2/{*}"), b"/x", b"/v2/b"),
        (model.Rewrite(strip_prefix="/api"), b"/api/x", b"/x"),
        (model.Rewrite(strip_prefix="/api/"), b"/api/x", b"/x"),
        (model.Rewrite(strip_prefix="/api"), b"/api", b"/"),
        (model.Rewrite(strip_prefix="/api"), b"/apix", b"/apix"),
        (model.Rewrite(strip_prefix="/api"), b"/other", b"/other"),
        (model.Rewrite(strip_prefix="/"), b"/a", b"/a"),
        (model.Rewrite(add_prefix="/v2/"), b"/a", b"/v2/a"),
        (model.Rewrite(strip_prefix="/a", add_prefix="/v2"), b"/a/b", b"/v2/b"),
        (model.Rewrite(regex="a", replacement="b"), b"/a/a", b"/b/a"),
        (model.Rewrite(regex="^/q", replacement="/r"), b"/x/q", b"/x/q"),
        (model.Rewrite(regex="^/(?P<x>[^/]+)/(y)?", replacement=r"/\g<x>/\2{id}/$1"), b"/u/z", b"/u/7/$1z"),
        (model.Rewrite(regex="^/", replacement=""), b"/x", b"/x"),
    ],
)
def test_rewrites(spec: model.Rewrite, path: bytes, becomes: bytes) -> None:
    params = {b"id": b"7", b"*": b"a/../b"}
    assert PathRewrite(spec)(exchange(path, params=params)) == becomes


@pytest.mark.parametrize("value", [b"../../x", b"%zz", b"a b", b"a\r\nx: y", b"..%2fadmin", b"?a", b"%5C1"])
def test_what_comes_out_is_a_path_or_refused(value: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        PathRewrite(model.Rewrite(path="/{x}"))(exchange(params={b"x": value}))
    assert caught.value.reason == "request.target"


def test_a_rewrite_that_gives_no_path_is_answered_and_recorded_once(rig: Rig) -> None:
    rig.apply(route("all", to="a", rewrite=model.Rewrite(regex="^/", replacement="/%zz")), upstream("a"))
    client = rig.client()
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 2)
    assert client.received.count(b"HTTP/1.1 400 ") == 2
    assert [(record.status, record.reason) for record in rig.records] == [(400, "request.target")] * 2


def test_splits_follow_their_weights_and_overrides() -> None:
    upstreams: Any = {"a": "A", "b": "B", "c": "C"}
    chance = [0.0]
    special = model.Split("c", 0, headers=(model.Predicate("x-canary", "1"),))
    choice = SplitChoice((model.Split("a", 3), model.Split("b", 1), special), upstreams, lambda: chance[0])
    ex = exchange()
    ex.request.headers = {}
    chosen = []
    for chance[0] in (0.0, 0.5, 0.7499, 0.75, 0.999999999):
        chosen.append(choice(ex))
    assert chosen == ["A", "A", "A", "B", "B"]
    ex.request.headers = {b"x-canary": b"1"}
    assert choice(ex) == "C"
