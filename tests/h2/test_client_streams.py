"""The gateway as a client of HTTP/2 endpoints: streams, limits, windows and ways of going away."""

from __future__ import annotations

import pytest
from tests.h2 import raw
from tests.h2.raw import (
    CANCEL,
    END_HEADERS,
    FLOW_CONTROL,
    HEADERS,
    INITIAL_WINDOW,
    INTERNAL,
    MAX_STREAMS,
    REFUSED_STREAM,
    RST_STREAM,
    RawH2,
    data,
    goaway,
    headers,
    rst,
    settings,
    window_update,
)
from tests.h2.upstreams import Answer, Script, requests

from gatewright.testing.rig import Rig
from gatewright.testing.wires import Peer

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n0123456789"
STATUS = [(b":status", b"200")]


def upload(size: int) -> bytes:
    return b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size


def answer(server: RawH2, stream: int, body: bytes = b"ok") -> None:
    server.send(headers(stream, STATUS, END_HEADERS), data(stream, body))


def served(client: Peer) -> tuple[int, bytes, bool]:
    got = Answer(client)
    return got.status, got.body, got.complete


OK = (200, b"ok", True)


# --- tried again ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
def test_a_refused_stream_is_tried_again(rig: Rig, request_: bytes) -> None:
    script = Script(rig, retries=1)
    client = script.ask(request_)
    server = script.accept()
    server.send(rst(1, REFUSED_STREAM))
    rig.advance(5)
    while script.origin.waiting:
        server = script.accept()
    server.read()
    stream = requests(server)[-1].stream
    assert stream == 3 or server.body(1) == request_.partition(b"\r\n\r\n")[2]
    answer(server, stream)
    assert served(client) == OK
    assert rig.records[0].tries == 2


def test_refusals_come_to_an_end(rig: Rig) -> None:
    script = Script(rig, retries=3)
    client = script.ask(POST)
    server = script.accept()
    seen = 0
    for _ in range(20):
        rig.advance(5)
        while script.origin.waiting:
            server = script.accept()
            seen = 0
        server.read()
        for each in requests(server)[seen:]:
            seen += 1
            server.send(rst(each.stream, REFUSED_STREAM))
        if served(client)[2]:
            break
    assert served(client)[0] in {502, 503}
    assert rig.records[0].tries <= 4


@pytest.mark.parametrize("retries", [0, 3])
def test_goaways_come_to_an_end(rig: Rig, retries: int) -> None:
    script = Script(rig, retries=retries)
    client = script.ask(POST)
    connections = 0
    for _ in range(30):
        while script.origin.waiting:
            connections += 1
            script.accept().send(goaway(0))
        rig.advance(1)
    assert served(client)[0] in {502, 503}
    assert connections <= 6


def test_streams_above_the_last_of_goaway_are_tried_again(rig: Rig) -> None:
    script = Script(rig, retries=1)
    clients = [script.ask(GET), script.ask(POST), script.ask(GET)]
    server = script.accept()
    assert [each.stream for each in requests(server)] == [1, 3, 5]
    server.send(goaway(1))
    rig.advance(5)
    assert script.origin.waiting == 1
    second = script.accept()
    assert [each.stream for each in requests(second)] == [1, 3]
    assert second.body(1) == b"0123456789"
    for stream in (1, 3):
        answer(second, stream)
    assert [served(client) for client in clients[1:]] == [OK, OK]
    assert not server.closed
    answer(server, 1)
    assert served(clients[0]) == OK
    server.until(lambda: server.closed)
    assert not second.closed


def test_after_goaway_requests_take_another_connection(rig: Rig) -> None:
    script = Script(rig)
    first = script.ask(GET)
    server = script.accept()
    server.send(goaway((1 << 31) - 1))
    second = script.ask(GET)
    other = script.accept()
    server.read()
    assert [each.stream for each in requests(server)] == [1]
    answer(other, 1)
    assert served(second) == OK
    server.send(goaway(1))
    answer(server, 1)
    assert served(first) == OK
    server.until(lambda: server.closed)


def test_goaway_on_an_idle_connection(rig: Rig) -> None:
    script = Script(rig)
    first = script.ask(GET)
    server = script.accept()
    answer(server, 1)
    assert served(first) == OK
    server.send(goaway(1, 0xFFFF))
    server.until(lambda: server.closed)
    second = script.ask(GET)
    answer(script.accept(), 1)
    assert served(second) == OK


def test_a_lower_last_id_in_a_second_goaway(rig: Rig) -> None:
    script = Script(rig, retries=1)
    client = script.ask(GET)
    server = script.accept()
    server.send(goaway((1 << 31) - 1), goaway(0))
    rig.advance(5)
    answer(script.accept(), 1)
    assert served(client) == OK


def test_a_connection_that_is_lost_fails_all_of_its_streams(rig: Rig) -> None:
    script = Script(rig)
    clients = [script.ask(GET) for _ in range(3)]
    server = script.accept()
    server.send(headers(1, STATUS, END_HEADERS), data(1, b"half", 0))
    assert isinstance(server.link, raw.RigLink)
    server.link.peer.reset()
    assert [(Answer(client).status, Answer(client).complete) for client in clients[1:]] == [(502, True)] * 2
    assert served(clients[0]) == (200, b"half", False)


# --- limits of the endpoint -------------------------------------------------------------------------------------------


def test_one_stream_at_a_time(rig: Rig) -> None:
    script = Script(rig, max_connections=1)
    first = script.ask(GET)
    server = script.accept((MAX_STREAMS, 1))
    second = script.ask(GET)
    server.read()
    assert [each.stream for each in requests(server)] == [1]
    assert script.origin.waiting == 0
    answer(server, 1)
    server.read()
    assert [each.stream for each in requests(server)] == [1, 3]
    answer(server, 3)
    assert [served(first), served(second)] == [OK, OK]


def test_more_connections_when_streams_are_used_up(rig: Rig) -> None:
    script = Script(rig, max_connections=2)
    clients = [script.ask(GET)]
    server = script.accept((MAX_STREAMS, 1))
    clients += [script.ask(GET), script.ask(GET)]
    assert script.origin.waiting == 1
    other = script.accept((MAX_STREAMS, 1))
    answer(server, 1)
    answer(other, 1)
    server.read()
    other.read()
    left = [(peer, each.stream) for peer in (server, other) for each in requests(peer) if each.stream == 3]
    assert len(left) == 1
    answer(*left[0])
    assert [served(client) for client in clients] == [OK] * 3


def test_no_streams_for_now(rig: Rig) -> None:
    script = Script(rig, max_connections=1, wait_timeout=20.0)
    client = script.ask(GET)
    server = script.accept((MAX_STREAMS, 0))
    server.read()
    assert requests(server) == []
    rig.advance(1)
    server.send(settings((MAX_STREAMS, 10)))
    server.read()
    assert [each.stream for each in requests(server)] == [1]
    answer(server, 1)
    assert served(client) == OK


def test_no_streams_ever(rig: Rig) -> None:
    script = Script(rig, max_connections=1, wait_timeout=2.0)
    client = script.ask(GET)
    server = script.accept((MAX_STREAMS, 0))
    rig.advance(5)
    server.read()
    assert requests(server) == []
    status, _, complete = served(client)
    assert (status in {502, 503, 504}, complete) == (True, True)


def test_more_connections_when_the_first_takes_fewer_streams_than_thought(rig: Rig) -> None:
    script = Script(rig, max_connections=3)
    clients = [script.ask(GET) for _ in range(3)]
    assert script.origin.waiting == 1
    servers = [script.accept((MAX_STREAMS, 1))]
    while script.origin.waiting:
        servers.append(script.accept((MAX_STREAMS, 1)))
    assert [len(requests(server)) for server in servers] == [1, 1, 1]
    for server in servers:
        answer(server, 1)
    assert [served(client) for client in clients] == [OK] * 3


@pytest.mark.parametrize("most", [1, 3])
def test_waiting_for_streams_comes_to_an_end(rig: Rig, most: int) -> None:
    script = Script(rig, max_connections=most, wait_timeout=2.0)
    clients = [script.ask(GET) for _ in range(3)]
    connections = 0
    for _ in range(10):
        while script.origin.waiting:
            script.accept((MAX_STREAMS, 0))
            connections += 1
        rig.advance(1)
    assert [Answer(client).status for client in clients] == [503] * 3
    assert connections <= most


def test_fewer_streams_than_are_open(rig: Rig) -> None:
    script = Script(rig, max_connections=1)
    clients = [script.ask(GET) for _ in range(3)]
    server = script.accept()
    server.send(settings((MAX_STREAMS, 1)))
    clients.append(script.ask(GET))
    for stream in (1, 3):
        answer(server, stream)
        server.read()
        assert len(requests(server)) == 3, "there is room for one, and one is open"
    answer(server, 5)
    server.read()
    assert len(requests(server)) == 4
    answer(server, 7)
    assert [served(client) for client in clients] == [OK] * 4


# --- windows of the endpoint ------------------------------------------------------------------------------------------


def test_uploads_fit_the_windows(rig: Rig) -> None:
    script = Script(rig)
    script.ask(upload(200_000))
    server = script.accept((INITIAL_WINDOW, 1000))
    server.read()
    # what was sent before SETTINGS came had the default window
    sent = len(server.body(1))
    assert sent <= 65_535
    server.send(window_update(1, 200_000))
    server.read()
    assert len(server.body(1)) == 65_535, "the connection's window"
    server.send(window_update(0, 34_465))
    server.read()
    assert len(server.body(1)) == 100_000
    server.send(window_update(0, 200_000))
    server.read()
    assert (len(server.body(1)), server.ended(1)) == (200_000, True)
    server.send(rst(1, CANCEL))


def test_a_window_smaller_than_what_is_in_flight(rig: Rig) -> None:
    script = Script(rig)
    client = script.ask(GET)
    server = script.accept()
    answer(server, 1)
    assert served(client) == OK
    script.ask(upload(100_000))
    server.read()
    assert len(server.body(3)) == 65_535
    server.send(settings((INITIAL_WINDOW, 0)), window_update(0, 1 << 20))  # leaves -65,535
    server.send(window_update(3, 65_535))
    server.read()
    assert len(server.body(3)) == 65_535
    server.send(window_update(3, 1))
    server.read()
    assert len(server.body(3)) == 65_536
    server.send(settings((INITIAL_WINDOW, 100_000)))
    server.read()
    assert (len(server.body(3)), server.ended(3)) == (100_000, True)
    answer(server, 3)


def test_an_endpoint_that_opens_no_window_is_given_up(rig: Rig) -> None:
    script = Script(rig)
    client = script.ask(upload(100_000))
    server = script.accept((INITIAL_WINDOW, 0))
    for _ in range(200):
        rig.advance(1)
        server.send(*(raw.ping(each.payload, raw.ACK) for each in server.read() if each.kind == raw.PING))
        if server.reset(1):
            break
    status, _, complete = served(client)
    assert (status in {408, 502, 504}, complete) == (True, True)
    assert server.reset(1) is not None
    other = script.ask(GET)
    server.read()
    answer(server, requests(server)[-1].stream, b"")
    assert served(other) == (200, b"", True)


def test_windows_are_given_back_while_clients_read(rig: Rig) -> None:
    script = Script(rig)
    client = script.ask(GET)
    server = script.accept()
    server.send(headers(1, STATUS, END_HEADERS))
    stream = server.peer_settings().get(INITIAL_WINDOW, 65_535)
    for _ in range(4 * stream // 16_384):
        server.send(data(1, b"x" * 16_384, 0))
    server.send(data(1))
    assert served(client)[2]
    server.read()
    assert sum(each.number for each in server.of(raw.WINDOW_UPDATE, 1)) >= 2 * stream


def test_a_client_that_does_not_read_stops_its_stream_only(rig: Rig) -> None:
    script = Script(rig)
    slow, quick = script.ask(GET), script.ask(GET)
    slow.stall()
    server = script.accept()
    window = server.peer_settings().get(INITIAL_WINDOW, 65_535)
    server.send(headers(1, STATUS, END_HEADERS), headers(3, STATUS, END_HEADERS))
    left = [window, window]
    for _ in range(2000):
        for i, stream in enumerate((1, 3)):
            size = min(16_384, left[i])
            if size:
                left[i] -= size
                server.send(data(stream, b"x" * size, 0))
        for update in [each for each in server.read() if each.kind == raw.WINDOW_UPDATE and each.stream]:
            left[(update.stream - 1) // 2] += update.number
        if not left[0] and len(quick.received) > 20 * window:
            break
    assert left[0] == 0, "the stream that nobody reads has had more credit"
    assert len(slow.received) < 3 * window
    assert len(quick.received) > 20 * window
    server.send(data(1, b"x", 0))
    server.read()
    reset = server.reset(1)
    assert reset is not None, "more than the window was taken"
    assert reset.code == FLOW_CONTROL
    server.send(data(3))
    assert served(quick)[2]
    slow.unstall()


def test_what_comes_for_a_cancelled_request_is_ignored_and_given_back(rig: Rig) -> None:
    script = Script(rig)
    second = script.ask(GET)
    server = script.accept()
    stream = 1
    while 65_535 + sum(each.number for each in server.of(raw.WINDOW_UPDATE, 0)) <= 18 << 20:
        first = script.ask(GET)
        stream += 2
        server.send(headers(stream, STATUS, END_HEADERS), data(stream, b"x", 0))
        first.reset()
        server.read()
        reset = server.reset(stream)
        assert reset is not None
        assert reset.code == CANCEL
        server.send(*[data(stream, b"x" * 16_384, 0)] * 7)  # as much as it could have sent before it knew
        server.read()
        assert stream < 1000
    server.send(data(stream, b"x"), headers(stream, [(b"x", b"1")]), rst(stream), window_update(stream, 5))
    answer(server, 1)
    assert served(second) == OK
    assert len(server.of(RST_STREAM)) == (stream - 1) // 2


def test_data_for_a_cancelled_request_comes_to_an_end(rig: Rig) -> None:
    script = Script(rig)
    client = script.ask(GET)
    server = script.accept()
    server.send(headers(1, STATUS, END_HEADERS), data(1, b"x", 0))
    client.reset()
    for _ in range(8):
        server.send(data(1, b"x" * 16_384, 0))
    assert server.is_alive()
    server.send(data(1, b"x", 0))
    server.until(lambda: server.closed)
    assert server.goaway is not None
    assert server.goaway.code == FLOW_CONTROL


# --- blocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 50])
def test_a_smaller_header_table_is_confirmed(rig: Rig, size: int) -> None:
    script = Script(rig)
    clients = [script.ask(GET)]
    server = script.accept(bare=True)
    server.reader.decoder.max_allowed_table_size = size  # from now on: it raises when the table is not made smaller
    server.send(settings((raw.HEADER_TABLE_SIZE, size)))
    clients.append(script.ask(GET))
    server.read()
    assert [each.stream for each in requests(server)] == [1, 3]
    for stream in (1, 3):
        answer(server, stream)
    assert [served(client) for client in clients] == [OK] * 2


def test_a_large_head_goes_in_continuations(rig: Rig) -> None:
    script = Script(rig)
    fields = b"".join(b"x-%d: %b\r\n" % (i, b"y" * 900) for i in range(50))
    client = script.ask(b"GET / HTTP/1.1\r\nhost: x\r\n" + fields + b"\r\n")
    server = script.accept()
    (head,) = requests(server)
    assert [name for name, _ in head.fields if name.startswith(b"x-") and name[2:].isdigit()] == [
        b"x-%d" % i for i in range(50)
    ]
    answer(server, 1)
    assert served(client) == OK


def test_what_we_say_first(rig: Rig) -> None:
    script = Script(rig)
    client = script.ask(GET)
    server = script.accept()
    assert server.seen[0].kind == raw.SETTINGS
    assert server.peer_settings()[raw.ENABLE_PUSH] == 0
    assert server.peer_settings().get(raw.ENABLE_CONNECT, 0) == 0, "only servers announce it"
    assert server.is_alive()
    server.send(settings((0x99, 1)))
    assert server.is_alive()
    assert sum("ACK" in each.flags for each in server.of(raw.SETTINGS)) == 2
    answer(server, 1)
    assert served(client) == OK


def test_an_endpoint_that_closes_before_its_settings(rig: Rig) -> None:
    script = Script(rig)
    client = script.ask(GET)
    server = script.accept(bare=True)
    assert isinstance(server.link, raw.RigLink)
    server.link.peer.end()
    rig.advance(5)
    assert served(client)[0] in {502, 503}


def test_an_endpoint_that_never_says_its_settings(rig: Rig) -> None:
    script = Script(rig)
    client = script.ask(GET)
    script.accept(bare=True)
    rig.advance(60)
    assert served(client)[0] in {502, 504}


def test_a_response_that_does_not_wait_for_the_request(rig: Rig) -> None:
    script = Script(rig)
    client = script.ask(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nx")
    server = script.accept()
    answer(server, 1)
    server.read()
    assert served(client) == OK
    rig.advance(10)
    server.read()
    assert server.reset(1) is not None or server.ended(1), "the stream stays open"
    other = script.ask(GET)
    server.read()
    answer(server, requests(server)[-1].stream)
    assert served(other) == OK


def test_an_error_reset_behind_the_response_is_no_harm(rig: Rig) -> None:
    script = Script(rig)
    client = script.ask(GET)
    server = script.accept()
    answer(server, 1)
    server.send(rst(1, INTERNAL))
    assert served(client) == OK
    assert server.is_alive()
    assert len(server.of(HEADERS)) == 1
