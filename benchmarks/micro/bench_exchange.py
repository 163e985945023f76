"""What one exchange costs in Python alone: the real protocol classes on transports that throw everything away.

    python benchmarks/micro/bench_exchange.py [--profile]

Kernel and event loop are not in these figures. ``repeated`` sends the same header section again and again, as a client
on a kept-alive connection does; ``varied`` changes one field with every request and response.
"""

from __future__ import annotations

import cProfile
import gc
import pstats
import sys
import time
import timeit
from typing import Any

from gatewright.sdk import ExchangeView, Policy, PolicyConfig
from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream
from gatewright.worker.access_log import AccessLog
from gatewright.worker.net.h1_client import H1Client
from gatewright.worker.net.h1_server import H1Server

FIELDS = (
    b"Host: api.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n"
    b"Accept: text/html,application/json\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n"
    b"Authorization: Bearer abcdefghijklmnop\r\nCookie: a=b; c=d; session=0123456789abcdef\r\n"
    b"X-Api-Key: acme-secret-key\r\nCache-Control: no-cache\r\nReferer: https://example.com/a/b\r\n"
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 21 Nov 2026 03:54:46 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 32\r\n%b\r\nhello world, this is the origin\n"
)
COUNT = 2000
LISTENER = model.Listener("public", "127.0.0.1:0", limits=model.Limits(requests=1_000_000_000))


class Stamp(Policy[PolicyConfig]):
    """What a user's header policy looks like: one field on each head."""

    __slots__ = ()
    name, stage, config = "stamp", "transform", PolicyConfig

    def on_request(self, ex: ExchangeView) -> None:
        """Stamp what goes upstream."""
        ex.request.headers.set(b"x-stamp", b"gateway")

    def on_response(self, ex: ExchangeView) -> None:
        """Stamp what goes back."""
        if ex.response is not None:
            ex.response.headers.set(b"x-stamp", b"gateway")


class Sink:
    """A transport that takes everything."""

    def write(self, data: bytes) -> None:
        """Gone."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 50_000) if name == "peername" else default

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        """None."""


def prepare(policies: dict[str, Any], *, logged: bool) -> tuple[H1Server, H1Client]:
    rig = Rig()
    rig.add_policy(Stamp)
    consumer = model.Consumer("acme", credentials=(model.Credential("api_key", KEY_DIGEST),))
    rig.apply(route("widgets", "/api/widgets/{id}", to="a", policies=policies), upstream("a"), consumer, LISTENER)
    rig.world.clock = timeit.default_timer
    rig.world.log = lambda _exchange: None
    if logged:
        log = AccessLog(model.AccessLog(to="/dev/null"), rig.clock)
        rig.world.log = log.append
    listener = rig._listeners["public"]
    server = H1Server(rig.world, listener)
    server.connection_made(Sink())  # type: ignore[arg-type]
    server.data_received(b"GET /api/widgets/1 HTTP/1.1\r\n" + FIELDS + b"\r\n")
    endpoint = rig.runtime.upstreams["a"].endpoints[0]
    client = H1Client(rig.world, endpoint.pool)
    client.connection_made(Sink())  # type: ignore[arg-type]
    endpoint.pool.connected(client)
    client.data_received(ANSWER % b"")
    return server, client


KEY_DIGEST = __import__("hashlib").sha256(b"acme-secret-key").hexdigest()
FULL = {
    "api_key": {"header": "x-api-key"},
    "rate_limit": {"limit": "1000000000/s", "burst": 1_000_000_000, "by": "consumer"},
}


def measure(policies: dict[str, Any], *, logged: bool, varied: bool) -> float:
    server, client = prepare(policies, logged=logged)
    extra = [b"X-Trace: %d\r\n" % i if varied else b"" for i in range(COUNT)]
    requests = [b"GET /api/widgets/%d?x=1 HTTP/1.1\r\n%b%b\r\n" % (i, FIELDS, extra[i]) for i in range(COUNT)]
    answers = [ANSWER % extra[i] for i in range(COUNT)]

    def run() -> None:
        for i in range(COUNT):
            server.data_received(requests[i])
            client.data_received(answers[i])

    run()
    if "--profile" in sys.argv:
        profile = cProfile.Profile()
        profile.runcall(run)
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
    gc.collect()
    gc.freeze()
    return min(timeit.repeat(run, number=1, repeat=15, timer=time.process_time)) / COUNT * 1e6


def main() -> None:
    for name, policies, logged in (
        ("plain", {}, False),
        ("plugin", {"stamp": {}}, False),
        ("logged", {}, True),
        ("full", FULL, True),
    ):
        repeated = measure(policies, logged=logged, varied=False)
        varied = measure(policies, logged=logged, varied=True)
        print(f"{name:8} repeated {repeated:6.2f} µs   varied {varied:6.2f} µs")


if __name__ == "__main__":
    main()
