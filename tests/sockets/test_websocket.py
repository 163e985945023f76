"""WebSockets between a real client and a real server (the package `websockets`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import websockets
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.typing import Subprotocol

from gatewright.testing import origins
from gatewright.testing.raw_client import RawClient, eventually

pytestmark = pytest.mark.sockets


class Peer:
    """A server that echoes, and closes with the code that it is told."""

    def __init__(self) -> None:
        self.url = ""
        self.closed_with: list[int | None] = []
        self.requests: list[Any] = []

    async def __call__(self, connection: ServerConnection) -> None:
        self.requests.append(connection.request)
        try:
            async for message in connection:
                if isinstance(message, str) and message.startswith("close "):
                    await connection.close(int(message[6:]), "as told")
                else:
                    await connection.send(message)
        except ConnectionClosedError:
            pass  # the code says all there is to know
        self.closed_with.append(connection.close_code)


def chat_if_offered(_connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol("chat") if "chat" in offered else None


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    made = Peer()
    async with serve(made, "127.0.0.1", 0, select_subprotocol=chat_if_offered, max_size=None) as server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield made


def connect(server: Any, **options: Any) -> Any:
    url = server.url.replace("http", "ws") + "/ws?a=1"
    return websockets.connect(url, proxy=None, max_size=None, **options)


async def test_messages_of_all_sizes_come_back(front: Any, peer: Peer) -> None:
    server = await front(peer)
    async with connect(server, compression=None, subprotocols=["chat"], additional_headers={"x-me": "1"}) as socket:
        assert socket.subprotocol == "chat"
        messages: list[str | bytes] = ["", "é", "x" * 125, "x" * 126, "x" * 65536, b"\0" * 3_000_000, b"end"]
        for message in messages:
            await socket.send(message)
            assert await socket.recv() == message
        await socket.send([b"in ", b"pieces"])
        assert await socket.recv() == b"in pieces"
    (request,) = peer.requests
    assert request.path == "/ws?a=1"
    assert request.headers["x-me"] == "1"
    assert request.headers["x-forwarded-for"] == "127.0.0.1"
    record = await server.record()
    assert (record.status, record.protocol, record.reason) == (101, "websocket", "")
    assert min(record.bytes_in, record.bytes_out) > sum(map(len, messages))
    await server.settled()


async def test_pings_go_through_to_the_other_end(front: Any, peer: Peer) -> None:
    server = await front(peer)
    async with connect(server) as socket, asyncio.timeout(5):
        latency = await (await socket.ping(b"anybody there?"))
        assert latency >= 0


async def test_what_the_client_says_at_the_end_is_heard(front: Any, peer: Peer) -> None:
    server = await front(peer)
    async with connect(server) as socket:
        await socket.close(4001, "enough")
    await eventually(lambda: peer.closed_with)
    assert peer.closed_with == [4001]


async def test_what_the_server_says_at_the_end_is_heard(front: Any, peer: Peer) -> None:
    server = await front(peer)
    async with connect(server) as socket:
        await socket.send("close 4002")
        with pytest.raises(ConnectionClosedError) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4002, "as told")


async def test_a_client_that_breaks_off_is_noticed_by_the_server(front: Any, peer: Peer) -> None:
    server = await front(peer)
    async with connect(server) as socket:
        await socket.send("x")
        await socket.recv()
        socket.transport.abort()
        await eventually(lambda: peer.closed_with)
    assert peer.closed_with == [1006]
    await server.settled()


async def test_an_idle_socket_is_told_to_go(front: Any, peer: Peer) -> None:
    server = await front(peer, route=", websocket: {idle_timeout: 300ms}")
    async with connect(server, ping_interval=None) as socket:
        with pytest.raises((ConnectionClosedOK, ConnectionClosedError)) as closed:
            await asyncio.wait_for(socket.recv(), 5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    await eventually(lambda: peer.closed_with)
    assert peer.closed_with == [1001]
    assert (await server.record()).reason == "websocket.idle"


async def test_traffic_in_one_direction_keeps_it_alive(front: Any, peer: Peer) -> None:
    server = await front(peer, route=", websocket: {idle_timeout: 400ms}")
    async with connect(server, ping_interval=0.1) as socket:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 1.2)
        await socket.send("still here")
        assert await socket.recv() == "still here"


async def test_a_message_that_is_too_large_ends_it(front: Any, peer: Peer) -> None:
    server = await front(peer, route=", websocket: {max_message: 1KiB}")
    async with connect(server, compression=None) as socket:
        await socket.send("x" * 1000)
        assert len(await socket.recv()) == 1000
        await socket.send("x" * 1100)
        with pytest.raises(ConnectionClosedError) as closed:
            await asyncio.wait_for(socket.recv(), 5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
    assert (await server.record()).reason == "websocket.message_too_large"


async def test_a_stop_says_goodbye_to_both_sides(front: Any, peer: Peer) -> None:
    server = await front(peer)
    async with connect(server) as socket:
        await socket.send("x")
        await socket.recv()
        stopping = asyncio.ensure_future(server.plane.drain(5))
        with pytest.raises((ConnectionClosedOK, ConnectionClosedError)) as closed:
            await asyncio.wait_for(socket.recv(), 3)
        await asyncio.wait_for(stopping, 4)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    assert peer.closed_with == [1001]
    assert (await server.record()).reason == "listener.draining"


async def test_a_server_that_wants_none_answers_itself(front: Any) -> None:
    async with origins.answers(b"no sockets here", b"404 Not Found") as origin:
        server = await front(origin)
        with pytest.raises(InvalidStatus) as refused:
            async with connect(server):
                pass
        assert refused.value.response.status_code == 404
        assert refused.value.response.body == b"no sockets here"
        assert (await server.record()).status == 404


async def test_a_route_may_allow_none(front: Any, peer: Peer) -> None:
    server = await front(peer, route=", websocket: off")
    with pytest.raises(InvalidStatus) as refused:
        async with connect(server):
            pass
    assert refused.value.response.status_code != 101


async def test_a_slow_reader_slows_the_sender_down(front: Any) -> None:
    """What neither side has read stays in bounded buffers, not in the gateway."""
    async with origins.websocket_echo() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            await client.send(
                b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
            )
            assert (await client.head()).status == 101
            frame = b"\x82\xfe\xff\xff\0\0\0\0" + b"x" * 65535
            client.deadline = 1.0
            with pytest.raises(TimeoutError):
                await client.send(*[frame] * 1000)  # 64 MB
            (connection,) = next(iter(server.plane._listeners.values())).connections
            waiting = connection.transport.get_write_buffer_size()
            waiting += connection.tunnelled.upstream.transport.get_write_buffer_size()
            assert waiting < 1024 * 1024
            client.reset()
