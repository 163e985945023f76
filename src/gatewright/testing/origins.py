"""Servers to put behind a gateway in tests: well-behaved ones and all kinds of bad ones, named by what they do.

Each function gives an :class:`~gatewright.testing.origin.Origin`, an async context manager on a free port of
127.0.0.1::

    async with origins.reset_mid_body(b"half of it") as origin:
        ...                      # origin.port, origin.url
        await origin.seen(1)     # wait for events, not for seconds
        assert origin.requests[0].target == b"/"

An origin that waits for something waits for ``origin.release()``, or for ever: tests decide, clocks do not. The good
ones answer every request of a connection; most bad ones misbehave on the first and close.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import TypeVarTuple

from gatewright.testing.origin import AcceptsNeverReads, Connection, NeverAccepts, Origin, Refuses, Seen

Ts = TypeVarTuple("Ts")
_WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def _origin(behaviour: Callable[[Connection, *Ts], Awaitable[None]], *arguments: *Ts) -> Origin:
    return Origin(lambda connection: behaviour(connection, *arguments))


# --- well behaved -----------------------------------------------------------------------------------------------------


def echo() -> Origin:
    """Answers with JSON: method, target, version, headers (pairs), length and sha256 of the body, trailers."""
    return _origin(_echo)


async def _echo(connection: Connection) -> None:
    while (seen := await connection.request()) is not None:
        await connection.answer(
            seen, json.dumps(describe(seen)).encode(), headers=b"content-type: application/json\r\n"
        )
        if seen.get(b"connection") == b"close":
            return


def describe(seen: Seen) -> dict[str, object]:
    """A request as JSON can hold it; octets outside ASCII as latin-1."""
    return {
        "method": seen.method.decode(),
        "target": seen.target.decode("latin-1"),
        "version": seen.version.decode(),
        "headers": [[name.decode(), value.decode("latin-1")] for name, value in seen.headers],
        "length": len(seen.body),
        "sha256": hashlib.sha256(seen.body).hexdigest(),
        "trailers": [[name.decode(), value.decode("latin-1")] for name, value in seen.trailers],
        "connection": seen.connection,
    }


def answers(body: bytes = b"ok", status: bytes = b"200 OK", headers: bytes = b"") -> Origin:
    """Answers every request with this; ``headers`` are lines with their CRLF."""
    return _origin(_answers, (status,), body, headers)


def statuses(*codes: int) -> Origin:
    """Answers one request after the other, over all connections, with these statuses; the last one stays."""
    return _origin(_answers, tuple(b"%d Status" % code for code in codes), b"", b"")


async def _answers(connection: Connection, lines: tuple[bytes, ...], body: bytes, headers: bytes) -> None:
    while (seen := await connection.request()) is not None:
        line = lines[min(len(connection.origin.requests), len(lines)) - 1]
        await connection.answer(seen, body, line, headers)


def raw(*pieces: bytes, then: str = "close") -> Origin:
    """Answers every request with exactly these pieces, each in its own write, then ``close``, ``keep`` or ``reset``."""
    return _origin(_raw, pieces, then)


async def _raw(connection: Connection, pieces: tuple[bytes, ...], then: str) -> None:
    while await connection.request() is not None:
        await connection.send(*pieces)
        if then == "reset":
            connection.reset()
        if then != "keep":
            return


def chunked_with_trailers(*chunks: bytes, trailers: bytes = b"x-checksum: 1\r\n") -> Origin:
    """Answers with these chunks and a trailer section."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks or (b"one", b"two"))
    return raw(_CHUNKED + body + b"0\r\n" + trailers + b"\r\n", then="keep")


_CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def one_byte_chunks(body: bytes = b"slowly") -> Origin:
    """Answers in chunks of one octet, each in its own write, and each byte of the framing too."""
    coded = b"".join(b"1\r\n%b\r\n" % body[i : i + 1] for i in range(len(body))) + b"0\r\n\r\n"
    whole = _CHUNKED + coded
    return raw(*(whole[i : i + 1] for i in range(len(whole))), then="keep")


def http10_close_delimited(body: bytes = b"until the end") -> Origin:
    """Answers as HTTP/1.0: no length, the end of the connection is the end of the body."""
    return raw(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\n" + body)


def early_hints(body: bytes = b"done") -> Origin:
    """Answers 103, then 200."""
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"
    return raw(hints, b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body), then="keep")


def continues() -> Origin:
    """Answers 100 to ``Expect: 100-continue`` before it reads the body, then echoes."""
    return _origin(_continues)


async def _continues(connection: Connection) -> None:
    while (seen := await connection.request_head()) is not None:
        if seen.get(b"expect") is not None:
            await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await connection.request_body(seen)
        await connection.answer(seen, json.dumps(describe(seen)).encode())


def sse() -> Origin:
    """Sends ``text/event-stream``; every ``origin.command(data)`` sends a piece, ``command(None)`` ends the stream."""
    return _origin(_sse)


async def _sse(connection: Connection) -> None:
    if await connection.request() is None:
        return
    await connection.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    while (piece := await connection.origin.next_command()) is not None:
        await connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    await connection.send(b"0\r\n\r\n")


def websocket_echo() -> Origin:
    """Accepts a WebSocket and sends every message back; answers pings and the close."""
    return _origin(_websocket_echo)


async def _websocket_echo(connection: Connection) -> None:
    seen = await connection.request()
    if seen is None:
        return
    key = seen.get(b"sec-websocket-key")
    if key is None:
        headers = b"upgrade: websocket\r\nconnection: upgrade\r\n"
        await connection.answer(seen, b"", b"426 Upgrade Required", headers)
        return
    accept = base64.b64encode(hashlib.sha1(key + _WEBSOCKET_GUID, usedforsecurity=False).digest())
    await connection.send(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-accept: %b\r\n\r\n" % accept
    )
    closing = 8
    opcode = 0
    while opcode != closing:
        first, payload = await _read_frame(connection)
        opcode = first & 15
        if opcode == 9:
            first = 0x8A  # ping → pong
        if opcode != 10:
            await connection.send(_frame(first, payload))


async def _read_frame(connection: Connection) -> tuple[int, bytes]:
    """The first octet and the unmasked payload of a client's frame (RFC 6455 section 5.2)."""
    first, second = await connection.reader.readexactly(2)
    length = second & 127
    if length > 125:
        length = int.from_bytes(await connection.reader.readexactly(2 if length == 126 else 8), "big")
    mask = await connection.reader.readexactly(4)
    payload = await connection.reader.readexactly(length)
    return first, bytes(octet ^ mask[i % 4] for i, octet in enumerate(payload))


def _frame(first: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 65536:
        return bytes((first, 126)) + length.to_bytes(2, "big") + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload


# --- slow -------------------------------------------------------------------------------------------------------------


def slow_head(body: bytes = b"late") -> Origin:
    """Reads the request and answers only after ``origin.release()``."""
    return _origin(_slow_head, body)


async def _slow_head(connection: Connection, body: bytes) -> None:
    while (seen := await connection.request()) is not None:
        await connection.released()
        await connection.answer(seen, body)


def stall_body(first: bytes = b"first half,", second: bytes = b"second half") -> Origin:
    """Sends half of the body, the rest only after ``origin.release()``."""
    return _origin(_stall_body, first, second)


async def _stall_body(connection: Connection, first: bytes, second: bytes) -> None:
    while await connection.request() is not None:
        length = len(first) + len(second)
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (length, first))
        await connection.released()
        await connection.send(second)


def endless(piece: bytes = b"x" * 65536) -> Origin:
    """Sends a body without end as fast as it is taken; ``origin.go`` stops it."""
    return _origin(_endless, piece)


async def _endless(connection: Connection, piece: bytes) -> None:
    if await connection.request() is None:
        return
    await connection.send(_CHUNKED)
    while not connection.origin.go.is_set():
        await connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await asyncio.sleep(0)  # drain() does not wait while there is room, and others want to run
    await connection.send(b"0\r\n\r\n")


def accepts_never_reads() -> AcceptsNeverReads:
    """Accepts connections and never reads from them."""
    return AcceptsNeverReads()


def never_accepts() -> NeverAccepts:
    """Connection attempts are not answered."""
    return NeverAccepts()


def refuses() -> Refuses:
    """Connections are refused."""
    return Refuses()


# --- ends badly -------------------------------------------------------------------------------------------------------


def reset_at_once() -> Origin:
    """Reads a request's head and resets."""
    return _origin(_reset_at_once)


async def _reset_at_once(connection: Connection) -> None:
    await connection.request_head()
    connection.reset()


def close_at_once() -> Origin:
    """Reads a request and closes without an answer."""
    return raw()


def close_after_head(length: int = 10) -> Origin:
    """Sends a head that promises a body, and closes."""
    return raw(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length)


def reset_mid_body(first: bytes = b"half of it") -> Origin:
    """Sends half of the promised body; after ``origin.release()`` it resets."""
    return _origin(_reset_mid_body, first)


async def _reset_mid_body(connection: Connection, first: bytes) -> None:
    if await connection.request() is None:
        return
    await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (2 * len(first), first))
    await connection.released()
    connection.reset()


def reset_mid_chunk() -> Origin:
    """Closes within a chunk: the response is not complete."""
    return raw(_CHUNKED + b"a\r\nhalf")


def keepalive_then_close(body: bytes = b"ok") -> Origin:
    """Answers as if the connection stayed, then closes it after ``origin.release()``; the next connection the same."""
    return _origin(_keepalive_then_close, body)


async def _keepalive_then_close(connection: Connection, body: bytes) -> None:
    if (seen := await connection.request()) is not None:
        await connection.answer(seen, body)
        await connection.released()


def resets_second_request(body: bytes = b"ok") -> Origin:
    """Answers the first request of each connection, and resets when the second one's head has come."""
    return _origin(_resets_second_request, body)


async def _resets_second_request(connection: Connection, body: bytes) -> None:
    if (seen := await connection.request()) is not None:
        await connection.answer(seen, body)
        if await connection.request_head() is not None:
            connection.reset()


def half_close(body: bytes = b"bye") -> Origin:
    """Answers, closes its sending direction, and goes on reading until the client closes."""
    return _origin(_half_close, body)


async def _half_close(connection: Connection, body: bytes) -> None:
    if await connection.request() is not None:
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
        connection.writer.write_eof()
        await connection.closed()


def answers_before_body(body: bytes = b"no, thanks", status: bytes = b"413 Content Too Large") -> Origin:
    """Answers as soon as the head is there, and reads the body afterwards."""
    return _origin(_answers_before_body, body, status)


async def _answers_before_body(connection: Connection, body: bytes, status: bytes) -> None:
    while (seen := await connection.request_head()) is not None:
        await connection.answer(seen, body, status)
        await connection.request_body(seen)


def answers_before_body_and_closes(status: bytes = b"413 Content Too Large") -> Origin:
    """Answers as soon as the head is there, and closes with the body unread."""
    return _origin(_answers_and_closes, status)


async def _answers_and_closes(connection: Connection, status: bytes) -> None:
    if (seen := await connection.request_head()) is not None:
        await connection.answer(seen, b"", status, b"connection: close\r\n")


# --- not HTTP as it should be -----------------------------------------------------------------------------------------

_OK = b"HTTP/1.1 200 OK\r\n"


def two_responses() -> Origin:
    """Sends a second response that nobody asked for right behind the first."""
    one = _OK + b"content-length: 3\r\n\r\none"
    return raw(one + one.replace(b"one", b"two"), then="keep")


def unasked_response() -> Origin:
    """Sends a response before any request, and keeps the connection."""
    return _origin(_unasked_response)


async def _unasked_response(connection: Connection) -> None:
    await connection.send(_OK + b"content-length: 6\r\n\r\nunsaid")
    await connection.closed()


def wrong_length(promised: int = 10, body: bytes = b"four") -> Origin:
    """Promises more octets than it sends and closes, or fewer and sends the rest all the same."""
    return raw(
        _OK + b"content-length: %d\r\n\r\n%b" % (promised, body), then="close" if promised > len(body) else "keep"
    )


def bad_status_line(line: bytes = b"HTTP/1.1 OK") -> Origin:
    """Sends something else where the status line should be."""
    return raw(line + b"\r\ncontent-length: 0\r\n\r\n")


def header_flood(count: int = 100_000) -> Origin:
    """Sends a header section without end."""
    lines = b"".join(b"x-header-%d: value\r\n" % i for i in range(count))
    return raw(_OK + lines + b"\r\n")


def conflicting_length() -> Origin:
    """Sends Content-Length and Transfer-Encoding together."""
    return raw(_OK + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", then="keep")


def two_lengths() -> Origin:
    """Sends two different Content-Length fields."""
    return raw(_OK + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabc", then="keep")


def bare_lf() -> Origin:
    """Ends its lines with LF alone."""
    return raw(b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok", then="keep")


def bad_chunk(size: bytes = b"0x3") -> Origin:
    """Sends a chunk with a malformed size."""
    return raw(_CHUNKED + size + b"\r\nabc\r\n0\r\n\r\n", then="keep")


def body_where_none_may_be(status: bytes = b"204 No Content") -> Origin:
    """Sends a body behind a response that has none (204, 304, or the answer to HEAD)."""
    return raw(b"HTTP/1.1 %b\r\ncontent-length: 5\r\n\r\nextra" % status, then="keep")


async def start_all(*origins: Origin) -> None:
    """Start several origins at once; the caller stops them."""
    await asyncio.gather(*(origin.start() for origin in origins))
