"""What HTTP/2 costs in Python alone: the real protocol classes on transports that throw everything away.

    python benchmarks/micro/bench_h2.py [codec|exchange|NAME] [--profile] [--streams N]

Kernel and event loop are not in these figures. ``codec`` is the server's side alone: frames, header compression,
windows and streams, each answered at once with the same answer; ``h2 library`` is the ``h2`` package with the same
octets.
``exchange`` has whole exchanges, with an HTTP/1.1 or an HTTP/2 endpoint behind. Clients send a number of requests at
once (1 and 10, or N):

- ``repeated``: the same request again and again, which is a few octets once the client's table is filled.
- ``paths``: each with its own path, which the client does not put into the table.
- ``varied``: each with its own path and trace id, all put into the table, which changes with every request.
"""

from __future__ import annotations

import cProfile
import gc
import pstats
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import hpack
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

from gatewright.http.headers import Headers
from gatewright.proxy.exchange import Exchange
from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream
from gatewright.wire.h2 import frames
from gatewright.wire.h2.frames import END_HEADERS, END_STREAM, frame_head
from gatewright.wire.h2.heads import H2ResponseFields, pack
from gatewright.wire.h2.hpack import STATUS
from gatewright.worker.net.h1_client import H1Client
from gatewright.worker.net.h2_client import H2Client
from gatewright.worker.net.h2_server import H2Server

COUNT = 2000
REPEATS = 9
MANNERS = ("repeated", "paths", "varied")
LISTENER = model.Listener("public", "127.0.0.1:0", limits=model.Limits(requests=1_000_000_000))

REQUEST = [
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
    ("accept", "text/html,application/json"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br"),
    ("authorization", "Bearer abcdefghijklmnop"),
    ("cookie", "a=b; c=d; session=0123456789abcdef"),
    ("x-api-key", "acme-secret-key"),
    ("cache-control", "no-cache"),
    ("referer", "https://example.com/a/b"),
]
CALL = [("user-agent", "grpc-bench/1.0"), ("content-type", "application/grpc"), ("te", "trailers")]
BODY = b"hello world, this is the origin\n"
ANSWER = [
    ("server", "nginx"),
    ("date", "Sat, 21 Nov 2026 03:54:46 GMT"),
    ("content-type", "text/plain"),
    ("content-length", str(len(BODY))),
]
ANSWER_H1 = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 21 Nov 2026 03:54:46 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 32\r\n\r\n" + BODY
)
MESSAGE = b"\0\0\0\0\x22" + bytes(34)


class Sink:
    """A transport that takes everything."""

    def write(self, data: bytes) -> None:
        """Gone."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 50_000) if name == "peername" else default

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        """None."""

    def is_closing(self) -> bool:
        return False


# --- what peers send --------------------------------------------------------------------------------------------------

#: A connection that allows as much as it can.
WINDOWS = frames.settings({frames.INITIAL_WINDOW_SIZE: 2**30}) + frames.window_update(0, 2**30)


def requests(manner: str, streams: int, *, call: bool = False) -> list[bytes]:
    """The octets of ``COUNT`` requests, ``streams`` of them in each piece."""
    encoder = hpack.Encoder()
    out = []
    for number in range(COUNT):
        path = f"/api/widgets/{1 if manner == 'repeated' else number}?x=1"
        fields: list[Any] = [(":method", "POST" if call else "GET"), (":scheme", "http")]
        fields += [hpack.NeverIndexedHeaderTuple(":path", path) if manner == "paths" else (":path", path)]
        fields += [(":authority", "api.example.com"), *(CALL if call else REQUEST)]
        if manner == "varied":
            fields += [("traceparent", f"00-{number:032x}-{number:016x}-01")]
        block = encoder.encode(fields)
        stream = 2 * number + 1
        end = END_HEADERS if call else END_HEADERS | END_STREAM
        piece = frame_head(frames.HEADERS, end, stream, len(block)) + block
        if call:
            piece += frame_head(frames.DATA, END_STREAM, stream, len(MESSAGE)) + MESSAGE
        out.append(piece)
    return [b"".join(out[at : at + streams]) for at in range(0, COUNT, streams)]


def answers(streams: int, *, call: bool = False) -> list[bytes]:
    """The octets of as many answers of an endpoint."""
    encoder = hpack.Encoder()
    out = []
    for number in range(COUNT):
        stream = 2 * number + 1
        fields = [("content-type", "application/grpc")] if call else ANSWER
        block = encoder.encode([(":status", "200"), *fields])
        piece = frame_head(frames.HEADERS, END_HEADERS, stream, len(block)) + block
        body = MESSAGE if call else BODY
        piece += frame_head(frames.DATA, 0 if call else END_STREAM, stream, len(body)) + body
        if call:
            trailers = encoder.encode([("grpc-status", "0")])
            piece += frame_head(frames.HEADERS, END_HEADERS | END_STREAM, stream, len(trailers)) + trailers
        out.append(piece)
    return [b"".join(out[at : at + streams]) for at in range(0, COUNT, streams)]


# --- whose cost is measured -------------------------------------------------------------------------------------------


class Null(H2Server):
    """A server that answers everything at once, without an exchange."""

    __slots__ = ()
    fields = H2ResponseFields([(name.encode(), value.encode()) for name, value in ANSWER])

    def _begin_opened(self) -> None:
        opened, self.opened = self.opened, []
        for stream in opened:
            stream.seen = None
            self.send_headers(stream.id, STATUS[200] + pack(Headers(self.fields)), 0)
            self.send_data(stream, BODY, END_STREAM)


class Good:
    """Counts exchanges that were answered with 200; takes the place of the access log."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, exchange: Exchange) -> None:
        self.count += exchange.status == 200


@dataclass
class Ends:
    """A gateway: where the client's octets go in, where the endpoints' do, and how many answers were good."""

    rig: Rig
    server: H2Server
    clients: list[Any]
    good: Good


def ends(protocol: str, streams: int, server_class: type[H2Server] = H2Server) -> Ends:
    """A gateway with connections on both sides, ``protocol`` towards its endpoint."""
    rig = Rig()
    rig.apply(route("widgets", "/api/widgets/{id}", to="a"), upstream("a", protocol=protocol), LISTENER)
    rig.world.clock = time.monotonic
    rig.world.log = good = Good()
    server = server_class(rig.world, rig._listeners["public"])
    server.connection_made(Sink())  # type: ignore[arg-type]
    server.data_received(frames.PREFACE + WINDOWS)
    assert rig.runtime is not None
    pool: Any = rig.runtime.upstreams["a"].endpoints[0].pool
    clients: list[Any] = []
    for _ in range(streams if protocol == "http1" else 1):
        client: Any = H1Client(rig.world, pool) if protocol == "http1" else H2Client(rig.world, pool)
        client.connection_made(Sink())
        if protocol != "http1":
            client.data_received(WINDOWS)
        pool.open += 1
        pool.connecting += 1
        pool.connected(client)
        clients.append(client)
    rig.settle()
    return Ends(rig, server, clients, good)


def null(manner: str, streams: int) -> Iterator[tuple[Callable[[], None], Callable[[], int]]]:
    """The codec without an exchange."""
    pieces = requests(manner, streams)
    while True:
        gateway = ends("http1", 1, Null)
        receive, settle = gateway.server.data_received, gateway.rig.settle

        def run(receive: Any = receive, settle: Any = settle) -> None:
            for piece in pieces:
                receive(piece)
                settle()

        yield run, lambda gateway=gateway: gateway.server.requests  # type: ignore[misc]


def library(manner: str, streams: int) -> Iterator[tuple[Callable[[], None], Callable[[], int]]]:
    """The ``h2`` library as server, with the same answers."""
    pieces = requests(manner, streams)
    while True:
        h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        h2.initiate_connection()
        h2.receive_data(frames.PREFACE + WINDOWS)
        answered: list[int] = []

        def run(h2: Any = h2, answered: Any = answered) -> None:
            for piece in pieces:
                for event in h2.receive_data(piece):
                    if isinstance(event, RequestReceived):
                        h2.send_headers(event.stream_id, [(":status", "200"), *ANSWER])
                        h2.send_data(event.stream_id, BODY, end_stream=True)
                        answered.append(event.stream_id)
                h2.data_to_send()

        yield run, answered.__len__


def to_http1(manner: str, streams: int) -> Iterator[tuple[Callable[[], None], Callable[[], int]]]:
    """Exchanges with an HTTP/1.1 endpoint: a connection for each stream."""
    pieces = requests(manner, streams)
    while True:
        gateway = ends("http1", streams)

        def run(gateway: Ends = gateway) -> None:
            receive, settle = gateway.server.data_received, gateway.rig.settle
            clients = [client.data_received for client in gateway.clients]
            for piece in pieces:
                receive(piece)
                settle()
                for client in clients:
                    client(ANSWER_H1)
                settle()

        yield run, lambda gateway=gateway: gateway.good.count  # type: ignore[misc]


def _to_http2(
    manner: str, streams: int, protocol: str, *, call: bool
) -> Iterator[tuple[Callable[[], None], Callable[[], int]]]:
    pieces = requests(manner, streams, call=call)
    back = answers(streams, call=call)
    while True:
        gateway = ends(protocol, streams)

        def run(gateway: Ends = gateway) -> None:
            receive, settle = gateway.server.data_received, gateway.rig.settle
            (client,) = gateway.clients
            for piece, answer in zip(pieces, back, strict=True):
                receive(piece)
                settle()
                client.data_received(answer)
                settle()

        yield run, lambda gateway=gateway: gateway.good.count  # type: ignore[misc]


def to_http2(manner: str, streams: int) -> Iterator[tuple[Callable[[], None], Callable[[], int]]]:
    """Exchanges with an HTTP/2 endpoint, on one connection."""
    return _to_http2(manner, streams, "h2", call=False)


def grpc(manner: str, streams: int) -> Iterator[tuple[Callable[[], None], Callable[[], int]]]:
    """Unary calls, with a message each way and trailers."""
    return _to_http2(manner, streams, "grpc", call=True)


CODEC = {"codec": null, "h2 library": library}
EXCHANGE = {"h2 to http1": to_http1, "h2 to h2": to_http2, "grpc": grpc}
Subject = Callable[[str, int], Iterator[tuple[Callable[[], None], Callable[[], int]]]]


def measure(subject: Subject, manner: str, streams: int) -> float:
    """Microseconds a request."""
    best = float("inf")
    made = subject(manner, streams)
    for number in range(REPEATS):
        run, answered = next(made)
        gc.collect()
        if not number:
            gc.freeze()
        started = time.process_time()
        run()
        best = min(best, time.process_time() - started)
        if answered() != COUNT:
            raise SystemExit(f"{subject.__name__}: {answered()} of {COUNT} requests were answered")
    return best / COUNT * 1e6


def profile(subject: Subject, manner: str, streams: int) -> None:
    """Where the time goes; cProfile makes calls dearer than they are."""
    run, _ = next(subject(manner, streams))
    tool = cProfile.Profile()
    tool.runcall(run)
    pstats.Stats(tool).sort_stats("tottime").print_stats(40)


def main() -> None:
    """Print a table."""
    arguments = sys.argv[1:]
    counts: tuple[int, ...] = (1, 10)
    if "--streams" in arguments:
        at = arguments.index("--streams")
        counts = (int(arguments[at + 1]),)
        del arguments[at : at + 2]
    names = [argument for argument in arguments if not argument.startswith("--")]
    subjects: dict[str, Subject] = {
        **(CODEC if not names or "codec" in names else {}),
        **(EXCHANGE if not names or "exchange" in names else {}),
        **{name: one for name, one in {**CODEC, **EXCHANGE}.items() if name in names},
    }
    print(f"{'µs per request':28}" + "".join(f"{manner:>10}" for manner in MANNERS))
    for name, subject in subjects.items():
        for streams in counts:
            if "--profile" in arguments:
                profile(subject, "repeated", streams)
                continue
            figures = [measure(subject, manner, streams) for manner in MANNERS]
            title = f"{name}, {streams} at once"
            print(f"{title:28}" + "".join(f"{figure:10.2f}" for figure in figures), flush=True)


if __name__ == "__main__":
    main()
