"""Fields, octet by octet, where the version changes (RFC 9113 sections 8.2 and 8.3)."""

from __future__ import annotations

import pytest
from tests.h2.origins import listener
from tests.h2.raw import END_HEADERS, RawH2, RigLink, Sent, data, headers, request
from tests.h2.upstreams import Answer, Script, requests

from gatewright.testing.rig import Rig, route, upstream


def to_http2(rig: Rig, *lines: bytes, line: bytes = b"GET /p?q HTTP/1.1") -> Sent:
    """The fields that an endpoint of HTTP/2 gets of an HTTP/1.1 request."""
    script = Script(rig)
    client = script.ask(b"\r\n".join([line, *lines, b"", b""]))
    server = script.accept()
    (head,) = requests(server)
    server.send(headers(1, [(b":status", b"204")]))
    assert Answer(client).status == 204
    return head.fields


def to_http1(rig: Rig, fields: Sent, body: bytes | None = None) -> bytes:
    """What an endpoint of HTTP/1.1 gets of an HTTP/2 request."""
    rig.apply(route("all", to="a"), upstream("a", passive=None), listener())
    client = RawH2(RigLink(rig, rig.client()))
    client.shake_hands()
    if body is None:
        client.send(headers(1, fields))
    else:
        client.send(headers(1, fields, END_HEADERS), data(1, body))
    peer = rig.origin("a").accept()
    peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    client.read()
    assert client.ended(1)
    return peer.received


def response(rig: Rig, head: bytes) -> Sent:
    """The fields that a client of HTTP/2 gets of an HTTP/1.1 response."""
    rig.apply(route("all", to="a"), upstream("a", passive=None), listener())
    client = RawH2(RigLink(rig, rig.client()))
    client.shake_hands()
    client.send(headers(1, request()))
    rig.origin("a").accept().send(head + b"\r\n\r\n")
    client.read()
    found = client.head(1)
    assert found is not None
    assert client.ended(1)
    return found.fields


def test_pseudo_fields_come_first_and_all_of_them(rig: Rig) -> None:
    fields = to_http2(rig, b"Host: Example.com:8080")
    pseudo = [pair for pair in fields if pair[0].startswith(b":")]
    assert list(fields[: len(pseudo)]) == pseudo
    assert dict(pseudo) == {
        b":method": b"GET",
        b":scheme": b"http",
        b":path": b"/p?q",
        b":authority": b"Example.com:8080",
    }
    assert len(pseudo) == 4
    assert b"host" not in dict(fields)


def test_names_become_lower_case_and_values_lose_their_edges(rig: Rig) -> None:
    fields = dict(to_http2(rig, b"HOST: x", b"X-UPPER:  \t A b \t ", b"X-Empty:", b"x-obs: \xe9"))
    assert (fields[b"x-upper"], fields[b"x-empty"], fields[b"x-obs"]) == (b"A b", b"", b"\xe9")
    assert all(name == name.lower() for name in fields)


def test_fields_of_the_connection_stay_behind(rig: Rig) -> None:
    lines = (b"Connection: X-One, keep-alive, x-two", b"X-One: 1", b"X-Two: 2", b"Keep-Alive: 5", b"X-Three: 3")
    fields = dict(to_http2(rig, b"host: x", *lines, b"Proxy-Connection: close", b"TE: deflate"))
    assert fields[b"x-three"] == b"3"
    assert not fields.keys() & {b"connection", b"x-one", b"x-two", b"keep-alive", b"proxy-connection", b"te"}


def test_a_chunked_request_has_no_framing_fields(rig: Rig) -> None:
    fields = to_http2(
        rig,
        b"host: x",
        b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0",
        line=b"POST / HTTP/1.1",
    )
    assert not dict(fields).keys() & {b"transfer-encoding", b"content-length"}


def test_the_absolute_form_gives_authority_and_path(rig: Rig) -> None:
    fields = dict(to_http2(rig, b"Host: x", line=b"GET http://x/p HTTP/1.1"))
    assert (fields[b":authority"], fields[b":path"], fields[b":scheme"]) == (b"x", b"/p", b"http")


@pytest.mark.parametrize(
    ("version", "framed"),
    [(b"1.0", b"\r\n\r\nhalf and half"), (b"1.1", b"\r\n\r\n4\r\nhalf\r\n9\r\n and half\r\n0\r\nx-sum: 1\r\n\r\n")],
)
def test_content_of_unknown_length_for_http1(rig: Rig, version: bytes, framed: bytes) -> None:
    script = Script(rig)
    client = script.ask(b"GET / HTTP/%b\r\nhost: x\r\n\r\n" % version)
    server = script.accept()
    server.send(headers(1, [(b":status", b"200")], END_HEADERS), data(1, b"half", 0))
    server.send(data(1, b" and half", 0), headers(1, [(b"x-sum", b"1")]))
    assert client.received.endswith(framed)
    assert client.closed is (version == b"1.0")


def test_the_via_of_each_version(rig: Rig) -> None:
    assert b"1.1 " in dict(to_http2(rig, b"host: x")).get(b"via", b"1.1 ")


def test_an_http1_request_is_well_formed(rig: Rig) -> None:
    fields = request((b"x-a", b"1"), (b"cookie", b"a=1"), (b"x-b", b""), (b"cookie", b"b=2"), authority=b"example.com")
    head, _, rest = to_http1(rig, fields).partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    assert (first, rest) == (b"GET / HTTP/1.1", b"")
    names = [each.partition(b":")[0].lower() for each in lines]
    assert names.count(b"host") == 1
    assert b"cookie: a=1; b=2" in lines
    assert b"x-a: 1" in lines
    assert {b"content-length", b"transfer-encoding", b"te", b"connection"}.isdisjoint(names)
    assert not any(name.startswith(b":") for name in names)


@pytest.mark.parametrize(
    ("more", "framed"),
    [((), b"transfer-encoding: chunked"), (((b"content-length", b"2"),), b"content-length: 2")],
    ids=["unknown", "known"],
)
def test_content_is_framed(rig: Rig, more: Sent, framed: bytes) -> None:
    received = to_http1(rig, request(*more, method=b"POST"), b"ok")
    head, _, body = received.partition(b"\r\n\r\n")
    assert framed in head
    assert body == (b"ok" if more else b"2\r\nok\r\n0\r\n\r\n")
    assert len([each for each in (b"content-length", b"transfer-encoding") if each in head]) == 1


def test_an_empty_post_says_so(rig: Rig) -> None:
    received = to_http1(rig, request(method=b"POST"))
    head, _, body = received.partition(b"\r\n\r\n")
    assert body == b""
    assert b"transfer-encoding" not in head


def test_the_host_field_counts_where_there_is_no_authority(rig: Rig) -> None:
    assert b"\r\nhost: example.com\r\n" in to_http1(rig, request((b"host", b"example.com"), drop="authority")).lower()


def test_a_response_becomes_lower_case_without_its_connection(rig: Rig) -> None:
    fields = response(
        rig,
        b"HTTP/1.1 200 Fine\r\nX-UPPER:  \t A \t\r\nConnection: x-hop, close\r\nX-Hop: 1\r\nKeep-Alive: 3\r\n"
        b"Set-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\nX-Obs: \xe9",
    )
    assert fields[0] == (b":status", b"200")
    assert [value for name, value in fields if name == b"set-cookie"] == [b"a", b"b"]
    assert dict(fields)[b"x-upper"] == b"A"
    assert dict(fields)[b"x-obs"] == b"\xe9"
    assert not dict(fields).keys() & {b"connection", b"x-hop", b"keep-alive", b"transfer-encoding"}
    assert sum(name.startswith(b":") for name, _ in fields) == 1
    assert b"date" in dict(fields)


def test_an_interim_response_has_the_same_rules(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a", passive=None), listener())
    client = RawH2(RigLink(rig, rig.client()))
    client.shake_hands()
    client.send(headers(1, request()))
    peer = rig.origin("a").accept()
    peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n")
    client.read()
    (hints,) = client.of(1, 1)
    assert hints.fields == ((b":status", b"103"), (b"link", b"</a>"))
    assert not hints.ends
    peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    client.read()
    assert client.ended(1)


@pytest.mark.parametrize("version", ["http1", "h2"])
def test_an_interim_response_has_no_length(rig: Rig, version: str) -> None:
    """RFC 9110 section 8.6: whoever believed it would take the response behind it for a body."""
    rig.apply(route("all", to="a"), upstream("a", passive=None), listener())
    peer = rig.client()
    if version == "h2":
        client = RawH2(RigLink(rig, peer))
        client.shake_hands()
        client.send(headers(1, request()))
    else:
        peer.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    rig.origin("a").accept().send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\ncontent-length: 5\r\n\r\n")
    if version == "h2":
        client.read()
        assert client.seen[-1].fields == ((b":status", b"103"), (b"link", b"</a>"))
    else:
        assert peer.received == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
