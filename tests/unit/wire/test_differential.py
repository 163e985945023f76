"""What our parser accepts, others read in the same way; what they refuse because of framing, we refuse.

The others are h11 (Python, close to the grammar) and httptools (llhttp, as Node.js has it, without leniencies). Ours is
asked through a whole connection, so that nothing between parser and exchange is left out: the head is what the exchange
got, the body what went upstream.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import h11
import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatewright.snapshot import model
from gatewright.testing.corpus import Case, read_corpus
from gatewright.testing.rig import Rig, route, upstream
from gatewright.testing.wires import Peer
from gatewright.wire.chunked import ChunkedReader

REFUSAL = re.compile(rb"HTTP/1\.1 [45]\d\d [A-Z]")
CORPUS = Path(__file__).parents[2] / "corpus" / "h1"
VALID = read_corpus(CORPUS / "valid")
INVALID = read_corpus(CORPUS / "invalid")

#: What h11 refuses and we accept: none of it says where a message ends.
H11_REFUSES = {
    "chunk-ext-whitespace": "RFC 9112 section 7.1.1: recipients must accept white space before an extension",
    "trailer-forbidden": "RFC 9110 section 6.5.1: such trailer fields are dropped",
}
#: What llhttp refuses beyond that.
LLHTTP_REFUSES = {
    "method-lower-case": "llhttp knows a list of methods, not the grammar (RFC 9110 section 9.1: a token)",
    "method-token-characters": "the same",
    "method-unknown": "the same",
    "pipelined-after-close": "bytes behind the last request: we never read them",
    "pipelined-rest-of-body": "the same: they are refused when they are read",
    "te-tab": "RFC 9110 section 5.6.3: a tab is optional white space",
}


class Reading(NamedTuple):
    """The complete requests that somebody read, and whether what follows them was refused."""

    requests: list[Message]
    refused: bool


class Message(NamedTuple):
    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def ours(data: bytes) -> Reading:
    """What our exchanges got."""
    rig = Rig()
    rig.apply(route("all", to="a"), upstream("a", passive=None, pool=model.Pool(max_idle=4)))
    client = rig.client()
    client.send(data)
    found: list[Message] = []
    while (peer := next_request(rig, client)) is not None:
        request = client.protocol.exchange.request  # type: ignore[attr-defined]
        found.append(
            Message(request.method, request.target, normal(request.headers.fields.pairs), body_of(peer.take()))
        )
        peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    rig.check_idle()
    return Reading(found, REFUSAL.search(client.received) is not None)


def next_request(rig: Rig, client: Peer) -> Peer | None:
    """The connection that has a complete request on it."""
    origin = rig.origin("a")
    while origin.waiting:
        origin.accept()
    exchange = client.protocol.exchange  # type: ignore[attr-defined]
    if exchange is None or (exchange.body is not None and not exchange.body.done):
        return None
    return next(peer for peer in origin.connections if peer.protocol is exchange.conn)


def body_of(request: bytes) -> bytes:
    head, _, rest = request.partition(b"\r\n\r\n")
    if b"\r\ntransfer-encoding: chunked" not in head.lower():
        return rest
    reader = ChunkedReader()
    body = b"".join(reader.feed(rest))
    assert reader.done
    assert reader.rest == b""
    return body


def normal(headers: object) -> tuple[tuple[bytes, bytes], ...]:
    """Fields without what each parser does to them of its own: case, the outer white space, trailers behind them."""
    pairs = [(name.lower(), value.strip(b" \t")) for name, value in headers]  # type: ignore[attr-defined]
    return tuple((name, value.lower() if name == b"transfer-encoding" else value) for name, value in pairs)


def of_h11(data: bytes) -> Reading:
    """What h11 reads. It gets each request without the empty line before it (RFC 9112 section 2.2)."""
    found: list[Message] = []
    while True:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=200_000)
        connection.receive_data(data.removeprefix(b"\r\n"))
        try:
            message = message_of(connection)
        except h11.RemoteProtocolError:
            return Reading(found, refused=True)
        if message is None:
            return Reading(found, refused=False)
        found.append(message)
        if connection.their_state is not h11.DONE:
            return Reading(found, refused=False)
        data = connection.trailing_data[0]


def message_of(connection: h11.Connection) -> Message | None:
    request, body = connection.next_event(), b""
    if not isinstance(request, h11.Request):
        return None
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if not isinstance(event, h11.Data):
            return None
        body += bytes(event.data)
    return Message(request.method, request.target, normal(request.headers), body)


class Collector:
    """Callbacks of httptools."""

    def __init__(self) -> None:
        self.found: list[Message] = []
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self.url, self.body = b"", b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.in_head = True

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:  # trailer fields come here too
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.in_head = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.found.append(Message(self.parser.get_method(), self.url, normal(self.headers), self.body))


def of_llhttp(data: bytes) -> Reading:
    """What llhttp reads."""
    collector = Collector()
    try:
        collector.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        return Reading(collector.found, True)
    return Reading(collector.found, False)


@pytest.mark.parametrize("case", VALID, ids=[case.name for case in VALID])
def test_good_requests_mean_the_same_to_others(case: Case) -> None:
    mine = ours(case.data)
    assert (len(mine.requests), mine.refused) == (len(case.requests), False)
    assert of_h11(case.data).refused is (case.name in H11_REFUSES)
    if case.name not in H11_REFUSES:
        assert of_h11(case.data) == mine
        if case.name not in LLHTTP_REFUSES:
            assert of_llhttp(case.data) == mine
    assert_same(mine.requests, of_llhttp(case.data).requests)


@pytest.mark.parametrize("case", INVALID, ids=[case.name for case in INVALID])
def test_of_bad_requests_only_the_good_before_them_go_upstream(case: Case) -> None:
    mine = ours(case.data)
    assert len(mine.requests) == case.after
    assert mine.refused is not case.waits
    assert_same(mine.requests, of_h11(case.data).requests)


def assert_same(mine: list[Message], theirs: list[Message]) -> None:
    """Up to where the first of both stops."""
    common = min(len(mine), len(theirs))
    assert theirs[:common] == mine[:common]


METHODS = st.sampled_from([b"GET", b"POST", b"HEAD", b"PUT"])
TARGETS = st.sampled_from([b"/", b"/a?b=c", b"/%41/../b", b"http://x/", b"/a;b", b"*", b"//", b"/ b"])
LINES = st.sampled_from(
    b"Host: x|host:x|Host: y|Content-Length: 5|content-length:5|Content-Length: 0|Content-Length: 05|Content-Length: 5, 5|"
    b"Content-Length: +5|Content-Length : 5|Content-Length: 5 |Content-Length:\t5|Content-Length: 0x5|Content-Length:|"
    b"Transfer-Encoding: chunked|Transfer-Encoding: Chunked|Transfer-Encoding: chunked |Transfer-Encoding:\x0bchunked|"
    b"Transfer-Encoding: identity|Transfer-Encoding: chunked, chunked|Transfer-Encoding: gzip, chunked|X: \xff|X:|X: a: b|"
    b"Transfer_Encoding: chunked|Transfer-Encoding : chunked| folded|\tfolded|X|: x|X: \0|X: \x7f|X\x80: a|Connection: close|"
    b'Connection: keep-alive|Expect: 100-continue|Transfer-Encoding: "chunked"|Transfer-Encoding: xchunked|X: \r|X: \n'.split(
        b"|"
    )
)
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n"])
BODIES = st.sampled_from(
    b"|hello|5\r\nhello\r\n0\r\n\r\n|0\r\n\r\n|5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n|05\r\nhello\r\n0\r\n\r\n|hel|"
    b"5\nhello\n0\n\n|5 \r\nhello\r\n0\r\n\r\n|0x5\r\nhello\r\n0\r\n\r\n|+5\r\nhello\r\n0\r\n\r\n".split(b"|")
)
VERSIONS = st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/1.2", b"http/1.1"])
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request made of parts that parsers like to disagree about, mostly with another one behind it."""
    lines = [b"%b %b %b" % (draw(METHODS), draw(TARGETS), draw(VERSIONS))]
    lines += draw(st.lists(LINES, max_size=4))
    if draw(st.integers(0, 4)):
        lines.insert(1, b"Host: x")
    head = b"".join(line + draw(ENDS) for line in lines) + draw(ENDS)
    return head + draw(BODIES) + (NEXT if draw(st.booleans()) else b"")


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """A request of the corpus with some octets put in, taken away or changed."""
    data = bytearray(draw(st.sampled_from([case.data for case in VALID + INVALID if len(case.data) < 2000])))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(
            st.sampled_from([b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b":", b"\0", b"0", b"5", b";", b",", b"\xff"])
        )
    return bytes(data)


def is_known(data: bytes) -> bool:
    """Whether h11 may refuse what we take: for one of the reasons in :data:`H11_REFUSES`."""
    return (
        re.search(rb"[0-9a-fA-F][ \t]+;", data) is not None
        or re.search(rb"\r\n0+(;[^\r\n]*)?\r\n[^\r\n]+:", data) is not None
    )


@settings(max_examples=250, deadline=None)
@given(requests() | broken())
@example(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello")
@example(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + NEXT)
def test_nobody_reads_other_requests_than_we_do(data: bytes) -> None:
    mine, h11s, llhttps = ours(data), of_h11(data), of_llhttp(data)
    assert_same(mine.requests, h11s.requests)
    assert_same(mine.requests, llhttps.requests)
    if not mine.refused:
        assert len(h11s.requests) <= len(mine.requests)
    if len(h11s.requests) < len(mine.requests):
        assert h11s.refused
        assert len(llhttps.requests) >= len(mine.requests) or is_known(data), "nobody else takes what we have forwarded"
