"""The head that goes upstream: written anew from what was understood (RFC 9112 section 3, RFC 9110 section 7.6)."""

from __future__ import annotations

from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.sdk import ExchangeView, Policy, PolicyConfig
from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream

WAY = (
    b"x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: %b\r\n"
    b"forwarded: for=127.0.0.1;host=%b;proto=http\r\nvia: 1.1 gatewright\r\n"
)


class Config(PolicyConfig):
    pass


class Edit(Policy[Config]):
    """Does what the test says."""

    name, stage, config = "edit", "transform", Config
    edit: Any = None

    def on_request(self, ex: ExchangeView) -> None:
        type(self).edit(ex)


def forwarded(rig: Rig, request: bytes, host: bytes = b"x", **options: Any) -> bytes:
    """What goes upstream, without the fields about the way."""
    rig.add_policy(Edit)
    rig.apply(route("all", to="a", **options), upstream("a"))
    client = rig.client()
    client.send(request)
    received = rig.origin("a").accept().received
    client.reset()
    way = WAY % (host, host)
    assert way in received
    return received.replace(way, b"")


def test_an_unchanged_section_is_forwarded_as_it_was_spelled(rig: Rig) -> None:
    request = b"GET /a/./b?c HTTP/1.1\r\nX-Abc:1\r\nHost: x\r\nY:  z \r\n\r\n"
    assert forwarded(rig, request) == b"GET /a/b?c HTTP/1.1\r\nhost: x\r\nX-Abc:1\r\nY:  z \r\n\r\n"


def test_an_empty_query_stays_one(rig: Rig) -> None:
    assert forwarded(rig, b"GET /? HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"GET /? HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "fields",
    [
        b"Connection: x-a\r\nX-A: 1\r\n",
        b"connection: close, X-A\r\nx-a: 1\r\nx-a: 2\r\n",
        b"Keep-Alive: 1\r\nProxy-Connection: x\r\nTE: trailers\r\nUpgrade: h2c\r\n",
        b"Proxy-Authorization: x\r\nProxy-Authenticate: x\r\n",
        b"Forwarded: for=1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n",
    ],
)
def test_what_concerns_the_connection_or_is_ours_is_not_forwarded(rig: Rig, fields: bytes) -> None:
    assert forwarded(rig, b"GET / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n") == b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def test_connection_cannot_remove_the_length(rig: Rig) -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: content-length, host\r\nContent-Length: 2\r\n\r\nab"
    assert forwarded(rig, request) == b"POST / HTTP/1.1\r\nhost: x\r\nContent-Length: 2\r\n\r\nab"


def test_connection_cannot_remove_what_a_policy_says_of_the_client(rig: Rig) -> None:
    Edit.edit = lambda ex: ex.request.headers.set(b"x-user", b"nobody")
    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: x-user\r\nX-User: admin\r\n\r\n"
    assert forwarded(rig, request, policies={"edit": {}}) == b"GET / HTTP/1.1\r\nhost: x\r\nx-user: nobody\r\n\r\n"


def test_a_body_whose_length_was_taken_away_goes_in_chunks(rig: Rig) -> None:
    Edit.edit = lambda ex: ex.request.headers.drop(b"content-length")
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab"
    expected = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    assert forwarded(rig, request, policies={"edit": {}}) == expected


@pytest.mark.parametrize("name", [b"content-length", b"transfer-encoding"])
def test_a_policy_that_frames_the_request_fails_and_nothing_goes_upstream(rig: Rig, name: bytes) -> None:
    Edit.edit = lambda ex: ex.request.headers.set(name, b"10")
    rig.add_policy(Edit)
    rig.apply(route("all", to="a", policies={"edit": {}}), upstream("a"))
    client = rig.client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")
    assert client.received.startswith(b"HTTP/1.1 500 ")
    assert b"plugin.edit.failed" in client.received
    assert rig.origin("a").waiting == 0


@pytest.mark.parametrize(
    ("rewrite", "host"),
    [
        (None, b"X.org:81"),
        (model.Rewrite(host="inner"), b"inner"),
    ],
)
def test_the_host_is_the_clients_unless_a_route_says_otherwise(
    rig: Rig, rewrite: model.Rewrite | None, host: bytes
) -> None:
    rig.apply(route("all", to="a", rewrite=rewrite), upstream("a"))
    client = rig.client()
    client.send(b"GET / HTTP/1.1\r\nHost: X.org:81\r\n\r\n")
    assert b"\r\nhost: %b\r\n" % host in rig.origin("a").accept().received
    client.reset()


def test_an_upgrade_to_websocket_is_asked_for_anew(rig: Rig) -> None:
    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
    expected = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    assert forwarded(rig, request) == expected
    assert forwarded(rig, request, websocket=False) == b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


NAMES = st.sampled_from([b"Connection", b"X-A", b"TE", b"Content-Length", b"Cookie", b"Via", b"Keep-Alive"])
VALUES = st.sampled_from([b"x-a", b"close", b"1", b"", b"a, b", b"\xff", b"0"])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.sampled_from([b"", b"?", b"?a=%20"]))
def test_whatever_is_accepted_goes_upstream_as_one_valid_request(
    fields: list[tuple[bytes, bytes]], query: bytes
) -> None:
    rig = Rig()
    rig.apply(route("all", to="a"), upstream("a"))
    client = rig.client()
    client.send(
        b"GET /%b HTTP/1.1\r\nHost: x\r\n" % query + b"".join(b"%b: %b\r\n" % pair for pair in fields) + b"\r\n0"
    )
    if rig.origin("a").waiting:
        server = h11.Connection(h11.SERVER)
        server.receive_data(rig.origin("a").accept().received)
        request = server.next_event()
        assert isinstance(request, h11.Request)
        assert request.target == b"/" + query
        names = [name for name, _ in request.headers]
        assert names.count(b"host") == 1
        assert not {b"connection", b"te", b"keep-alive"} & set(names)
    rig.check_idle()
