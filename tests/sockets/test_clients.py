"""Clients that are old, slow, greedy, rude or gone, on real connections."""

from __future__ import annotations

import asyncio
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from gatewright.testing import origins
from gatewright.testing.raw_client import RawClient, eventually

pytestmark = pytest.mark.sockets

GET = b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n"


def reason(response: Any) -> str:
    said: str = json.loads(response.body)["reason"]
    return said


# --- what HTTP/1 allows -----------------------------------------------------------------------------------------------


async def test_pipelined_requests_are_answered_in_their_order(front: Any) -> None:
    async with origins.echo() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            post = b"POST /post HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"
            await client.send(b"".join(GET % n for n in range(50)) + post + GET % 50)
            targets = [json.loads((await client.response()).body)["target"] for _ in range(52)]
        assert targets == [*(f"/{n}" for n in range(50)), "/post", "/50"]
        assert origin.connections == 1


async def test_requests_may_come_octet_by_octet(front: Any) -> None:
    async with origins.echo() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            for _ in range(2):
                await client.send_slowly(b"POST /p HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
                await client.send_slowly(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nx-t: 1\r\n\r\n")
                assert json.loads((await client.response()).body)["length"] == 5
        assert [seen.body for seen in origin.requests] == [b"abcde"] * 2


async def test_http10_is_spoken_as_it_was(front: Any) -> None:
    async with origins.chunked_with_trailers() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            await client.send(b"GET / HTTP/1.0\r\nhost: x\r\n\r\n")
            response = await client.response()
            assert (response.status, response.body) == (200, b"onetwo")
            assert response.get(b"transfer-encoding") is None
            assert await client.is_closed()
    async with origins.answers() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            for _ in range(2):
                await client.send(b"GET / HTTP/1.0\r\nhost: x\r\nconnection: keep-alive\r\n\r\n")
                assert (await client.response()).get(b"connection") == b"keep-alive"


async def test_a_client_that_has_closed_its_side_gets_its_answer(front: Any) -> None:
    async with origins.slow_head() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            await client.send(GET % 1)
            client.end()
            await origin.seen()
            origin.release()
            assert (await client.response()).body == b"late"
            assert await client.is_closed()


async def test_continue_comes_from_the_origin_itself(front: Any) -> None:
    async with origins.continues() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
            assert (await client.head()).status == 100
            assert not origin.requests[0].complete
            await client.send(b"body")
            response = await client.response()
            assert (response.status, json.loads(response.body)["length"]) == (200, 4)


async def test_a_refusal_instead_of_continue_spares_the_body(front: Any) -> None:
    async with origins.answers_before_body() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4000000\r\n\r\n")
            response = await client.response()
            assert (response.status, response.interim) == (413, [])
            assert response.get(b"connection") == b"close", "nobody knows whether the body comes"


async def test_curl_waits_for_continue(front: Any, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    (tmp_path / "body").write_bytes(b"x" * 2_000_000)
    async with origins.continues() as origin:
        server = await front(origin)
        process = await asyncio.create_subprocess_exec(
            *(curl, "-q", "-sS", "--noproxy", "*", "-m", "20", "-v", "-T", str(tmp_path / "body"), server.url + "/put"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err
        assert b"< HTTP/1.1 100 Continue" in err
        assert json.loads(out)["length"] == 2_000_000


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_slow_heads_are_given_up(front: Any) -> None:
    async with origins.answers() as origin:
        server = await front(origin, listener=", limits: {header_timeout: 300ms}")
        async with RawClient(server.port) as client:
            await client.send(b"GET / HTTP/1.1\r\nx-")
            response = await client.response()
            assert (response.status, reason(response)) == (408, "request.timeout")
            assert await client.is_closed()
        assert origin.connections == 0


async def test_a_connection_that_says_nothing_is_closed(front: Any) -> None:
    async with origins.answers() as origin:
        server = await front(origin, listener=", limits: {header_timeout: 300ms, idle_timeout: 300ms}")
        async with RawClient(server.port) as client:
            assert await client.to_end() == b""
        async with RawClient(server.port) as client:
            assert (await client.get()).status == 200
            assert await client.to_end() == b""


async def test_slow_bodies_are_given_up(front: Any) -> None:
    async with origins.answers() as origin:
        server = await front(origin, listener=", limits: {body_timeout: 300ms}")
        async with RawClient(server.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc")
            response = await client.response()
            assert (response.status, reason(response)) == (408, "request.body_timeout")
            assert await client.is_closed()


async def test_a_connection_serves_so_many_requests(front: Any) -> None:
    async with origins.answers() as origin:
        server = await front(origin, listener=", limits: {requests: 3}")
        async with RawClient(server.port) as client:
            assert [(await client.get()).get(b"connection") for _ in range(3)] == [None, None, b"close"]
            assert await client.is_closed()


async def test_a_listener_takes_so_many_connections(front: Any) -> None:
    async with origins.answers() as origin:
        server = await front(origin, listener=", limits: {connections: 2}")
        async with RawClient(server.port) as one, RawClient(server.port) as two:
            assert (await one.get()).status == (await two.get()).status == 200
            async with RawClient(server.port) as three:
                response = await three.response()
                assert (response.status, reason(response)) == (503, "listener.connections")
                assert await three.is_closed()
            assert (await one.get()).status == 200
            two.reset()
            await eventually(lambda: server.plane.connections == 1)
            async with RawClient(server.port) as four:
                assert (await four.get()).status == 200


@pytest.mark.parametrize(
    ("sent", "status", "why"),
    [
        (b"GET /%b HTTP/1.1\r\nhost: x\r\n\r\n" % (b"x" * 9000), 414, "request.target_too_long"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: %b\r\n\r\n" % (b"x" * 70_000), 431, "request.headers_too_large"),
        (b"GET / HTTP/1.1\r\nhost: x\r\n%b\r\n" % (b"x: y\r\n" * 200), 431, "request.headers_too_large"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "request.host"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "request.malformed"),
        (b"GET / HTTP/3.0\r\nhost: x\r\n\r\n", 505, "request.version"),
        (b"CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n", 501, "request.tunnel"),
        (
            b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "request.ambiguous",
        ),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n", 413, "request.body_too_large"),
    ],
)
async def test_what_is_refused_never_reaches_an_origin(front: Any, sent: bytes, status: int, why: str) -> None:
    async with origins.answers() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            await client.send(sent + GET % 2)
            response = await client.response()
            assert (response.status, reason(response)) == (status, why)
            assert await client.is_closed(), "what comes behind is not read as a request"
        assert origin.requests == []


async def test_a_body_that_grows_too_large_is_cut_off(front: Any) -> None:
    async with origins.echo() as origin:
        server = await front(origin, route=", limits: {body: 64KiB}")
        async with RawClient(server.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(10):
                await client.send(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            response = await client.response()
            assert (response.status, reason(response)) == (413, "request.body_too_large")
        assert not any(seen.complete for seen in origin.requests)


async def test_a_crowd_of_rude_clients_leaves_nothing_behind(front: Any) -> None:
    async with origins.slow_head() as origin:
        server = await front(origin, upstream=", pool: {max_connections: 10}")

        async def rude(number: int) -> None:
            async with RawClient(server.port) as client:
                await client.send((GET % number)[: 10 + number])
                if number % 3 == 0:
                    await origin.seen()
                if number % 2:
                    client.reset()

        await asyncio.gather(*(rude(number) for number in range(60)))
        await eventually(lambda: server.plane.connections == 0, 8)
        await server.settled()


# --- where they come from ---------------------------------------------------------------------------------------------

V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + struct.pack("!4B4BHH", 192, 0, 2, 7, 198, 51, 100, 1, 4711, 80)


@pytest.mark.parametrize("header", [V1, V2])
@pytest.mark.parametrize("cut", [False, True])
async def test_the_proxy_protocol_names_the_client(front: Any, header: bytes, cut: bool) -> None:
    async with origins.echo() as origin:
        server = await front(origin, listener=", proxy_protocol: true, trusted_proxies: [127.0.0.0/8]")
        async with RawClient(server.port) as client:
            if cut:
                await client.send_slowly(header)
                await client.send(GET % 1)
            else:
                await client.send(header + GET % 1)
            assert (await client.response()).status == 200
            assert (await client.get()).status == 200
        assert [seen.get(b"x-forwarded-for") for seen in origin.requests] == [b"192.0.2.7"] * 2


async def test_without_its_header_a_connection_is_closed(front: Any) -> None:
    async with origins.echo() as origin:
        server = await front(origin, listener=", proxy_protocol: true, trusted_proxies: [127.0.0.0/8]")
        async with RawClient(server.port) as client:
            await client.send(GET % 1)
            assert await client.is_closed()
        assert origin.requests == []


async def test_unix_sockets_on_both_sides(front: Any, tmp_path: Path) -> None:
    async with origins.echo() as origin:
        inner = await front(origin, listener=f', bind: "unix:{tmp_path}/inner"')
        outer = await front(f"unix:{tmp_path}/inner", listener=f', bind: "unix:{tmp_path}/outer"')
        assert inner.address() == (f"{tmp_path}/inner", 0)
        async with RawClient(0, outer.address()[0]) as client:
            for _ in range(2):
                assert (await client.get(b"/through")).status == 200
        assert [seen.target for seen in origin.requests] == [b"/through"] * 2
        assert origin.connections == 1


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_a_stop_finishes_what_is_in_flight_and_closes_the_rest(front: Any) -> None:
    async with origins.answers() as good, origins.stall_body() as origin:
        server = await front(origin, good=good.url)
        async with RawClient(server.port) as idle, RawClient(server.port) as busy:
            assert (await idle.get(b"/good")).status == 200
            await busy.send(GET % 1)
            await busy.head()
            draining = asyncio.ensure_future(server.plane.drain(5))
            assert await idle.is_closed()
            with pytest.raises(ConnectionRefusedError):
                await RawClient(server.port).__aenter__()
            origin.release()
            assert await busy.exactly(22) == b"first half,second half"
            assert await busy.is_closed()
            await draining
        assert [record.reason for record in server.records] == ["", ""]


async def test_what_outlasts_a_stop_is_broken_off(front: Any) -> None:
    async with origins.slow_head() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            await client.send(GET % 1)
            await origin.seen()
            await server.plane.drain(0.1)
            assert await client.is_closed()
        assert server.records[0].reason == "listener.draining"
