"""What clients see of origins that misbehave, and that nobody else has to suffer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from gatewright.testing import origins
from gatewright.testing.origin import Origin
from gatewright.testing.raw_client import RawClient, RawResponse

pytestmark = pytest.mark.sockets

GET = b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n"


class Case(NamedTuple):
    """An origin, and what it comes to."""

    origin: Callable[[], Origin]
    status: int = 200
    reason: str = ""  # in the record, and in the body of an answer of the gateway
    body: bytes | None = None
    keeps: bool = False  # whether the connection to the origin is used again
    request: bytes = GET


ANSWERED = {
    "echo": Case(origins.echo, keeps=True),
    "answers": Case(origins.answers, body=b"ok", keeps=True),
    "statuses": Case(lambda: origins.statuses(503), 503, body=b"", keeps=True),
    "chunked_with_trailers": Case(origins.chunked_with_trailers, body=b"onetwo", keeps=True),
    "one_byte_chunks": Case(origins.one_byte_chunks, body=b"slowly", keeps=True),
    "http10_close_delimited": Case(origins.http10_close_delimited, body=b"until the end"),
    "early_hints": Case(origins.early_hints, body=b"done", keeps=True),
    "half_close": Case(origins.half_close, body=b"bye"),
    "two_responses": Case(origins.two_responses, body=b"one"),
    "wrong_length, more": Case(lambda: origins.wrong_length(2, b"four"), body=b"fo"),
    "body_where_none_may_be": Case(origins.body_where_none_may_be, 204, body=b""),
    "body_where_none_may_be 304": Case(lambda: origins.body_where_none_may_be(b"304 Not Modified"), 304, body=b""),
    "slow_head": Case(origins.slow_head, 504, "upstream.timeout"),
    "accepts_never_reads": Case(origins.accepts_never_reads, 504, "upstream.timeout"),
    "never_accepts": Case(origins.never_accepts, 504, "upstream.connect_timeout"),
    "refuses": Case(origins.refuses, 502, "upstream.connect"),
    "reset_at_once": Case(origins.reset_at_once, 502, "upstream.reset"),
    "close_at_once": Case(origins.close_at_once, 502, "upstream.reset"),
    "bad_status_line": Case(origins.bad_status_line, 502, "upstream.malformed"),
    "not HTTP": Case(lambda: origins.raw(b"SSH-2.0-OpenSSH_9\r\n"), 502, "upstream.malformed"),
    "HTTP/2": Case(lambda: origins.raw(b"\0\0\x12\4\0\0\0\0\0", then="keep"), 502, "upstream.malformed"),
    "header_flood": Case(origins.header_flood, 502, "upstream.malformed"),
    "conflicting_length": Case(origins.conflicting_length, 502, "upstream.malformed"),
    "two_lengths": Case(origins.two_lengths, 502, "upstream.malformed"),
    "bare_lf": Case(origins.bare_lf, 502, "upstream.malformed"),
    "endless 1xx": Case(
        lambda: origins.raw(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000, then="keep"), 502, "upstream.malformed"
    ),
    "a switch nobody asked for": Case(
        lambda: origins.raw(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"), 502, "upstream.malformed"
    ),
    "answers_before_body": Case(
        origins.answers_before_body,
        413,
        body=b"no, thanks",
        keeps=True,
        request=b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello",
    ),
    "answers_before_body_and_closes": Case(
        origins.answers_before_body_and_closes,
        413,
        body=b"",
        request=b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello",
    ),
}
BROKEN_OFF = {
    "close_after_head": (origins.close_after_head, "upstream.truncated"),
    "reset_mid_chunk": (origins.reset_mid_chunk, "upstream.truncated"),
    "wrong_length, less": (origins.wrong_length, "upstream.truncated"),
    "bad_chunk": (origins.bad_chunk, "upstream.malformed"),
    "stall_body": (origins.stall_body, "upstream.idle_timeout"),
    "reset_mid_body": (origins.reset_mid_body, "upstream.truncated"),
}


async def is_well(server: Any, client: RawClient) -> None:
    """Others are served as ever, on this connection or a new one, and nothing is left in use."""
    if client.writer.is_closing() or client.reader.at_eof():
        async with RawClient(server.port) as another:
            answer = await another.get(b"/good")
    else:
        answer = await client.get(b"/good")
    assert (answer.status, answer.body) == (200, b"fine")
    await server.settled()
    assert server.bugs == []


@pytest.mark.parametrize("case", ANSWERED.values(), ids=ANSWERED)
async def test_what_the_client_sees(front: Any, case: Case) -> None:
    async with origins.answers(b"fine") as good, case.origin() as origin:
        server = await front(origin, good=good.url)
        async with RawClient(server.port) as client:
            await client.send(case.request)
            response = await client.response()
            assert response.status == case.status
            check_body(response, case)
            assert (await server.record()).reason == case.reason
            await is_well(server, client)
            idle = {each.key: len(each.pool.idle) for each in server.endpoints}
            assert idle.pop(good.url) == 1
            assert list(idle.values()) == [int(case.keeps)]
        if case.keeps:
            async with RawClient(server.port) as client:
                await client.send(case.request)
                assert (await client.response()).status == case.status
            assert origin.connections == 1
        assert origin.errors == []


def check_body(response: RawResponse, case: Case) -> None:
    if case.reason:
        assert response.get(b"content-type") == b"application/problem+json"
        assert json.loads(response.body)["reason"] == case.reason
    elif case.body is not None:
        assert response.body == case.body


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize(("behaviour", "reason"), BROKEN_OFF.values(), ids=BROKEN_OFF)
async def test_half_an_answer_is_never_taken_for_the_whole(
    front: Any, behaviour: Callable[[], Origin], reason: str, version: bytes
) -> None:
    """Without a length and without chunks only a reset tells the client."""
    async with origins.answers(b"fine") as good, behaviour() as origin:
        server = await front(origin, good=good.url)
        async with RawClient(server.port) as client:
            await client.send(GET.replace(b"1.1", version))
            if reason == "upstream.truncated":
                await origin.seen()
                origin.release()
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await client.response()
            record = await server.record()
            assert (record.status, record.reason) == (200, reason)
            await is_well(server, client)
        assert [len(each.pool.idle) for each in server.endpoints if each.key != good.url] == [0]


async def test_an_answer_that_came_before_its_request_goes_to_one_client_at_most(front: Any) -> None:
    async with origins.unasked_response() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            assert (await client.get()).body == b"unsaid", "nothing tells it from an answer"
            assert (await client.get()).status == 504


async def test_trailers_pass(front: Any) -> None:
    async with origins.chunked_with_trailers() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            await client.send(b"GET / HTTP/1.1\r\nhost: x\r\nte: trailers\r\n\r\n")
            assert (await client.response()).trailers == [(b"x-checksum", b"1")]


async def test_hints_come_before_the_answer(front: Any) -> None:
    async with origins.early_hints() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            response = await client.get()
        assert [(each.status, each.get(b"link")) for each in response.interim] == [(103, b"</style.css>; rel=preload")]


async def test_a_connection_that_was_closed_meanwhile_costs_nothing(front: Any) -> None:
    async with origins.keepalive_then_close() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            assert (await client.get()).body == b"ok"
            origin.release()
            await origin.all_closed()
            assert [(await client.get()).status for _ in range(5)] == [200] * 5


@pytest.mark.parametrize(("method", "second"), [(b"GET", 200), (b"POST", 502)])
async def test_a_kept_connection_that_breaks_is_tried_again_only_when_that_is_safe(
    front: Any, method: bytes, second: int
) -> None:
    async with origins.resets_second_request() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            for expected in (200, second):
                await client.send(b"%b / HTTP/1.1\r\nhost: x\r\n\r\n" % method)
                assert (await client.response()).status == expected
        assert (await server.record(2)).tries == (2 if second == 200 else 1)


async def test_a_failing_endpoint_is_replaced_by_another(front: Any) -> None:
    async with origins.refuses() as bad, origins.reset_at_once() as worse, origins.answers() as good:
        urls = '", "'.join((bad.url, worse.url, good.url))
        server = await front(urls, upstream=", retries: {attempts: 2, on: [connect, reset]}")
        async with RawClient(server.port) as client:
            assert [(await client.get()).status for _ in range(9)] == [200] * 9


async def test_a_retried_status_is_not_seen(front: Any) -> None:
    async with origins.statuses(503, 503, 200) as origin:
        server = await front(origin, upstream=", retries: {attempts: 2, on: [503], backoff: 1ms}")
        async with RawClient(server.port) as client:
            assert (await client.get()).status == 200
        assert (await server.record()).tries == 3


async def test_a_client_that_leaves_ends_an_endless_answer(front: Any) -> None:
    async with origins.endless() as origin:
        server = await front(origin)
        async with RawClient(server.port) as client:
            await client.send(GET)
            await client.head()
            await client.exactly(1 << 20)
            client.reset()
        await origin.all_closed()
        assert (await server.record()).reason == "client.gone"
