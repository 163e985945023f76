"""The benchmark's own TLS, HTTP/2 and gRPC: certificates, load programs, the gRPC origin, checks of answers."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import grpc
import pytest
import yaml
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, TrailersReceived
from h2.settings import SettingCodes

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.macro import curl, grpc_origin, h2load, handshakes  # noqa: E402
from benchmarks.macro.bench import GATEWAY, Bench, Settings  # noqa: E402
from benchmarks.macro.compare import BEFORE, before_goal, with_before  # noqa: E402
from benchmarks.macro.gateway import Setup  # noqa: E402
from benchmarks.macro.peers import PEERS  # noqa: E402
from benchmarks.macro.peers.base import Task  # noqa: E402
from benchmarks.macro.procs import BenchError  # noqa: E402
from benchmarks.macro.protocols import HOST, PLAIN, Pair, Protocols, make_pair  # noqa: E402
from benchmarks.macro.scenarios import SCENARIOS  # noqa: E402
from benchmarks.results import Outcome, Row  # noqa: E402

from gatewright.config.loader import load  # noqa: E402


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("tls"))


class Watched(grpc_origin.Connection):
    """Tells when it is over."""

    def __init__(self) -> None:
        super().__init__()
        self.over = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set()


@pytest.fixture
async def origin() -> AsyncIterator[int]:
    made: list[Watched] = []

    def connection() -> Watched:
        made.append(Watched())
        return made[-1]

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for one in made:
        await one.over.wait()


# --- certificates -----------------------------------------------------------------------------------------------------


@contextmanager
def tls_server(pair: Pair, *, tickets: bool = True) -> Iterator[int]:
    """Shakes hands with everybody, one after the other, and reads to the end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                if not connection.recv(1, socket.MSG_PEEK):
                    return  # the end of the test
                with context.wrap_socket(connection, server_side=True) as tls:
                    tls.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    port = listener.getsockname()[1]
    try:
        yield port
    finally:
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join()
        listener.close()


def test_the_certificate_is_for_the_host_that_is_asked_and_its_key_is_nobody_elses(pair: Pair) -> None:
    context = ssl.create_default_context(cafile=str(pair.cert))
    with (
        tls_server(pair) as port,
        socket.create_connection(("127.0.0.1", port)) as tcp,
        context.wrap_socket(tcp, server_hostname=HOST) as tls,
    ):
        assert tls.version() == "TLSv1.3"
    assert pair.key.stat().st_mode & 0o777 == 0o600
    assert pair.together.stat().st_mode & 0o777 == 0o600
    assert pair.together.read_bytes() == pair.cert.read_bytes() + pair.key.read_bytes()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("resumed", [False, True])
def test_handshakes_are_full_or_resumed_as_wanted(pair: Pair, version: str, resumed: bool) -> None:
    clients = handshakes.Clients(0, str(pair.cert), version, resumed=resumed)
    with tls_server(pair) as clients.port:
        session, _ = clients.shake(None)
        again, reused = clients.shake(session if resumed else None)
    assert again is not None
    assert reused == resumed


def test_handshakes_that_should_have_been_resumed_are_failures(pair: Pair) -> None:
    clients = handshakes.Clients(0, str(pair.cert), "1.3", resumed=True)
    with tls_server(pair, tickets=False) as clients.port:
        summary = clients.run(0.05)
    assert summary["failures"] == ["resumed: False"]
    assert 1 <= clients.done <= handshakes.THREADS  # the first of each thread cannot be resumed
    assert clients.failed >= 1


def test_handshakes_that_were_made_are_counted(pair: Pair) -> None:
    clients = handshakes.Clients(0, str(pair.cert), "1.3", resumed=True)
    with tls_server(pair) as clients.port:
        summary = clients.run(0.05)
    assert summary["failed"] == 0, summary
    assert clients.done >= handshakes.THREADS


# --- load over HTTP/2 -------------------------------------------------------------------------------------------------

PRINTED = """\
starting benchmark...
finished in {took}, 30550.00 req/s, 925.88KB/s
requests: {done} total, 6114 started, {done} done, {good} succeeded, {failed} failed, {errored} errored, 0 timeout
status codes: {good} 2xx, 0 3xx, {missing} 4xx, 0 5xx
traffic: 185.18KB (189620) total, 59.83KB (61262) headers (space savings 94.27%), 17.90KB ({data}) data
"""


def printed(took: str = "2.00s", done: int = 100, errored: int = 0, missing: int = 0, data: int = 1000) -> str:
    failed = errored + missing
    good = done - failed
    return PRINTED.format(took=took, done=done, good=good, failed=failed, errored=errored, missing=missing, data=data)


@pytest.mark.parametrize(("took", "seconds"), [("2.00s", 2.0), ("200.64ms", 0.20064), ("950us", 0.00095)])
def test_what_h2load_prints_is_read(took: str, seconds: float) -> None:
    result = h2load.read(printed(took), h2load.Load())
    assert (result.requests, result.transferred, result.failed, result.refused) == (100, 189620, 0, 0)
    assert result.seconds == pytest.approx(seconds)


def test_requests_that_went_wrong_are_counted_once_each() -> None:
    result = h2load.read(printed(errored=3, missing=5), h2load.Load())
    assert (result.failed, result.refused) == (3, 5)


def test_calls_without_their_message_count_as_refused() -> None:
    load = h2load.Load(message=b"x", answer_bytes=10)
    assert h2load.read(printed(data=1000), load).refused == 0
    assert h2load.read(printed(data=930), load).refused == 7


def test_a_load_program_that_says_nothing_is_an_error() -> None:
    with pytest.raises(BenchError, match="no figures: oops"):
        h2load.read("oops", h2load.Load())


# --- the gRPC origin --------------------------------------------------------------------------------------------------


async def test_the_grpc_origin_answers_real_clients_again_and_again(origin: int) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{origin}") as channel:
        call = channel.unary_unary(
            grpc_origin.METHOD, request_serializer=bytes, response_deserializer=lambda data: data
        )
        for _ in range(3):  # the fields come in full first, then from the table
            assert await call(grpc_origin.CALL[5:], timeout=5.0) == grpc_origin.ANSWER[5:]


class Client:
    """What the ``h2`` library makes of the origin's frames."""

    def __init__(self, **settings: int) -> None:
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings({SettingCodes[name.upper()]: value for name, value in settings.items()})
        self.origin = grpc_origin.Connection()
        self.heads: dict[int, list[tuple[str, str]]] = {}
        self.trailers: dict[int, list[tuple[str, str]]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.origin.connection_made(self)  # type: ignore[arg-type]

    def write(self, data: bytes) -> None:
        """The origin's transport."""
        for event in self.h2.receive_data(data):
            if isinstance(event, ResponseReceived):
                self.heads[event.stream_id] = [(str(name), str(value)) for name, value in event.headers]
            elif isinstance(event, TrailersReceived):
                self.trailers[event.stream_id] = [(str(name), str(value)) for name, value in event.headers]
            elif isinstance(event, DataReceived):
                self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
            elif isinstance(event, StreamEnded):
                self.ended.add(event.stream_id)

    def flush(self, pieces: Callable[[bytes], list[bytes]] = lambda data: [data]) -> None:
        """Send what is waiting to be sent."""
        for piece in pieces(self.h2.data_to_send()):
            self.origin.data_received(piece)

    def call(self, message: bytes = grpc_origin.CALL) -> int:
        """Begin a call and send its message; nothing leaves before :meth:`flush`."""
        stream = self.h2.get_next_available_stream_id()
        head = [(":method", "POST"), (":scheme", "http"), (":authority", HOST), (":path", grpc_origin.METHOD)]
        self.h2.send_headers(stream, [*head, ("content-type", "application/grpc"), ("te", "trailers")])
        self.h2.send_data(stream, message, end_stream=True)
        return stream


@pytest.mark.parametrize("settings", [{}, {"header_table_size": 0}])
def test_every_answer_of_the_grpc_origin_is_whole(settings: dict[str, int]) -> None:
    client = Client(**settings)
    client.flush()
    streams = [client.call() for _ in range(3)]
    client.flush(lambda data: [data[i : i + 1] for i in range(len(data))])
    for stream in streams:
        assert client.heads[stream] == [(":status", "200"), ("content-type", "application/grpc")]
        assert client.bodies[stream] == grpc_origin.ANSWER
        assert client.trailers[stream] == [("grpc-status", "0")]
    assert client.ended == set(streams)


def test_the_grpc_origin_waits_for_the_end_of_the_call() -> None:
    client = Client()
    stream = client.h2.get_next_available_stream_id()
    client.h2.send_headers(stream, [(":method", "POST"), (":scheme", "http"), (":authority", HOST), (":path", "/")])
    client.flush()
    assert not client.heads
    client.h2.send_data(stream, grpc_origin.CALL, end_stream=True)
    client.flush()
    assert client.ended == {stream}


def test_the_grpc_origin_keeps_to_the_window_and_opens_its_own() -> None:
    client = Client()
    client.flush()
    fitting = 65_535 // len(grpc_origin.ANSWER)
    for _ in range(fitting + 1):
        client.call()
    client.flush()
    assert len(client.ended) == fitting
    client.h2.increment_flow_control_window(1000)
    client.flush()
    assert len(client.ended) == fitting + 1
    sent = stream = 0
    while sent <= grpc_origin._WIDE + 65_535:  # more than the window it opened at first: h2 refuses to send beyond it
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, [(":method", "POST"), (":scheme", "http"), (":authority", HOST), (":path", "/")])
        for _ in range(4):
            client.h2.send_data(stream, bytes(15_000))
            sent += 15_000
        client.h2.end_stream(stream)
        client.h2.increment_flow_control_window(1000)
        client.flush()
    assert stream in client.ended


def test_messages_are_as_long_as_their_frames_say() -> None:
    for message in (grpc_origin.CALL, grpc_origin.ANSWER):
        assert struct.unpack(">BI", message[:5]) == (0, len(message) - 5)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
async def test_a_call_is_checked_down_to_its_trailers(origin: int, tmp_path: Path) -> None:
    spoken = Protocols(http2=True, grpc=True)
    answer = await asyncio.to_thread(curl.ask, origin, grpc_origin.METHOD, spoken, tmp_path, grpc_origin.CALL)
    assert (answer.version, answer.status, answer.body) == ("2", 200, grpc_origin.ANSWER)
    assert answer.fields == {"content-type": "application/grpc", "grpc-status": "0"}


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_no_answer_is_an_error(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OSError, match=r"(?i)connect"):
        curl.ask(port, "/", PLAIN, tmp_path)


# --- configurations ---------------------------------------------------------------------------------------------------


def spoken(pair: Pair) -> list[Protocols]:
    return [
        PLAIN,
        Protocols(http2=True),
        Protocols(tls=pair),
        Protocols(http2=True, tls=pair),
        Protocols(http2=True, grpc=True),
    ]


def test_the_gateway_takes_every_configuration(pair: Pair, tmp_path: Path) -> None:
    for number, protocols in enumerate(spoken(pair)):
        setup = Setup(origin=9, open_files=4096, protocols=protocols)
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(setup.document(8000, 8001)))
        loaded = load([file], {})
        assert not loaded.document.problems, protocols


@pytest.mark.skipif(shutil.which("nginx") is None, reason="no nginx")
def test_nginx_takes_every_configuration(pair: Pair, tmp_path: Path) -> None:
    nginx = PEERS["nginx"](tmp_path)
    for protocols in spoken(pair):
        command = nginx.command(Task(tmp_path, 8000, 9, 1024, protocols))
        done = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, done.stderr


def test_every_scenario_of_the_protocols_is_there() -> None:
    assert {"h2c", "h2-tls", "tls", "grpc", "handshake"} <= set(SCENARIOS)


# --- another checkout -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [None, Path("/elsewhere")])
def test_another_checkout_is_measured_beside_when_there_is_one(before: Path | None) -> None:
    bench = cast("Bench", SimpleNamespace(settings=Settings(1, 1.0, 1000, quick=True, before=before)))
    setups = with_before(bench, {GATEWAY: Setup(origin=9, open_files=64)})
    assert [setup.source for setup in setups.values()] == ([None] if before is None else [None, before])


def test_the_other_checkout_is_no_goal_unless_it_was_measured() -> None:
    ours = Row("case", GATEWAY, [{"cpu_us": 30.0}])
    before = Row("case", BEFORE, [{"cpu_us": 25.0}])
    assert before_goal(Outcome("plain", "", rows=[ours]), "case") == []
    (goal,) = before_goal(Outcome("plain", "", rows=[ours, before]), "case")
    assert (goal.value, goal.met) == (1.2, False)
