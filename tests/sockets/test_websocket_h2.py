"""WebSockets of HTTP/2 clients (RFC 8441): the codecs of `websockets` and `h2` in front, a real server behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.headers import parse_extension
from websockets.protocol import Protocol, Side

from gatewright.testing.data_plane import DataPlaneServer
from gatewright.testing.raw_client import RawClient

pytestmark = pytest.mark.sockets

READ = 65_536


class Socket:
    """One WebSocket on one stream."""

    def __init__(self, link: Link, stream: int) -> None:
        self.link = link
        self.stream = stream
        self.protocol = Protocol(Side.CLIENT, max_size=None)
        self.headers: dict[str, str] = {}
        self.ended = False

    def answered(self, pairs: Any) -> None:
        self.headers = {name.decode(): value.decode() for name, value in pairs}
        said = self.headers.get("sec-websocket-extensions")
        if said is not None:
            ((_, parameters),) = parse_extension(said)
            self.protocol.extensions = [ClientPerMessageDeflateFactory().process_response_params(parameters, [])]

    async def flush(self) -> None:
        """Write what the protocol wants written."""
        for data in self.protocol.data_to_send():
            if data:
                await self.link.send(self.stream, data)
            else:  # the end
                self.link.h2.end_stream(self.stream)
                await self.link.client.send(self.link.h2.data_to_send())

    async def frame(self) -> Frame:
        """The next frame of a message, a pong or the close."""
        while True:
            for event in self.protocol.events_received():
                assert isinstance(event, Frame)
                self.link.kept.append((self.stream, event))
            for number, (stream, frame) in enumerate(self.link.kept):
                if stream == self.stream:
                    del self.link.kept[number]
                    return frame
            await self.link.pump()

    async def says(self, message: bytes | str) -> bytes | str:
        """Send a message and get one back."""
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        await self.flush()
        frame = await self.frame()
        pieces = [frame.data]
        kind = frame.opcode
        while not frame.fin:
            frame = await self.frame()
            pieces.append(frame.data)
        data = b"".join(map(bytes, pieces))
        return data.decode() if kind == Opcode.TEXT else data

    async def to_end(self) -> None:
        """Read until the stream has ended."""
        while not self.ended:
            await self.link.pump()
        self.protocol.receive_eof()
        await self.flush()


class Link:
    """One HTTP/2 connection."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        self.sockets: dict[int, Socket] = {}
        self.kept: list[tuple[int, Frame]] = []
        self.statuses: dict[int, int] = {}
        self.bodies: dict[int, bytes] = {}
        self.done: dict[int, bytes] = {}

    async def start(self) -> None:
        self.h2.initiate_connection()
        while not self.h2.remote_settings.enable_connect_protocol:
            await self.pump()

    async def open(self, *more: tuple[str, str]) -> Socket:
        """Ask for a WebSocket, and wait for the answer."""
        pairs = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws?a=1")]
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [*pairs, (":authority", "x"), ("sec-websocket-version", "13"), *more])
        made = self.sockets[stream] = Socket(self, stream)
        while stream not in self.statuses:
            await self.pump()
        return made

    async def get(self, path: str) -> tuple[int, bytes]:
        """A request like any other, beside the sockets."""
        stream = self.h2.get_next_available_stream_id()
        pairs = [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "x")]
        self.h2.send_headers(stream, pairs, end_stream=True)
        self.bodies[stream] = b""
        while stream in self.bodies:
            await self.pump()
        return self.statuses[stream], self.done.pop(stream)

    async def send(self, stream: int, data: bytes) -> None:
        """Send within the windows."""
        while data:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room > 0:
                self.h2.send_data(stream, data[:room])
                data = data[room:]
                await self.client.send(self.h2.data_to_send())
            else:
                await self.pump()

    async def pump(self) -> None:
        """Read once, and tell whom it concerns."""
        await self.client.send(self.h2.data_to_send())
        data = await self.client.read(READ)
        assert data, "the connection has been closed"
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.statuses[event.stream_id] = int(dict(event.headers)[b":status"])
                if event.stream_id in self.sockets:
                    self.sockets[event.stream_id].answered(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if event.stream_id in self.sockets:
                    self.sockets[event.stream_id].protocol.receive_data(event.data)
                else:
                    self.bodies[event.stream_id] += event.data
            elif isinstance(event, h2.events.StreamEnded):
                if event.stream_id in self.sockets:
                    self.sockets[event.stream_id].ended = True
                else:
                    self.done[event.stream_id] = self.bodies.pop(event.stream_id)
            else:
                assert not isinstance(event, h2.events.ConnectionTerminated | h2.events.StreamReset), event
        await self.client.send(self.h2.data_to_send())


class Server:
    """Echoes, and closes when it is told to."""

    def __init__(self) -> None:
        self.url = ""
        self.closed_with: list[int | None] = []
        self.changed = asyncio.Event()

    async def __call__(self, connection: ServerConnection) -> None:
        try:
            async for message in connection:
                if message == "close":
                    await connection.close(4001, "as told")
                    break
                await connection.send(message)
        except ConnectionClosedError:
            pass  # the code says all there is to know
        self.closed_with.append(connection.close_code)
        self.changed.set()


@pytest.fixture
async def peer() -> AsyncIterator[Server]:
    made = Server()
    async with serve(made, "127.0.0.1", 0, max_size=None) as server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield made


@pytest.fixture
async def link(front: Any, peer: Server) -> AsyncIterator[Link]:
    server: DataPlaneServer = await front(peer)
    async with RawClient(server.port) as client:
        made = Link(client)
        await made.start()
        yield made


DEFLATE = ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")


@pytest.mark.parametrize("offer", [(), (DEFLATE,)], ids=["plain", "compressed"])
async def test_messages_of_all_sizes_come_back(link: Link, peer: Server, offer: tuple[tuple[str, str], ...]) -> None:
    socket = await link.open(*offer)
    assert socket.headers[":status"] == "200"
    assert ("sec-websocket-extensions" in socket.headers) == bool(offer)
    assert "sec-websocket-accept" not in socket.headers, "HTTP/2 has no such thing (RFC 8441 section 5)"
    messages: list[bytes | str] = ["", "é", "x" * 126, bytes(range(256)) * 300, b"\0" * 2_000_000, "end"]
    for message in messages:
        assert await socket.says(message) == message
    socket.protocol.send_ping(b"there?")
    await socket.flush()
    frame = await socket.frame()
    assert (frame.opcode, bytes(frame.data)) == (Opcode.PONG, b"there?")


async def test_many_sockets_on_one_connection(link: Link) -> None:
    sockets = [await link.open() for _ in range(20)]
    for turn in range(3):
        for number, socket in enumerate(sockets):
            socket.protocol.send_text(b"%d of %d" % (turn, number))
            await socket.flush()
        for number, socket in enumerate(sockets):
            assert bytes((await socket.frame()).data) == b"%d of %d" % (turn, number)
    status, body = await link.get("/")
    assert status == 426, "the server of WebSockets serves nothing else"
    assert b"WebSocket" in body


async def test_the_server_says_goodbye(link: Link, peer: Server) -> None:
    socket = await link.open()
    socket.protocol.send_text(b"close")
    await socket.flush()
    frame = await socket.frame()
    assert (frame.opcode, bytes(frame.data)) == (Opcode.CLOSE, b"\x0f\xa1as told")
    await socket.flush()
    await socket.to_end()
    async with asyncio.timeout(5):
        await peer.changed.wait()
    assert peer.closed_with == [4001]


@pytest.mark.parametrize("how", ["reset the stream", "close the connection", "reset the connection"])
async def test_a_client_that_goes_away_is_noticed(link: Link, peer: Server, how: str) -> None:
    """Soon: nothing has to be sent first."""
    socket = await link.open()
    assert await socket.says("here") == "here"
    if how == "reset the stream":
        link.h2.reset_stream(socket.stream)
        await link.client.send(link.h2.data_to_send())
    elif how == "close the connection":
        link.client.writer.close()
    else:
        link.client.reset()
    async with asyncio.timeout(5):
        await peer.changed.wait()
    assert peer.closed_with == [1006]


async def test_the_client_says_goodbye(link: Link, peer: Server) -> None:
    socket = await link.open()
    other = await link.open()
    socket.protocol.send_close(4002, "enough")
    await socket.flush()
    frame = await socket.frame()
    assert (frame.opcode, bytes(frame.data)[:2]) == (Opcode.CLOSE, b"\x0f\xa2")
    await socket.to_end()
    async with asyncio.timeout(5):
        await peer.changed.wait()
    assert peer.closed_with == [4002]
    assert await other.says("still here") == "still here"
