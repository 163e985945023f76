from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gatewright.testing import origins
from gatewright.testing.raw_client import RawClient

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"


async def exchange(origin: Any, request: bytes = GET, end: bool = True) -> bytes:
    """Everything the origin sends for one request."""
    async with RawClient(origin.port) as client:
        await client.send(request)
        if end:
            client.end()
        return await client.to_end()


async def test_echo_says_what_it_saw() -> None:
    chunked = b"POST /c HTTP/1.1\r\ntransfer-encoding: chunked\r\nX-A: 1\r\n\r\n2\r\nab\r\n0\r\nx-t: 1\r\n\r\n"
    async with origins.echo() as origin, RawClient(origin.port) as client:
        await client.send(POST + chunked)
        said = [json.loads((await client.response()).body) for _ in range(2)]
    assert said[0]["method"] == "POST"
    assert (said[0]["target"], said[0]["length"]) == ("/p", 4)
    assert said[1]["headers"] == [["transfer-encoding", "chunked"], ["x-a", "1"]]
    assert said[1]["trailers"] == [["x-t", "1"]]
    assert [seen.complete for seen in origin.requests] == [True, True]
    assert origin.requests[1].all(b"x-a") == [b"1"]
    assert "POST /p" in repr(origin.requests[0])


async def test_statuses_one_after_the_other() -> None:
    async with origins.statuses(503, 200) as origin:
        heads = [(await exchange(origin))[:12] for _ in range(3)]
    assert heads == [b"HTTP/1.1 503", b"HTTP/1.1 200", b"HTTP/1.1 200"]


async def test_head_has_no_body() -> None:
    async with origins.answers(b"content") as origin:
        assert (await exchange(origin, b"HEAD / HTTP/1.1\r\n\r\n")).endswith(b"content-length: 7\r\n\r\n")


@pytest.mark.parametrize("name", ["slow_head", "stall_body", "keepalive_then_close", "reset_mid_body"])
async def test_those_that_wait_wait_for_release(name: str) -> None:
    async with getattr(origins, name)() as origin, RawClient(origin.port) as client:
        await client.send(GET)
        await origin.seen(1)
        if name != "slow_head":
            await client.until(b"\r\n\r\n")
        origin.release()
        if name == "reset_mid_body":
            with pytest.raises(ConnectionResetError):
                await client.to_end()
        elif name == "keepalive_then_close":
            assert await client.to_end() == b"ok"
        else:
            assert (await client.until(b"late" if name == "slow_head" else b"second half"))[-1:] in b"ef"


@pytest.mark.parametrize("name", ["reset_at_once", "resets_second_request"])
async def test_resets(name: str) -> None:
    async with getattr(origins, name)() as origin, RawClient(origin.port) as client:
        await client.send(GET)
        if name == "resets_second_request":
            await client.until(b"ok")
            await client.send(GET)
        with pytest.raises(ConnectionResetError):
            await client.to_end()
        await origin.all_closed()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("close_at_once", b""),
        ("close_after_head", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"),
        ("reset_mid_chunk", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\nhalf"),
        ("http10_close_delimited", b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end"),
        ("half_close", b"HTTP/1.1 200 OK\r\n\r\nbye"),
        ("wrong_length", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfour"),
        ("bad_status_line", b"HTTP/1.1 OK\r\ncontent-length: 0\r\n\r\n"),
        ("bare_lf", b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok"),
        ("two_lengths", b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc"),
        ("unasked_response", b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nunsaid"),
        ("body_where_none_may_be", b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nextra"),
    ],
)
async def test_what_the_bad_ones_send(name: str, expected: bytes) -> None:
    async with getattr(origins, name)() as origin:
        assert await exchange(origin) == expected
    assert origin.errors == []


async def test_more_that_the_bad_ones_send() -> None:
    for made, count in (
        (origins.two_responses(), 2),
        (origins.early_hints(), 2),
        (origins.header_flood(1000), 1),
        (origins.conflicting_length(), 1),
        (origins.bad_chunk(), 1),
        (origins.chunked_with_trailers(), 1),
    ):
        async with made as origin:
            assert (await exchange(origin)).count(b"HTTP/1.1 ") == count
    async with origins.wrong_length(3, b"more than that") as origin:
        assert (await exchange(origin)).endswith(b"\r\n\r\nmore than that")


async def test_one_byte_chunks() -> None:
    async with origins.one_byte_chunks(b"abc") as origin, RawClient(origin.port) as client:
        assert (await client.get()).chunks == [b"a", b"b", b"c"]


async def test_continue_and_answers_before_the_body() -> None:
    head, body = POST[:-4].replace(b"\r\n\r\n", b"\r\nexpect: 100-continue\r\n\r\n"), POST[-4:]
    async with origins.continues() as origin, RawClient(origin.port) as client:
        await client.send(head)
        assert (await client.head()).status == 100
        await client.send(body)
        assert json.loads((await client.response()).body)["length"] == 4
    async with origins.answers_before_body() as origin, RawClient(origin.port) as client:
        await client.send(head)
        assert (await client.response()).status == 413
        await client.send(body + GET)
        assert (await client.response()).status == 413
    async with origins.answers_before_body_and_closes() as origin:
        assert (await exchange(origin, head, end=False)).startswith(b"HTTP/1.1 413 ")


async def test_server_sent_events_on_command() -> None:
    async with origins.sse() as origin, RawClient(origin.port) as client:
        await client.send(GET)
        assert (await client.head()).get(b"content-type") == b"text/event-stream"
        origin.command(b"data: 1\n\n")
        assert await client.until(b"\n\n\r\n") == b"9\r\ndata: 1\n\n\r\n"
        origin.command(None)
        assert await client.to_end() == b"0\r\n\r\n"


def masked(first: int, payload: bytes) -> bytes:
    mask = b"\x01\x02\x03\x04"
    length = len(payload)
    size = bytes([128 | length]) if length < 126 else b"\xfe" + length.to_bytes(2, "big")
    return bytes([first]) + size + mask + bytes(octet ^ mask[i % 4] for i, octet in enumerate(payload))


async def test_websocket_echo() -> None:
    upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    key = b"sec-websocket-key: %b\r\n" % b"dGhlIHNhbXBsZSBub25jZQ=="  # the example of RFC 6455 section 1.3
    async with origins.websocket_echo() as origin, RawClient(origin.port) as client:
        response = await client.get(more=upgrade + key)
        assert response.status == 101
        assert response.get(b"sec-websocket-accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        await client.send(masked(0x81, b"hello"), masked(0x89, b"p"), masked(0x82, b"x" * 300))
        assert await client.exactly(7) == b"\x81\x05hello"
        assert await client.exactly(3) == b"\x8a\x01p"
        assert await client.exactly(304) == b"\x82\x7e\x01\x2c" + b"x" * 300
        await client.send(masked(0x88, b"\x03\xe8"))
        assert await client.to_end() == b"\x88\x02\x03\xe8"
    async with origins.websocket_echo() as origin:
        assert (await exchange(origin)).startswith(b"HTTP/1.1 426 ")


async def test_refused_connections() -> None:
    async with origins.refuses() as origin:
        with pytest.raises(ConnectionRefusedError):
            await RawClient(origin.port).__aenter__()


async def test_connections_that_are_not_answered() -> None:
    async with origins.never_accepts() as origin:
        with pytest.raises(TimeoutError):
            await RawClient(origin.port, deadline=0.1).__aenter__()


async def test_the_one_that_never_reads() -> None:
    async with origins.accepts_never_reads() as origin, RawClient(origin.port, deadline=0.1) as client:
        await origin.when(lambda: origin.connections)
        with pytest.raises(TimeoutError):
            await client.send(b"x" * 10_000_000)
        client.reset()


async def test_the_endless_one_can_be_stopped() -> None:
    async with origins.endless() as origin, RawClient(origin.port) as client:
        await client.send(GET)
        await client.until(b"x\r\n10000\r\nx")
        origin.release()
        assert (await client.to_end()).endswith(b"0\r\n\r\n")


async def test_stopping_closes_connections_and_the_port_can_be_taken_again() -> None:
    origin = origins.echo()
    await origins.start_all(origin)
    async with RawClient(origin.port) as client:
        await client.get()
        await origin.stop()
        assert await client.is_closed()
        with pytest.raises(ConnectionRefusedError):
            await RawClient(origin.port).__aenter__()
        await origin.start(origin.port)
        async with RawClient(origin.port) as again:
            assert (await again.get()).status == 200
        await origin.stop()
        await origin.stop()


async def test_a_broken_behaviour_is_reported() -> None:
    async with origins.echo() as origin:
        await exchange(origin, b"not http\r\n\r\n")
        await origin.all_closed()
    assert [type(error) for error in origin.errors] == [ValueError]
    assert origin.url == f"http://127.0.0.1:{origin.port}"


async def test_waiting_has_a_deadline() -> None:
    async with origins.echo() as origin:
        with pytest.raises(TimeoutError):
            await origin.seen(1, deadline=0.01)
        with pytest.raises(TimeoutError):
            await origin.when(lambda: False, deadline=0.01)
        await asyncio.sleep(0)
