"""How the gateway takes leave of clients: in two steps, with answers for all that it has taken (RFC 9113 section 6.8)."""

from __future__ import annotations

from tests.h2 import raw
from tests.h2.origins import H1Origin, listener
from tests.h2.raw import END_HEADERS, GOAWAY, PING, RawH2, RigLink, data, headers, request

from gatewright.testing.rig import Rig, route, upstream

HIGHEST = (1 << 31) - 1


def connect(rig: Rig, **limits: object) -> tuple[RawH2, H1Origin]:
    rig.apply(route("all", to="a"), upstream("a", passive=None), listener(**limits))
    client = RawH2(RigLink(rig, rig.client()))
    client.shake_hands()
    return client, H1Origin(rig)


def drain(rig: Rig) -> None:
    """As when the gateway stops or its listener goes."""
    (each,) = rig._listeners.values()
    each.drain(new_too=True)
    rig.settle()


def goaways(client: RawH2) -> list[tuple[int, int]]:
    client.read()
    return [(each.number, each.code) for each in client.of(GOAWAY)]


def pong(client: RawH2) -> None:
    """Answer the last PING."""
    client.send(raw.ping(client.of(PING)[-1].payload, raw.ACK))


def test_what_is_on_its_way_is_served(rig: Rig) -> None:
    client, origin = connect(rig)
    client.send(headers(1, request()))
    drain(rig)
    assert goaways(client) == [(HIGHEST, 0)]
    client.send(headers(3, request()))  # sent before the client had read the GOAWAY
    pong(client)
    assert goaways(client) == [(HIGHEST, 0), (3, 0)]
    client.send(headers(5, request()))
    origin.serve()
    client.until(lambda: client.closed)
    assert [client.ended(stream) for stream in (1, 3, 5)] == [True, True, False]
    assert len(origin.requests) == 2
    assert goaways(client)[-1] == (3, 0)


def test_a_client_that_does_not_answer_the_ping_is_left_after_a_second(rig: Rig) -> None:
    client, origin = connect(rig)
    client.send(headers(1, request()))
    drain(rig)
    rig.advance(2)
    assert goaways(client) == [(HIGHEST, 0), (1, 0)]
    origin.serve()
    client.until(lambda: client.closed)
    assert client.ended(1)


def test_an_idle_connection_is_closed(rig: Rig) -> None:
    client, origin = connect(rig)
    client.send(headers(1, request()))
    origin.serve()
    drain(rig)
    assert goaways(client) == [(HIGHEST, 0)]
    pong(client)
    client.until(lambda: client.closed)
    assert goaways(client)[-1] == (1, 0)


def test_long_uploads_and_downloads_are_finished(rig: Rig) -> None:
    client, _ = connect(rig)
    client.send(headers(1, request(method=b"POST"), END_HEADERS), data(1, b"one", 0))
    peer = rig.origin("a").accept()
    drain(rig)
    rig.advance(5)
    client.send(data(1, b"two"))
    assert b"one" in peer.received
    assert b"two" in peer.received
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha")
    rig.advance(5)
    client.read()
    assert not client.closed
    peer.send(b"lf")
    client.until(lambda: client.closed)
    assert (client.body(1), client.ended(1)) == (b"half", True)


def test_a_connection_has_its_share_of_requests(rig: Rig) -> None:
    client, origin = connect(rig, requests=3)
    for stream in (1, 3, 5):
        client.send(headers(stream, request()))
        origin.serve()
    assert goaways(client) == [(HIGHEST, 0)]
    client.send(headers(7, request()))
    origin.serve()
    pong(client)
    client.until(lambda: client.closed)
    assert [client.ended(stream) for stream in (1, 3, 5, 7)] == [True] * 4
    assert goaways(client)[-1] == (7, 0)


def test_an_idle_connection_is_closed_in_time(rig: Rig) -> None:
    client, origin = connect(rig, idle_timeout=20.0)
    client.send(headers(1, request()))
    origin.serve()
    rig.advance(15)
    assert goaways(client) == []
    rig.advance(10)
    assert client.closed
    assert goaways(client) == [(1, 0)]


def test_an_exchange_keeps_the_configuration_that_it_began_with(rig: Rig) -> None:
    client, _ = connect(rig)
    client.send(headers(1, request(method=b"POST"), END_HEADERS))
    peer = rig.origin("a").accept()
    rig.apply(route("other", "/other", to="b"), upstream("b", passive=None), listener())
    client.send(data(1, b"x"), headers(3, request()), headers(5, request(path=b"/other")))
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nold")
    rig.origin("b").accept().send(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nnew")
    client.read()
    assert (client.body(1), client.body(5)) == (b"old", b"new")
    head = client.head(3)
    assert head is not None
    assert head.status == 404


def test_the_last_word_names_no_more_than_the_one_before(rig: Rig) -> None:
    client, _ = connect(rig)
    client.send(headers(1, request()))
    drain(rig)
    client.read()
    pong(client)
    client.send(headers(3, request()))  # not taken
    client.send(raw.frame(raw.PING, 0, 0, b"short"))
    assert goaways(client) == [(HIGHEST, 0), (1, 0), (1, raw.FRAME_SIZE)]
