from __future__ import annotations

import asyncio

from websockets.asyncio.client import connect

from gatewright.cli.demo.origin import Origin
from gatewright.cli.demo.websocket import accept_value, frame, read_frame


def test_the_accept_value_of_the_rfc() -> None:
    # RFC 6455 section 1.3
    assert accept_value("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


async def test_a_masked_frame_is_read() -> None:
    # RFC 6455 section 5.7: a single-frame masked text message, "Hello"
    reader = asyncio.StreamReader()
    reader.feed_data(bytes.fromhex("818537fa213d7f9f4d5158"))
    assert await read_frame(reader) == (0x81, b"Hello")


def test_lengths_take_as_many_octets_as_they_need() -> None:
    assert frame(0x81, b"Hello") == bytes.fromhex("810548656c6c6f")
    assert frame(0x82, bytes(256))[:4] == bytes.fromhex("827e0100")
    assert frame(0x82, bytes(65536))[:10] == bytes.fromhex("827f0000000000010000")


async def test_a_real_client_gets_its_frames_back() -> None:
    origin = Origin("one")
    port = await origin.start(0)
    async with connect(f"ws://127.0.0.1:{port}/ws", proxy=None) as client:
        for message in ("a", "b" * 70_000, b"\x00\xff"):
            await client.send(message)
            assert await client.recv() == message
        await client.ping()
    await origin.stop()
