"""Many gRPC calls: over several servers, several at a time, more than anybody can take, and again when one fails."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator
from concurrent import futures
from contextlib import AsyncExitStack
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tests.sockets.grpc_peers import OPTIONS, SERVICE, Caller, Gateway, Service, channel, configuration, failure

from gatewright.proxy.families import RETRIES
from gatewright.testing.certs import Authority
from gatewright.testing.raw_client import eventually

StatusCode = grpc.StatusCode
PIECE = 65_536


@pytest.fixture
async def three() -> AsyncIterator[list[Service]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Service(name)) for name in "abc"]


# --- whom a call goes to ----------------------------------------------------------------------------------------------


async def test_each_call_of_one_connection_goes_to_the_next_server(grpc_gateway: Gateway, three: list[Service]) -> None:
    server = await grpc_gateway(*three)
    async with channel(server) as to:
        names = Counter([await Caller(to).unary("Name") for _ in range(30)])
    assert names == {b"a": 10, b"b": 10, b"c": 10}
    assert server.plane.runtime is not None
    assert [len(service.peers) for service in three] == [1, 1, 1]  # one connection each, for all of their calls


async def test_calls_at_the_same_time_are_spread_too(grpc_gateway: Gateway, three: list[Service]) -> None:
    async with channel(await grpc_gateway(*three, upstream=", balance: least_connections")) as to:
        calls = [Caller(to).unary("Wait") for _ in range(30)]
        await eventually(lambda: sum(service.calls["Wait"] for service in three) == 30)
        assert [service.calls["Wait"] for service in three] == [10, 10, 10]
        for service in three:
            service.release.set()
        await asyncio.gather(*calls)


async def test_routes_by_service_and_method(grpc_gateway: Gateway, three: list[Service]) -> None:
    more = """
  - {name: one, match: {paths: ["/test.Service/Echo"]}, respond: {status: 503}}
  - {name: service, match: {paths: ["/other.Service/*"], headers: {x-tenant: acme}}, to: up}
"""
    server = await grpc_gateway(*three, more=more)
    async with channel(server) as to:
        assert (await failure(Caller(to).unary("Echo"))).code() is StatusCode.UNAVAILABLE
        assert await Caller(to).unary("Name")
        await failure(Caller(to, "other.Service").unary("Name", metadata=(("x-tenant", "acme"),)))
    await server.record(3)
    assert [record.route.name for record in server.records] == ["one", "all", "service"]


# --- retries ----------------------------------------------------------------------------------------------------------

RETRIES_ON = "{attempts: 2, on: [grpc_unavailable], backoff: 1ms}"


async def test_a_call_is_made_again_until_it_succeeds(grpc_gateway: Gateway, three: list[Service]) -> None:
    server = await grpc_gateway(*three, retries=RETRIES_ON.replace("2", "3"))
    for service in three:
        service.failures = 1
    async with channel(server) as to:
        assert await Caller(to).unary("Flaky", b"hello") == b"hello"
    record = await server.record()
    assert (record.tries, record.grpc_status) == (4, "OK")
    assert sorted(service.calls["Flaky"] for service in three) == [1, 1, 2]
    (retried,) = server.plane.world.stats.counter(RETRIES).drain().items()
    assert (retried[0].split("\x1f")[1:], retried[1]) == (["up", "grpc_unavailable"], 3)


async def test_the_last_failure_is_the_clients(grpc_gateway: Gateway, three: list[Service]) -> None:
    server = await grpc_gateway(*three, retries=RETRIES_ON)
    for service in three:
        service.failures = 1
    async with channel(server) as to:
        error = await failure(Caller(to).unary("Flaky", b"hello"))
    assert (error.code(), error.details()) == (StatusCode.UNAVAILABLE, "not yet")


async def test_other_statuses_are_not_tried_again(grpc_gateway: Gateway, three: list[Service]) -> None:
    server = await grpc_gateway(*three, retries=RETRIES_ON)
    async with channel(server) as to:
        await failure(Caller(to).unary("Fail", b"INTERNAL"))
    assert (await server.record()).tries == 1


async def test_a_server_that_is_gone_is_passed_over(grpc_gateway: Gateway, three: list[Service]) -> None:
    server = await grpc_gateway(*three, retries=RETRIES_ON, upstream=", health: {passive: {consecutive_failures: 1}}")
    async with channel(server) as to:
        for _ in range(3):
            await Caller(to).unary("Name")
        await three[0].server.stop(0)
        names = Counter([await Caller(to).unary("Name") for _ in range(12)])
    assert set(names) == {b"b", b"c"}


async def test_a_server_that_answers_unavailable_is_ejected(grpc_gateway: Gateway, three: list[Service]) -> None:
    server = await grpc_gateway(*three, upstream=", health: {passive: {consecutive_failures: 2}}")
    three[0].failures = 1000
    async with channel(server) as to:
        for _ in range(8):
            try:
                await Caller(to).unary("Flaky")
            except grpc.aio.AioRpcError as error:
                assert error.code() is StatusCode.UNAVAILABLE  # noqa: PT017
        before = three[0].calls["Flaky"]
        for _ in range(8):
            await Caller(to).unary("Flaky")
    assert three[0].calls["Flaky"] == before == 2


async def test_the_breaker_opens_and_says_when_to_come_back(grpc_gateway: Gateway, three: list[Service]) -> None:
    breaker = ", circuit_breaker: {consecutive_failures: 3, open_for: 10s}, health: {passive: off}"
    server = await grpc_gateway(three[0], upstream=breaker)
    async with channel(server) as to:
        for _ in range(3):
            await failure(Caller(to).unary("Fail", b"UNAVAILABLE"))
        error = await failure(Caller(to).unary("Fail", b"UNAVAILABLE"))
    assert (error.details() or "").startswith("upstream.circuit_open: ")
    metadata = error.trailing_metadata()
    assert metadata is not None
    assert 0 < int(str(metadata.get("grpc-retry-pushback-ms"))) <= 10_000
    assert three[0].calls["Fail"] == 3


# --- many at a time ---------------------------------------------------------------------------------------------------


async def test_a_thousand_streams(grpc_gateway: Gateway, three: list[Service]) -> None:
    """Over ten connections, all open at once, each with messages of its own."""
    server = await grpc_gateway(*three)
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(channel(server)) for _ in range(10)]
        calls = [Caller(channels[n % 10]).chat("Chat", timeout=50.0) for n in range(1000)]
        for n, call in enumerate(calls):
            await call.write(b"first of %d" % n)
        assert [await call.read() for call in calls] == [b"FIRST OF %d" % n for n in range(1000)]
        assert server.plane.exchanges == 1000
        for n, call in enumerate(calls):
            await call.write(b"second of %d" % n)
            await call.done_writing()
        assert [await call.read() for call in calls] == [b"SECOND OF %d" % n for n in range(1000)]
        assert [await call.read() for call in calls] == [grpc.aio.EOF] * 1000
    assert sum(service.calls["Chat"] for service in three) == 1000
    assert {record.grpc_status for record in server.records} == {"OK"}


async def test_more_calls_than_one_connection_may_have_wait_for_their_turn(
    grpc_gateway: Gateway, three: list[Service]
) -> None:
    server = await grpc_gateway(three[0], listener=", limits: {streams: 10}")
    async with channel(server) as to:
        calls = [Caller(to).unary("Wait", b"%d" % n, timeout=30.0) for n in range(50)]
        await eventually(lambda: three[0].calls["Wait"] == 10)
        three[0].release.set()
        assert await asyncio.gather(*calls) == [b"%d" % n for n in range(50)]


async def test_the_largest_message_that_listeners_take_from_others(grpc_gateway: Gateway, three: list[Service]) -> None:
    """64 MiB each way, more than the limit for the bodies of other requests."""
    server = await grpc_gateway(three[0])
    large = bytes(64 * 1024 * 1024 + 1)
    async with channel(server) as to:
        assert len(await Caller(to).unary("Echo", large, timeout=50.0)) == len(large)


# --- pace -------------------------------------------------------------------------------------------------------------


async def test_a_client_that_does_not_read_holds_the_server_back(grpc_gateway: Gateway, three: list[Service]) -> None:
    server = await grpc_gateway(three[0])
    async with channel(server, ("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", PIECE)) as to:
        call = Caller(to).stream("Flood", timeout=30.0)
        for _ in range(3):
            await call.read()
        sent = await _at_rest(lambda: three[0].sent)
        assert sent * PIECE < 4 * 1024 * 1024  # windows and sockets, not the gateway's memory
        for _ in range(200):
            assert len(await call.read()) == PIECE
        assert three[0].sent > sent
        call.cancel()
        await asyncio.wait_for(three[0].cancelled.wait(), 5)


async def test_a_server_that_does_not_read_holds_the_client_back(grpc_gateway: Gateway, three: list[Service]) -> None:
    server = await grpc_gateway(three[0])
    async with channel(server) as to:
        call = Caller(to).collect("Collect", timeout=30.0)
        written = 0

        async def write() -> None:
            nonlocal written
            for _ in range(400):
                await call.write(bytes(PIECE))
                written += 1
            await call.done_writing()

        writing = asyncio.create_task(write())
        stopped_at = await _at_rest(lambda: written)
        assert three[0].taken == 1
        assert stopped_at < 100
        three[0].release.set()
        await writing
        assert await call == b"%d" % (400 * PIECE)


async def _at_rest(count: Any) -> int:
    """The count when it has not changed for a while."""
    last, same = -1, 0
    while same < 10:
        await asyncio.sleep(0.02)
        now = count()
        same = same + 1 if now == last and now else 0
        last = now
    return int(last)


async def test_a_slow_stream_does_not_hold_up_others_on_its_connection(
    grpc_gateway: Gateway, three: list[Service]
) -> None:
    server = await grpc_gateway(three[0])
    async with channel(server) as to:
        slow = Caller(to).stream("Flood", timeout=30.0)
        await slow.read()
        await _at_rest(lambda: three[0].sent)
        for n in range(20):
            assert await Caller(to).unary("Echo", b"%d" % n, timeout=5.0) == b"%d" % n
        slow.cancel()


# --- changes while calls are open ---------------------------------------------------------------------------------------


async def test_a_stream_outlives_a_new_configuration(grpc_gateway: Gateway, three: list[Service]) -> None:
    server = await grpc_gateway(three[0])
    async with channel(server) as to:
        call = Caller(to).chat("Chat")
        await call.write(b"one")
        assert await call.read() == b"ONE"
        await server.apply(configuration(three[1], route=", timeout: 5s"))
        await call.write(b"two")
        assert await call.read() == b"TWO"  # from where it began
        assert await Caller(to).unary("Name") == b"b"  # on the same connection
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def test_open_calls_end_in_peace_when_the_gateway_stops(grpc_gateway: Gateway, three: list[Service]) -> None:
    server = await grpc_gateway(three[0])
    async with channel(server) as to:
        unary, stream = Caller(to).unary("Wait", b"done"), Caller(to).stream("Watch", b"last")
        assert await stream.read() == b"first"
        await eventually(lambda: three[0].calls["Wait"] == 1)
        stopping = asyncio.create_task(server.plane.drain(10.0))
        await eventually(lambda: all(listener.closing for listener in server.plane._listeners.values()))
        three[0].release.set()
        assert await unary == b"done"
        assert await stream.read() == b"last"
        assert await stream.read() is grpc.aio.EOF
        await stopping


# --- other peers ------------------------------------------------------------------------------------------------------


async def test_over_tls_on_both_sides(grpc_gateway: Gateway, authority: Authority) -> None:
    cert, key = authority.pair("localhost")
    pair = (key.read_bytes(), cert.read_bytes())
    async with Service("tls", credentials=grpc.ssl_server_credentials([pair])) as service:
        tls = f', tls: {{ca: "{authority.ca_path}", server_name: localhost}}'
        mine = f', tls: {{certificates: [{{cert: "{cert}", key: "{key}"}}]}}'
        server = await grpc_gateway(service, upstream=tls, listener=mine)
        credentials = grpc.ssl_channel_credentials(authority.ca_path.read_bytes())
        to = grpc.aio.secure_channel(
            f"127.0.0.1:{server.port}",
            credentials,
            options=[*OPTIONS, ("grpc.ssl_target_name_override", "localhost")],
        )
        async with to:
            assert await Caller(to).unary("Name") == b"tls"
            assert [each async for each in Caller(to).stream("Count", b"3")] == [b"0", b"1", b"2"]
    assert {record.protocol for record in server.records} == {"grpc"}


async def test_the_library_with_threads(grpc_gateway: Gateway) -> None:
    """The older half of the library: a server and a client with threads, and the health service of others."""

    def echo(request: bytes, _context: grpc.ServicerContext) -> bytes:
        return request

    pool = futures.ThreadPoolExecutor(4)
    threads = grpc.server(pool)
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    threads.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), threads)
    port = threads.add_insecure_port("127.0.0.1:0")
    threads.start()
    try:
        server = await grpc_gateway(f"http://127.0.0.1:{port}")

        def talk() -> tuple[list[bytes], int]:
            with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=OPTIONS) as to:
                method = to.unary_unary(f"/{SERVICE}/Echo")
                answers = [method(b"%d" % n, timeout=10) for n in range(50)]
                check = health_pb2_grpc.HealthStub(to).Check(health_pb2.HealthCheckRequest(), timeout=10)
                return answers, check.status

        answers, status = await asyncio.to_thread(talk)
        assert answers == [b"%d" % n for n in range(50)]
        assert status == health_pb2.HealthCheckResponse.SERVING
    finally:
        stopped: threading.Event = threads.stop(0)
        await asyncio.to_thread(stopped.wait)
        pool.shutdown()
