"""Any fields at all: what the gateway lets through, the h2 library lets through, and nothing else comes out.

The library and h11 have the last word on what a good message is; the gateway may be stricter, never looser. Whatever
passes must come out as the same fields, so that nobody can write one field that becomes two.
"""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, ResponseReceived
from h2.exceptions import ProtocolError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.h2 import raw
from tests.h2.origins import H1Origin, listener
from tests.h2.raw import PROTOCOL, RawH2, RigLink, Sent, block, headers
from tests.h2.upstreams import Answer, Script

from gatewright.testing.rig import Rig, route, upstream

ODD = st.sampled_from(
    [b"\0", b"\r\n", b"\n", b" ", b"\t", b":", b"\x7f", b"\x80", b"\xff", b"A", b"/", b"#", b"?", b"@", b","]
)
PLAIN = st.sampled_from([b"a", b"x-test", b"1", b"example.com", b"a=b", b"-", b"text", b""])
ANY = st.lists(st.one_of(PLAIN, PLAIN, ODD), max_size=3).map(b"".join)
NAMES = st.one_of(
    st.sampled_from(
        [b"x-a", b"x-b", b"cookie", b"te", b"host", b"content-length", b"connection", b"transfer-encoding", b"upgrade",
         b"keep-alive", b"proxy-connection", b"expect", b"content-type", b"x_y", b"set-cookie", b"trailer"]
    ),
    ANY,
)  # fmt: skip
VALUES = st.one_of(st.sampled_from([b"0", b"1", b"trailers", b"x", b"chunked", b"a=1; b=2", b"100-continue", b""]), ANY)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=4)
#: Not passed on, or made anew, by the gateway.
OURS = {b"host", b"te", b"content-length", b"via", b"date", b"trailer", b"transfer-encoding", b"expect"}


@st.composite
def any_request(draw: st.DrawFn) -> Sent:
    """Four good pseudo-fields, most of the time."""
    pseudo = [
        (b":method", draw(st.sampled_from([b"GET", b"GET", b"POST", b"HEAD", b"get", b"CONNECT", b"G T", b""]))),
        (b":scheme", draw(st.sampled_from([b"http", b"http", b"https", b"ht tp", b""]))),
        (b":path", draw(st.one_of(st.sampled_from([b"/", b"/a?b", b"/%20", b"*", b"", b"a"]), ANY.map(b"/".__add__)))),
        (b":authority", draw(st.one_of(st.sampled_from([b"x", b"x:80", b"[::1]", b"", b"u@x"]), ANY))),
    ]
    if not draw(st.integers(0, 4)):
        pseudo.pop(draw(st.integers(0, 3)))
    if not draw(st.integers(0, 9)):
        pseudo.append(
            draw(st.sampled_from([(b":status", b"200"), (b":path", b"/"), (b":x", b"1"), (b":protocol", b"x")]))
        )
    made = [*pseudo, *draw(FIELDS)]
    if not draw(st.integers(0, 9)):
        made.reverse()
    return tuple(made)


def others_say(client: bool, fields: Sent) -> Sent | None:
    """The fields as the library reads them, or None when it refuses."""
    connection = H2Connection(
        H2Configuration(client_side=client, header_encoding=False, normalize_inbound_headers=False)
    )
    connection.initiate_connection()
    start = b"" if client else raw.PREFACE
    connection.receive_data(start + raw.settings())
    if client:
        connection.send_headers(1, list(raw.request()), end_stream=True)
    try:
        events = connection.receive_data(headers(1, fields))
    except ProtocolError:
        return None
    for event in events:
        if isinstance(event, (RequestReceived, ResponseReceived)):
            return tuple((bytes(name), bytes(value)) for name, value in event.headers)
    return None


def own(fields: Sent) -> list[tuple[bytes, bytes]]:
    """What has to come out as it went in."""
    hidden = OURS | {b"cookie"}
    return [
        pair
        for pair in fields
        if pair[0] not in hidden and not pair[0].startswith((b":", b"x-forwarded", b"forwarded"))
    ]


@settings(max_examples=120, deadline=None)
@given(any_request())
@example(raw.request((b"a", b"1\r\nx-evil: 1")))
@example(raw.request((b"content-length", b"0")))
@example(raw.request((b"x-a", b"1"), (b"cookie", b"a"), (b"cookie", b"b")))
def test_requests(fields: Sent) -> None:
    rig = Rig()
    rig.apply(route("all", to="a"), upstream("a", passive=None), listener())
    origin = H1Origin(rig)
    client = RawH2(RigLink(rig, rig.client()))
    client.shake_hands()
    client.send(headers(1, fields))
    origin.serve()
    client.read()
    head, reset = client.head(1), client.reset(1)
    if origin.begun:
        ((method, target, got, body, trailers),) = origin.requests
        said = others_say(False, fields)
        assert said is not None, "the library refuses it"
        asked = dict(fields)
        assert (method, target) == (asked[b":method"], asked[b":path"])
        assert dict(got)[b"host"] == asked.get(b":authority", asked.get(b"host"))
        assert (body, trailers) == (b"", [])
        assert own(tuple(got)) == own(fields)
        cookies = [value for name, value in fields if name == b"cookie"]
        assert [value for name, value in got if name == b"cookie"] == ([b"; ".join(cookies)] if cookies else [])
        assert head is not None
        assert head.status == 200
    elif head is not None:
        assert 400 <= head.status <= 501, client.shown()
    else:
        assert reset is not None, client.shown()
        assert reset.code == PROTOCOL
    assert client.is_alive()
    client.link.peer.reset()  # type: ignore[attr-defined]
    rig.advance(2)
    rig.check_idle()


@st.composite
def any_response(draw: st.DrawFn) -> Sent:
    statuses = [
        b"200",
        b"200",
        b"404",
        b"204",
        b"304",
        b"100",
        b"103",
        b"101",
        b"20",
        b"2000",
        b"abc",
        b"000",
        b"999",
        b"",
    ]
    made = [(b":status", draw(st.sampled_from(statuses))), *draw(FIELDS)]
    if not draw(st.integers(0, 9)):
        made.append(draw(st.sampled_from([(b":status", b"200"), (b":path", b"/"), (b":x", b"1")])))
    if not draw(st.integers(0, 9)):
        made.reverse()
    return tuple(made)


@settings(max_examples=120, deadline=None)
@given(any_response())
@example(((b":status", b"200"), (b"a", b"1\r\nx-evil: 1")))
@example(((b":status", b"200"), (b"set-cookie", b"a"), (b"set-cookie", b"b")))
def test_responses(fields: Sent) -> None:
    rig = Rig()
    script = Script(rig)
    client = script.ask(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    server = script.accept()
    server.send(headers(1, fields))
    server.read()
    answer = Answer(client)
    status = dict(fields).get(b":status", b"")
    assert answer.complete
    assert answer.interim == []
    if answer.status != 502:
        names = [name for name, _ in answer.headers]
        assert b"te" not in names
        said = others_say(True, fields) if b"te" not in dict(fields) else ()  # ours is ignored, the library minds it
        assert said is not None, "the library refuses it"
        assert answer.status == int(status)
        assert own(tuple(answer.headers)) == own(fields)
        assert answer.body == b""
    else:
        reset = server.reset(1)
        assert reset is not None, server.shown()
        assert reset.code == PROTOCOL
        assert server.is_alive()
    client.reset()
    server.link.peer.reset()  # type: ignore[attr-defined]
    rig.advance(2)
    rig.check_idle()


def test_the_table_is_kept_whatever_is_refused() -> None:
    """A block that is refused is read to its end all the same: the next one refers to what it has added."""
    rig = Rig()
    rig.apply(route("all", to="a"), upstream("a", passive=None), listener())
    origin = H1Origin(rig)
    client = RawH2(RigLink(rig, rig.client()))
    client.shake_hands()
    stream = 1
    for bad in ((b"X", b"1"), (b"connection", b"x"), (b":x", b"1"), (b"content-length", b"x"), (b"", b"")):
        text = raw.literal(*bad, 0x40) + block(raw.request()[:2]) + raw.literal(b"x-%d" % stream, b"kept", 0x40)
        client.send(headers(stream, text))
        client.send(headers(stream + 2, block(raw.request()) + b"\xbe"))
        origin.serve()
        client.read()
        assert client.ended(stream + 2), client.shown()
        assert (b"x-%d" % stream, b"kept") in origin.requests[-1][2]
        stream += 4
    client.link.peer.reset()  # type: ignore[attr-defined]
    rig.advance(2)
    rig.check_idle()
