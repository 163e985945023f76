"""The gateway as a server: windows both ways, sizes, and what a connection says about itself."""

from __future__ import annotations

import pytest
from h2.settings import SettingCodes
from tests.h2 import raw
from tests.h2.oracle import Oracle
from tests.h2.origins import H1Origin, listener
from tests.h2.raw import (
    DATA,
    END_HEADERS,
    FLOW_CONTROL,
    GOAWAY,
    INITIAL_WINDOW,
    MAX_STREAMS,
    PING,
    RawH2,
    RigLink,
    headers,
    request,
    settings,
    window_update,
)

from gatewright.testing.rig import Rig, route, upstream
from gatewright.testing.wires import Peer

GET = headers(1, request())


@pytest.fixture
def client(rig: Rig) -> RawH2:
    rig.apply(route("all", to="a"), upstream("a", passive=None), listener())
    return RawH2(RigLink(rig, rig.client()))


def respond(rig: Rig, size: int, head: bytes = b"") -> Peer:
    """An endpoint that answers with so many octets."""
    origin = rig.origin("a").accept()
    origin.send(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n" % (head, size))
    for at in range(0, size, 16_000):
        origin.send(b"x" * min(16_000, size - at))
    return origin


def test_data_fits_a_window_of_one_octet(rig: Rig, client: RawH2) -> None:
    client.shake_hands((INITIAL_WINDOW, 1))
    client.send(GET)
    respond(rig, 5)
    for i in range(1, 5):
        client.read()
        assert (len(client.body(1)), client.ended(1)) == (i, False)
        client.send(window_update(1, 1))
    client.read()
    assert (len(client.body(1)), client.ended(1)) == (5, True)


def test_windows_may_be_negative(rig: Rig, client: RawH2) -> None:
    client.shake_hands((INITIAL_WINDOW, 10))
    client.send(GET)
    respond(rig, 30)
    client.read()
    assert len(client.body(1)) == 10
    client.send(settings((INITIAL_WINDOW, 3)))  # leaves -7
    client.send(window_update(1, 7))
    client.read()
    assert len(client.body(1)) == 10
    client.send(window_update(1, 1))
    client.read()
    assert len(client.body(1)) == 11
    client.send(settings((INITIAL_WINDOW, 4)))
    client.read()
    assert len(client.body(1)) == 12
    client.send(settings((INITIAL_WINDOW, 1000)))
    client.read()
    assert (len(client.body(1)), client.ended(1)) == (30, True)


def test_settings_are_acknowledged_before_they_are_used(rig: Rig, client: RawH2) -> None:
    client.shake_hands((INITIAL_WINDOW, 0))
    client.send(GET)
    respond(rig, 1)
    client.read()
    client.send(settings((INITIAL_WINDOW, 1)))
    assert [(each.kind, each.flags) for each in client.read()][:1] == [(raw.SETTINGS, {"ACK"})]
    assert client.ended(1)


def test_new_streams_have_the_new_initial_window(rig: Rig, client: RawH2) -> None:
    client.shake_hands((INITIAL_WINDOW, 10))
    client.send(settings((INITIAL_WINDOW, 2)), GET)
    respond(rig, 30)
    client.read()
    assert len(client.body(1)) == 2
    client.send(raw.rst(1))


def test_an_empty_end_needs_no_window(rig: Rig, client: RawH2) -> None:
    client.shake_hands((INITIAL_WINDOW, 0))
    client.send(GET)
    origin = rig.origin("a").accept()
    origin.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    origin.send(b"0\r\n\r\n")
    client.read()
    assert (client.body(1), client.ended(1)) == (b"", True)


def test_trailers_wait_behind_the_content_but_for_no_window(rig: Rig, client: RawH2) -> None:
    client.shake_hands((INITIAL_WINDOW, 2))
    client.send(GET)
    rig.origin("a").accept().send(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\nx-sum: 1\r\n\r\n"
    )
    client.read()
    assert (client.body(1), client.ended(1)) == (b"ab", False)
    client.send(window_update(1, 2))
    client.read()
    assert (client.body(1), client.ended(1)) == (b"abcd", True)
    assert client.of(raw.HEADERS, 1)[-1].fields == ((b"x-sum", b"1"),)


def test_the_connection_has_a_window_too(rig: Rig, client: RawH2) -> None:
    client.shake_hands((INITIAL_WINDOW, 1 << 20))
    client.send(GET)
    respond(rig, 100_000)
    client.read()
    assert len(client.body(1)) == 65_535
    client.send(window_update(1, 50_000))
    client.read()
    assert len(client.body(1)) == 65_535
    client.send(window_update(0, 1))
    client.read()
    assert len(client.body(1)) == 65_536
    client.send(window_update(0, 1 << 20))
    client.read()
    assert (len(client.body(1)), client.ended(1)) == (100_000, True)


def test_streams_share_the_connections_window(rig: Rig, client: RawH2) -> None:
    client.shake_hands((INITIAL_WINDOW, 1 << 20))
    client.send(*(headers(stream, request()) for stream in (1, 3, 5)))
    for _ in range(3):
        respond(rig, 200_000)
    for _ in range(6):
        client.send(window_update(0, 65_536))
    client.read()
    sizes = [len(client.body(stream)) for stream in (1, 3, 5)]
    assert sum(sizes) == 65_535 + 6 * 65_536
    assert min(sizes) > 65_536, f"one stream has had it nearly all: {sizes}"
    client.send(window_update(0, 1 << 20))
    client.read()
    assert [client.ended(stream) for stream in (1, 3, 5)] == [True] * 3


def test_a_stream_without_window_does_not_hold_up_others(rig: Rig, client: RawH2) -> None:
    client.shake_hands((INITIAL_WINDOW, 0))
    client.send(GET)
    respond(rig, 50_000)
    client.send(headers(3, request()), window_update(3, 10))
    respond(rig, 10)
    client.read()
    assert (client.ended(1), client.ended(3)) == (False, True)
    client.send(raw.rst(1))


def test_frames_are_no_larger_than_the_peer_takes(rig: Rig, client: RawH2) -> None:
    client.shake_hands((INITIAL_WINDOW, 1 << 20), (raw.MAX_FRAME, 1 << 20))
    client.reader.most = 1 << 20
    client.send(window_update(0, 1 << 20), GET)
    respond(rig, 100_000, b"".join(b"x-%d: %b\r\n" % (i, b"y" * 900) for i in range(40)))
    client.read()
    head = client.head(1)
    assert head is not None
    assert len(head.fields) > 40
    assert (len(client.body(1)), client.ended(1)) == (100_000, True)


def test_large_heads_go_in_continuations(rig: Rig, client: RawH2) -> None:
    client.shake_hands()
    client.send(GET)
    respond(rig, 0, b"".join(b"x-%d: %b\r\n" % (i, b"y" * 900) for i in range(40)))
    client.read()  # the reader takes no frame above 16,384 octets
    head = client.head(1)
    assert head is not None
    assert [name for name, _ in head.fields if name.startswith(b"x-")] == [b"x-%d" % i for i in range(40)]


def announced(client: RawH2) -> tuple[int, int]:
    """The windows that the gateway gives: of a stream, of the connection."""
    connection = 65_535 + sum(each.number for each in client.of(raw.WINDOW_UPDATE, 0))
    return client.peer_settings().get(INITIAL_WINDOW, 65_535), connection


def upload(client: RawH2, stream: int, size: int) -> None:
    for at in range(0, size, 16_384):
        client.send(raw.data(stream, b"x" * min(16_384, size - at), 0))


def test_more_than_a_streams_window_resets_it(rig: Rig, client: RawH2) -> None:
    client.shake_hands()
    client.send(headers(1, request(method=b"POST"), END_HEADERS))
    rig.origin("a").accept().stall()
    client.is_alive()
    stream, connection = announced(client)
    assert connection > stream, "one stream could use up the connection's window"
    upload(client, 1, stream)
    client.is_alive()
    granted = sum(each.number for each in client.of(raw.WINDOW_UPDATE, 1))
    upload(client, 1, granted)
    client.is_alive()
    while (more := sum(each.number for each in client.of(raw.WINDOW_UPDATE, 1)) - granted) > 0:
        granted += more
        upload(client, 1, more)
        client.is_alive()
    assert client.reset(1) is None, "it was within the window"
    client.send(raw.data(1, b"x", 0))
    assert client.is_alive()
    reset = client.reset(1)
    assert reset is not None
    assert reset.code == FLOW_CONTROL


def test_more_than_the_connections_window_breaks_it(rig: Rig, client: RawH2) -> None:
    client.shake_hands()
    client.is_alive()
    window, connection = announced(client)
    streams = [1 + 2 * i for i in range(connection // window + 1)]
    for stream in streams:
        client.send(headers(stream, request(method=b"POST"), END_HEADERS))
    origin = rig.origin("a")
    while origin.waiting:
        origin.accept().stall()
    sent = dict.fromkeys(streams, 0)
    for stream in streams * 10:
        left = window + sum(each.number for each in client.of(raw.WINDOW_UPDATE, stream)) - sent[stream]
        while left > 0 and client.goaway is None:
            piece = min(16_384, left)
            client.send(raw.data(stream, b"x" * piece, 0))
            sent[stream] += piece
            left -= piece
            client.read()
    granted = 65_535 + sum(each.number for each in client.of(raw.WINDOW_UPDATE, 0))
    assert client.goaway is not None, f"{sum(sent.values())} octets were taken, of {granted}"
    assert client.goaway.code == FLOW_CONTROL
    assert sum(sent.values()) > granted


def test_what_nobody_takes_is_given_back_to_the_connection(rig: Rig, client: RawH2) -> None:
    client.shake_hands()
    client.is_alive()
    _, connection = announced(client)
    sent = 0
    stream = 1
    while sent < 3 * connection:  # each one is refused: there is no such length
        fields = request((b"content-length", b"1"), method=b"POST")
        client.send(headers(stream, fields, END_HEADERS), raw.data(stream, b"x" * 16_384, 0))
        origin = rig.origin("a")
        while origin.waiting:
            origin.accept()
        rig.advance(1.0)
        sent += 16_384
        stream += 2
    assert client.is_alive()
    assert announced(client)[1] >= 65_535 + sent


# --- what a connection says about itself ------------------------------------------------------------------------------


def test_settings(client: RawH2) -> None:
    client.shake_hands()
    said = client.peer_settings()
    assert said[MAX_STREAMS] >= 100
    assert said[raw.ENABLE_CONNECT] == 1
    assert said.get(raw.ENABLE_PUSH, 0) == 0
    assert said[raw.MAX_LIST] > 0


def test_every_settings_frame_is_acknowledged(client: RawH2) -> None:
    client.shake_hands()
    client.send(settings(), settings((raw.MAX_LIST, 1)), settings((0x99, 1)))
    assert client.is_alive()
    assert sum("ACK" in each.flags for each in client.of(raw.SETTINGS)) == 4


def test_pings_come_back_in_order(client: RawH2) -> None:
    client.shake_hands()
    client.send(raw.ping(b"one.....") + raw.ping(b"two.....") + raw.ping(b"three...", raw.ACK))
    assert client.is_alive()
    assert [each.payload[:5].rstrip(b".") for each in client.of(PING)][:2] == [b"one", b"two"]
    assert b"three..." not in [each.payload for each in client.of(PING)]


def test_the_highest_stream_is_served_and_is_the_last(rig: Rig, client: RawH2) -> None:
    client.shake_hands()
    last = (1 << 31) - 1
    client.send(headers(last, request()))
    respond(rig, 2)
    client.read()
    assert client.ended(last)
    client.send(headers(1, request()))
    client.until(lambda: client.closed)
    assert client.goaway is not None
    assert client.goaway.number == last


def test_goaway_names_the_last_stream(rig: Rig, client: RawH2) -> None:
    client.shake_hands()
    client.send(GET, headers(5, request()))
    for _ in range(2):
        respond(rig, 2)
    client.send(raw.ping(b"short"))
    client.until(lambda: client.closed)
    goaway = client.goaway
    assert goaway is not None
    assert (goaway.number, goaway.code) == (5, raw.FRAME_SIZE)


def test_a_client_that_goes_away_still_gets_its_answers(rig: Rig, client: RawH2) -> None:
    client.shake_hands()
    client.send(GET, raw.goaway())
    respond(rig, 3)
    client.until(lambda: client.closed)
    assert (client.body(1), client.ended(1)) == (b"xxx", True)
    assert all(each.code == 0 for each in client.of(GOAWAY))


def test_a_client_that_goes_away_with_nothing_open_is_let_go(client: RawH2) -> None:
    client.shake_hands()
    client.send(raw.goaway())
    client.until(lambda: client.closed)
    assert all(each.code == 0 for each in client.of(GOAWAY))


def test_a_client_that_closes_its_side_still_gets_its_answers(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a", passive=None), listener())
    peer = rig.client()
    client = RawH2(RigLink(rig, peer))
    client.shake_hands()
    client.send(GET)
    peer.end()
    respond(rig, 3)
    client.until(lambda: client.closed)
    assert (client.body(1), client.ended(1)) == (b"xxx", True)


@pytest.mark.parametrize("size", [0, 100, 4095])
def test_a_smaller_header_table_is_confirmed(rig: Rig, size: int) -> None:
    """RFC 9113 section 4.3.1: the first block behind the acknowledgement begins with the new size."""
    rig.apply(route("all", to="a"), upstream("a", passive=None), listener())
    origin = H1Origin(rig)
    client = Oracle(RigLink(rig, rig.client()), client=True, local={SettingCodes.HEADER_TABLE_SIZE: size})
    for _ in range(2):
        asked = client.open(request(), end=True)
        origin.serve()
        client.pump()
        assert (bytes(asked.body), asked.ended) == (b"ok", True)
    client.set(HEADER_TABLE_SIZE=4096)
    client.set(HEADER_TABLE_SIZE=size)
    asked = client.open(request(), end=True)
    origin.serve()
    client.pump()
    assert asked.ended


def test_a_slow_client_makes_us_hold_little(rig: Rig, client: RawH2) -> None:
    client.shake_hands((INITIAL_WINDOW, 0))
    client.send(*(headers(1 + 2 * i, request()) for i in range(20)))
    origin = rig.origin("a")
    peers = []
    while origin.waiting:
        peers.append(origin.accept())
    assert len(peers) == 20
    for peer in peers:
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (10 << 20))
        for _ in range(640):
            peer.send(b"x" * 16_384)
    inside = [10 * (1 << 20) - sum(map(len, peer.transport.unread)) for peer in peers]
    assert max(inside) < 256 << 10, f"{max(inside)} octets of one response are held"
    client.read()
    assert client.of(DATA) == []
