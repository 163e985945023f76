"""The peers of these tests, against nghttpd and each other: what they say about the gateway must be right."""

from __future__ import annotations

import pytest
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from tests.h2 import raw
from tests.h2.conftest import connect
from tests.h2.oracle import Oracle


class Wire:
    """Two ends of nothing but memory."""

    def __init__(self) -> None:
        self.closed = False
        self.inbox = b""
        self.other: Wire = self

    def send(self, data: bytes) -> None:
        self.other.inbox += data

    def receive(self) -> bytes:
        data, self.inbox = self.inbox, b""
        return data

    def wait(self) -> bool:
        return False


def wires() -> tuple[Wire, Wire]:
    one, two = Wire(), Wire()
    one.other, two.other = two, one
    return one, two


def pump(*oracles: Oracle) -> None:
    moved = -1
    while moved != (moved := sum(each.moved for each in oracles)):
        for each in oracles:
            each.pump()


def test_oracles_exchange_bodies_larger_than_their_windows() -> None:
    one, two = wires()
    client = Oracle(one, client=True, local={SettingCodes.INITIAL_WINDOW_SIZE: 10})
    server = Oracle(two, client=False, local={SettingCodes.MAX_CONCURRENT_STREAMS: 3})
    pump(client, server)
    asked = client.open(raw.request(method=b"POST"))
    client.send(asked, b"x" * 200_000, end=True, trailers=((b"x-sum", b"1"),))
    pump(client, server)
    heard = server.streams[asked.id]
    assert (len(heard.body), heard.ended, heard.trailers) == (200_000, True, ((b"x-sum", b"1"),))
    assert heard.get(b":method") == b"POST"
    server.head(heard, [(b":status", b"103"), (b"link", b"</a>")])
    server.head(heard, [(b":status", b"200")])
    server.send(heard, b"y" * 1000, end=True)
    pump(client, server)
    assert (bytes(asked.body), asked.ended, asked.get(b":status")) == (b"y" * 1000, True, b"200")
    assert asked.informational == [((b":status", b"103"), (b"link", b"</a>"))]
    assert client.connection.remote_settings.max_concurrent_streams == 3


def test_an_oracle_that_does_not_grant_stops_the_other() -> None:
    one, two = wires()
    client = Oracle(one, client=True)
    server = Oracle(two, client=False, grant=False)
    pump(client, server)
    asked = client.open(raw.request(method=b"POST"))
    client.send(asked, b"x" * 100_000, end=True)
    pump(client, server)
    assert len(server.streams[1].body) == 65_535
    server.give(1)
    pump(client, server)
    assert (len(server.streams[1].body), server.streams[1].ended) == (100_000, True)
    client.reset(asked)
    pump(client, server)
    assert server.streams[1].reset == raw.CANCEL


def test_an_oracle_objects() -> None:
    one, two = wires()
    server = Oracle(two, client=False)
    one.send(raw.PREFACE + raw.settings() + raw.headers(1, raw.request((b"connection", b"close"))))
    with pytest.raises(ProtocolError):
        server.pump()


@pytest.mark.sockets
def test_an_oracle_and_nghttpd(nghttpd: int) -> None:
    link = connect(nghttpd)
    try:
        client = Oracle(link, client=True)
        asked = client.open(raw.request(), end=True)
        while not asked.ended:
            client.pump()
        assert (bytes(asked.body), asked.get(b":status")) == (b"ok", b"200")
    finally:
        link.sock.close()


def test_frames_by_hand_are_what_hyperframe_reads() -> None:
    reader = raw.Reader()
    sent = raw.request((b"x", b"y" * 300))
    text = raw.headers(1, raw.block(sent)[:20], raw.END_STREAM) + raw.continuation(1, raw.block(sent)[20:])
    text += raw.rst(3, 9) + raw.goaway(7, 11, b"why") + raw.window_update(0, 5) + raw.settings((4, 1)) + raw.ping()
    text += raw.data(5, b"\x01ab\0", raw.PADDED | raw.END_STREAM) + raw.push_promise(1, 2, sent)
    seen = [each for i in range(len(text)) for each in reader.feed(text[i : i + 1])]
    kinds = [raw.HEADERS, raw.RST_STREAM, raw.GOAWAY, raw.WINDOW_UPDATE, raw.SETTINGS, raw.PING, raw.DATA, 5]
    assert [each.kind for each in seen] == kinds
    assert (seen[0].fields, seen[0].ends) == (sent, True)
    assert (seen[1].code, seen[2].code, seen[2].number, seen[3].number) == (9, 11, 7, 5)
    assert (seen[4].settings, seen[5].payload) == ({4: 1}, b"12345678")
    assert (seen[6].payload, seen[6].number, seen[6].ends) == (b"ab", 4, True)
    assert (seen[7].fields, seen[7].number) == (sent, 2)


@pytest.mark.parametrize(
    "text",
    [raw.continuation(1, b""), raw.headers(1, b"", 0) + raw.ping(), raw.data(1, b"x" * 16_385)],
    ids=["continuation", "interrupted", "large"],
)
def test_bad_frames_fail_the_test(text: bytes) -> None:
    with pytest.raises(AssertionError):
        raw.Reader().feed(text)
