"""gRPC's own library on both sides of the gateway: all kinds of calls, metadata, deadlines, cancellation, answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
from tests.sockets.grpc_peers import Caller, Gateway, Service, channel, failure

from gatewright.proxy.families import GRPC_REQUESTS
from gatewright.testing.raw_client import eventually

StatusCode = grpc.StatusCode


async def messages(*each: bytes) -> AsyncIterator[bytes]:
    for message in each:
        yield message


# --- the four kinds ---------------------------------------------------------------------------------------------------


async def test_one_message_each_way(grpc_gateway: Gateway, service: Service) -> None:
    server = await grpc_gateway(service)
    async with channel(server) as to:
        assert await Caller(to).unary("Echo", b"hello") == b"hello"
    record = await server.record()
    assert (record.status, record.grpc_status, record.protocol, record.reason) == (200, "OK", "grpc", "")


async def test_many_messages_back(grpc_gateway: Gateway, service: Service) -> None:
    async with channel(await grpc_gateway(service)) as to:
        assert [each async for each in Caller(to).stream("Count", b"500")] == [b"%d" % n for n in range(500)]


async def test_many_messages_there(grpc_gateway: Gateway, service: Service) -> None:
    async with channel(await grpc_gateway(service)) as to:
        assert await Caller(to).collect("Sum", messages(*(b"%d" % n for n in range(500)))) == b"124750"


async def test_messages_both_ways_at_their_own_pace(grpc_gateway: Gateway, service: Service) -> None:
    async with channel(await grpc_gateway(service)) as to:
        call = Caller(to).chat("Chat")
        for word in (b"one", b"two", b"three"):
            await call.write(word)
            assert await call.read() == word.upper()  # an answer comes before the next message has gone
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is StatusCode.OK


async def test_empty_messages_and_empty_streams(grpc_gateway: Gateway, service: Service) -> None:
    async with channel(await grpc_gateway(service)) as to:
        caller = Caller(to)
        assert await caller.unary("Echo", b"") == b""
        assert [each async for each in caller.stream("Count", b"0")] == []
        assert await caller.collect("Sum", messages()) == b"0"


async def test_large_messages(grpc_gateway: Gateway, service: Service) -> None:
    """Larger than every window and than the listener's limit for bodies of other requests."""
    server = await grpc_gateway(service, listener=", limits: {body: 1MiB}")
    large = bytes(range(256)) * (64 * 1024)  # 16 MiB
    async with channel(server) as to:
        assert await Caller(to).unary("Echo", large, timeout=30.0) == large


async def test_compressed_messages_pass_untouched(grpc_gateway: Gateway, service: Service) -> None:
    server = await grpc_gateway(service)
    async with channel(server) as to:
        text = b"squeeze " * 10_000
        assert await Caller(to).unary("Echo", text, compression=grpc.Compression.Gzip) == text
    assert 0 < (await server.record()).bytes_in < 1000


# --- metadata ---------------------------------------------------------------------------------------------------------


async def test_metadata_passes_both_ways_first_and_last(grpc_gateway: Gateway, service: Service) -> None:
    binary = bytes(range(256))
    mine = (("x-echo", "one"), ("x-echo", "two"), ("x-echo-bin", binary), ("x-echo-bin", b""), ("x-echo-empty", ""))
    async with channel(await grpc_gateway(service)) as to:
        call = Caller(to).unary("Echo", metadata=mine)
        await call
        first, last = await call.initial_metadata(), await call.trailing_metadata()
    fields, _ = service.seen[0]
    assert fields["x-echo"] == ["one", "two"]
    assert fields["x-echo-bin"] == [binary, b""]
    assert fields["user-agent"][0].startswith("grpc-python-asyncio/")
    for metadata, name in ((first, "x-first"), (last, "x-last")):
        assert metadata.get(name) == "1"
        assert tuple(metadata.get_all("x-echo")) == ("one", "two")
        assert tuple(metadata.get_all("x-echo-bin")) == (binary, b"")


@pytest.mark.parametrize("code", [code for code in StatusCode if code is not StatusCode.OK])
async def test_statuses_of_the_service_pass(grpc_gateway: Gateway, service: Service, code: StatusCode) -> None:
    server = await grpc_gateway(service)
    async with channel(server) as to:
        error = await failure(Caller(to).unary("Fail", code.name.encode()))
    assert (error.code(), error.details()) == (code, f"{code.name} \u00fcber 100%")
    assert error.trailing_metadata().get("x-why") == "told"  # type: ignore[union-attr]
    assert error.trailing_metadata().get("x-why-bin") == b"\0\xff"  # type: ignore[union-attr]
    record = await server.record()
    assert (record.status, record.grpc_status, record.reason) == (200, code.name, "")


async def test_a_status_behind_messages(grpc_gateway: Gateway, service: Service) -> None:
    async with channel(await grpc_gateway(service)) as to:
        call = Caller(to).stream("Break", b"DATA_LOSS")
        got = [await call.read(), await call.read()]
        assert got == [b"one", b"two"]
        error = await failure(call)
    assert (error.code(), error.details()) == (StatusCode.DATA_LOSS, "in the middle")


async def test_a_service_that_ends_early_while_the_client_sends(grpc_gateway: Gateway, service: Service) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10_000
            await asyncio.sleep(0)

    async with channel(await grpc_gateway(service)) as to:
        error = await failure(Caller(to).collect("Refuse", endless()))
        assert (error.code(), error.details()) == (StatusCode.RESOURCE_EXHAUSTED, "enough")
        assert await Caller(to).unary("Echo", b"next") == b"next"


async def test_an_unknown_method_is_the_services_to_refuse(grpc_gateway: Gateway, service: Service) -> None:
    async with channel(await grpc_gateway(service)) as to:
        assert (await failure(Caller(to).unary("Nothing"))).code() is StatusCode.UNIMPLEMENTED


# --- deadlines and cancellation ---------------------------------------------------------------------------------------


async def test_the_service_sees_the_clients_deadline(grpc_gateway: Gateway, service: Service) -> None:
    async with channel(await grpc_gateway(service)) as to:
        await Caller(to).unary("Echo", timeout=8.0)
        await Caller(to).unary("Echo", timeout=None)
    (_, left), (_, never) = service.seen
    assert left is not None
    assert 6.0 < left <= 8.1
    assert never is None or never > 1e6


async def test_the_routes_time_shortens_the_deadline(grpc_gateway: Gateway, service: Service) -> None:
    async with channel(await grpc_gateway(service, route=", timeout: 3s")) as to:
        await Caller(to).unary("Echo", timeout=60.0)
        await Caller(to).unary("Echo", timeout=None)
    for _, left in service.seen:
        assert left is not None
        assert 1.5 < left <= 3.1


async def test_the_gateway_ends_a_call_at_the_routes_deadline(grpc_gateway: Gateway, service: Service) -> None:
    server = await grpc_gateway(service, route=", timeout: 300ms")
    async with channel(server) as to:
        error = await failure(Caller(to).unary("Wait"))
        assert error.code() is StatusCode.DEADLINE_EXCEEDED
        await asyncio.wait_for(service.cancelled.wait(), 5)
    record = await server.record()
    assert record.grpc_status == "DEADLINE_EXCEEDED"


async def test_a_stream_is_ended_at_the_routes_deadline_with_a_status(grpc_gateway: Gateway, service: Service) -> None:
    server = await grpc_gateway(service, route=", timeout: 300ms")
    async with channel(server) as to:
        call = Caller(to).stream("Watch")
        assert await call.read() == b"first"
        assert (await failure(call)).code() is StatusCode.DEADLINE_EXCEEDED
        await asyncio.wait_for(service.cancelled.wait(), 5)
    assert (await server.record()).grpc_status == "DEADLINE_EXCEEDED"


async def test_a_client_that_gives_up_is_felt_by_the_service(grpc_gateway: Gateway, service: Service) -> None:
    server = await grpc_gateway(service)
    async with channel(server) as to:
        for begin in (Caller(to).unary, Caller(to).stream, Caller(to).chat):
            service.started.clear()
            service.cancelled.clear()
            call = begin({"unary": "Wait", "stream": "Watch", "chat": "Chat"}[begin.__name__])
            if isinstance(call, grpc.aio.StreamStreamCall):
                await call.write(b"x")
            await asyncio.wait_for(service.started.wait(), 5)
            call.cancel()
            await asyncio.wait_for(service.cancelled.wait(), 5)
    await eventually(lambda: len(server.records) == 3)
    assert {(record.grpc_status, record.reason) for record in server.records} == {("CANCELLED", "client.gone")}


async def test_a_client_that_is_gone_is_felt_by_the_service(grpc_gateway: Gateway, service: Service) -> None:
    server = await grpc_gateway(service)
    to = channel(server)
    call = Caller(to).stream("Watch")
    assert await call.read() == b"first"
    await to.close()
    await asyncio.wait_for(service.cancelled.wait(), 5)
    assert (await server.record()).grpc_status == "CANCELLED"


async def test_a_service_that_dies_in_the_middle_is_a_status(grpc_gateway: Gateway) -> None:
    async with Service() as service:
        server = await grpc_gateway(service)
        async with channel(server) as to:
            call = Caller(to).stream("Watch")
            assert await call.read() == b"first"
            await service.server.stop(0)
            error = await failure(call)
            assert error.code() in {StatusCode.UNAVAILABLE, StatusCode.CANCELLED}
    assert (await server.record()).grpc_status == error.code().name


# --- answers of the gateway -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("additions", "code", "reason", "status"),
    [
        ({"listener": ", limits: {headers: 64}", "more": ""}, StatusCode.UNIMPLEMENTED, "route.none", 404),
        ({"route": ", policies: [{api_key: {}}]"}, StatusCode.UNAUTHENTICATED, "api_key.missing", 401),
        ({"route": ", policies: [{ip_filter: {deny: [127.0.0.0/8]}}]"}, StatusCode.PERMISSION_DENIED, "ip_filter.denied", 403),
        ({"route": ", limits: {body: 1KiB}"}, StatusCode.RESOURCE_EXHAUSTED, "request.body_too_large", 413),
    ],
)  # fmt: skip
async def test_refusals_are_statuses(
    grpc_gateway: Gateway, service: Service, additions: dict[str, str], code: StatusCode, reason: str, status: int
) -> None:
    if reason == "route.none":
        additions = {"route": ", listeners: [other]", "listener": '}, {name: other, bind: "127.0.0.1:0"'}
    server = await grpc_gateway(service, **additions)
    async with channel(server) as to:
        error = await failure(Caller(to).unary("Echo", b"hello" * 1000))
    assert error.code() is code
    assert (error.details() or "").startswith(f"{reason}: ")
    record = await server.record()
    assert (record.status, record.grpc_status, record.reason) == (status, code.name, reason)
    assert not service.calls


async def test_a_rate_limit_tells_when_to_come_back(grpc_gateway: Gateway, service: Service) -> None:
    server = await grpc_gateway(service, route=", policies: [{rate_limit: {limit: 1/m, by: address}}]")
    async with channel(server) as to:
        await Caller(to).unary("Echo")
        error = await failure(Caller(to).unary("Echo"))
    assert error.code() is StatusCode.RESOURCE_EXHAUSTED
    metadata = error.trailing_metadata()
    assert metadata is not None
    seconds = int(str(metadata.get("retry-after")))
    assert 0 < seconds <= 60
    assert metadata.get("grpc-retry-pushback-ms") == str(seconds * 1000)


async def test_nobody_there(grpc_gateway: Gateway) -> None:
    server = await grpc_gateway("http://127.0.0.1:1")
    async with channel(server) as to:
        error = await failure(Caller(to).unary("Echo"))
    assert error.code() is StatusCode.UNAVAILABLE
    assert (error.details() or "").startswith("upstream.connect: ")
    assert (await server.record()).status == 502


async def test_a_service_that_does_not_answer_in_time(grpc_gateway: Gateway, service: Service) -> None:
    server = await grpc_gateway(service, upstream=", timeouts: {first_byte: 200ms}")
    async with channel(server) as to:
        error = await failure(Caller(to).unary("Wait"))
    assert error.code() is StatusCode.DEADLINE_EXCEEDED
    assert (error.details() or "").startswith("upstream.timeout: ")
    await asyncio.wait_for(service.cancelled.wait(), 5)


async def test_calls_are_counted(grpc_gateway: Gateway, service: Service) -> None:
    server = await grpc_gateway(service, route=", grpc: {count_methods: true}")
    async with channel(server) as to:
        await Caller(to).unary("Echo")
        await failure(Caller(to).unary("Fail", b"NOT_FOUND"))
        await failure(Caller(to).unary("Invented"))
    await server.record(3)
    counted = server.plane.world.stats.counter(GRPC_REQUESTS).drain()
    assert {tuple(key.split("\x1f")[1:]): count for key, count in counted.items()} == {
        ("all", "test.Service/Echo", "OK"): 1,
        ("all", "test.Service/Fail", "NOT_FOUND"): 1,
        ("all", "_other", "UNIMPLEMENTED"): 1,
    }
