from __future__ import annotations

import asyncio

import pytest

from gatewright.testing import origins
from gatewright.testing.raw_client import RawClient, RawResponse, eventually

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def test_a_response_with_everything() -> None:
    pieces = (
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
        b"HTTP/1.1 200 Fine Thanks\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n",
        b"3;x=y\r\none\r\n3\r\ntwo\r\n0\r\nX-End: yes\r\n\r\n",
    )
    async with origins.raw(*pieces) as origin, RawClient(origin.port) as client:
        await client.send(GET)
        response = await client.response()
        assert await client.is_closed()
    assert (response.status, response.phrase, response.body) == (200, "Fine Thanks", b"onetwo")
    assert response.chunks == [b"one", b"two"]
    assert response.trailers == [(b"x-end", b"yes")]
    assert [interim.get(b"link") for interim in response.interim] == [b"</a>"]
    assert response.all(b"set-cookie") == [b"a", b"b"]
    with pytest.raises(AssertionError, match="repeated"):
        response.get(b"set-cookie")


async def test_lengths_and_the_end_of_the_connection() -> None:
    async with origins.echo() as origin, RawClient(origin.port) as client:
        assert (await client.get(b"/a?b")).status == 200
        await client.send_slowly(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await client.response(to_head=True)).body == b""
        assert (await client.get(more=b"connection: close\r\n")).status == 200
        assert await client.to_end() == b""
    async with origins.http10_close_delimited(b"all of it") as origin, RawClient(origin.port) as client:
        assert (await client.get()).body == b"all of it"


async def test_a_chunk_without_its_line_end_is_noticed() -> None:
    coded = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcde\r\n0\r\n\r\n"
    async with origins.raw(coded) as origin, RawClient(origin.port) as client:
        with pytest.raises(AssertionError, match="followed by"):
            await client.get()


async def test_waiting_for_nothing_ends() -> None:
    async with origins.slow_head() as origin, RawClient(origin.port, deadline=0.05) as client:
        await client.send(GET)
        with pytest.raises(TimeoutError):
            await client.response()
        assert not await client.is_closed()


async def test_reset_and_half_close_reach_the_other_side() -> None:
    async with origins.echo() as origin:
        async with RawClient(origin.port) as client:
            await client.send(b"GET")
            client.end()
            assert await client.to_end() == b""
        async with RawClient(origin.port) as client:
            await client.send(GET[:-2])
            await origin.when(lambda: origin.connections == 2)
            client.reset()
            await origin.all_closed()
    assert origin.errors == []


async def test_eventually_waits_for_plain_and_for_async_predicates() -> None:
    seen: list[int] = []

    def grows() -> int:
        seen.append(1)
        return len(seen) if len(seen) > 150 else 0

    async def at_once() -> str:
        await asyncio.sleep(0)
        return "yes"

    assert await eventually(grows) == 151
    assert await eventually(at_once) == "yes"
    with pytest.raises(AssertionError, match="has not become true"):
        await eventually(lambda: False, deadline=0.02)


def test_a_response_says_what_it_is() -> None:
    assert "418" in repr(RawResponse(b"HTTP/1.1 418 Teapot\r\n\r\n"))
