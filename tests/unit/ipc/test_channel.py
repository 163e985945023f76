from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.ipc import channel
from gatewright.ipc.attached import AttachedChannel
from gatewright.ipc.channel import ChannelError, Framer, LoopChannel, SocketChannel, frame, socket_pair
from gatewright.ipc.messages import (
    Applied,
    ControllerToWorker,
    Heartbeat,
    Log,
    Offer,
    Ready,
    Reload,
    SupervisorToController,
    SupervisorToWorker,
    WorkerToController,
)

BEAT = Heartbeat(1, 0.5, 2, 3)


@pytest.fixture
def pair() -> Iterator[tuple[SocketChannel[SupervisorToWorker], SocketChannel[SupervisorToWorker]]]:
    left, right = socket_pair()
    ends = (
        SocketChannel[SupervisorToWorker](left, SupervisorToWorker),
        SocketChannel[SupervisorToWorker](right, SupervisorToWorker),
    )
    yield ends
    for end in ends:
        end.close()


@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_frames_come_out_as_they_went_in_however_the_bytes_are_cut(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(len(payload).to_bytes(4, "big") + b"\x00" + payload for payload in payloads)
    framer, got, at = Framer(), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        got += [payload for payload, _ in framer.feed(stream[at : at + size])]
        at += size
    assert got == payloads


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_give_frames_or_a_channel_error(junk: bytes) -> None:
    try:
        list(Framer(limit=64).feed(junk))
    except ChannelError:
        pass


def test_an_announced_size_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(ChannelError, match="limit is 10"):
        list(Framer(limit=10).feed((11).to_bytes(4, "big") + b"\0"))


def test_a_message_too_large_to_send_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "MAX_MESSAGE", 10)
    with pytest.raises(ChannelError, match="too large"):
        frame(Log("info", "x" * 20, {}))


def test_every_message_survives_the_way_and_unknown_fields_are_ignored() -> None:
    payload = msgspec.msgpack.encode({"type": "Ready", "slot": 1, "pid": 2, "of_a_later_version": True})
    assert channel.decoder(WorkerToController).decode(payload) == Ready(1, 2)
    assert channel.decoder(WorkerToController).decode(frame(BEAT)[5:]) == BEAT


def test_descriptors_arrive_with_their_message(
    pair: tuple[SocketChannel[SupervisorToWorker], SocketChannel[SupervisorToWorker]],
) -> None:
    left, right = pair
    first, second = os.pipe(), os.pipe()
    assert left.send(Offer("a", "x"), [first[0]])
    assert left.send(Offer("none", "y"))
    assert left.send(Offer("b", "z"), [second[0]])
    for fd in (first[0], second[0]):
        os.close(fd)
    messages, is_open = right.receive()
    assert is_open
    assert [(message, len(fds)) for message, fds in messages] == [
        (Offer("a", "x"), 1),
        (Offer("none", "y"), 0),
        (Offer("b", "z"), 1),
    ]
    os.write(second[1], b"two")
    (received,) = messages[2][1]
    assert os.read(received, 9) == b"two"
    assert not os.get_inheritable(received)
    for fd in (received, *messages[0][1], first[1], second[1]):
        os.close(fd)


def test_what_does_not_fit_waits_with_its_descriptors_and_is_sent_later(
    pair: tuple[SocketChannel[SupervisorToWorker], SocketChannel[SupervisorToWorker]],
) -> None:
    left, right = pair
    waiting: list[bool] = []
    left.on_backlog = waiting.append
    big = Offer("n" * 400_000, "b")
    assert left.send(big)
    assert left.send(big)
    reader, writer = os.pipe()
    assert left.send(Offer("last", "b"), [reader])
    os.close(reader)  # the queue has its own copy
    assert waiting[-1]
    assert left.backlog > 0
    got: list[tuple[SupervisorToWorker, list[int]]] = []
    for _ in range(100):
        messages, _ = right.receive()
        got += messages
        if len(got) == 3:
            break
        left.flush()
    assert [message for message, _ in got] == [big, big, Offer("last", "b")]
    assert waiting[-1] is False
    assert left.backlog == 0
    os.write(writer, b"!")
    assert os.read(got[2][1][0], 1) == b"!"
    os.close(got[2][1][0])
    os.close(writer)


def test_messages_beyond_the_bound_are_dropped_not_kept() -> None:
    left, right = socket_pair()
    bounded = SocketChannel[SupervisorToWorker](left, SupervisorToWorker, max_unsent=100_000)
    results = [bounded.send(Offer("n" * 90_000, "b")) for _ in range(20)]
    assert results[0]
    assert not results[-1]
    assert bounded.backlog < 200_000
    bounded.close()
    right.close()


def test_the_end_of_the_other_side_is_told_after_its_last_message(
    pair: tuple[SocketChannel[SupervisorToWorker], SocketChannel[SupervisorToWorker]],
) -> None:
    left, right = pair
    left.send(Offer("a", "b"))
    left.close()
    messages, is_open = right.receive()
    assert [message for message, _ in messages] == [Offer("a", "b")]
    assert not is_open
    assert not right.send(Offer("into", "the void"))


@pytest.mark.parametrize(
    "junk",
    [b"\0\0\0\1\0\xc1", b"\0\0\0\1\1\x90", b"\xff\xff\xff\xff\0", b"\0\0\0\7\0\x81\xa4type\xc0"],
    ids=["not MessagePack", "descriptor missing", "huge", "no type"],
)
def test_a_peer_that_breaks_the_rules_is_an_error(
    pair: tuple[SocketChannel[SupervisorToWorker], SocketChannel[SupervisorToWorker]], junk: bytes
) -> None:
    left, right = pair
    left.sock.send(junk)
    with pytest.raises(ChannelError):
        right.receive()


async def test_loop_ends_talk_both_ways_and_notice_the_end() -> None:
    left_sock, right_sock = socket_pair()
    heard: asyncio.Queue[object] = asyncio.Queue()
    lost: asyncio.Queue[str] = asyncio.Queue()
    left = LoopChannel[WorkerToController](WorkerToController, heard.put_nowait, lambda: lost.put_nowait("left"))
    right = LoopChannel[ControllerToWorker](ControllerToWorker, heard.put_nowait, lambda: lost.put_nowait("right"))
    assert not left.send(BEAT)
    assert left.dropped == 1
    await left.open(left_sock)
    await right.open(right_sock)
    assert right.send(BEAT)
    assert right.send(Applied(1, 2, 0.5))
    assert [await heard.get(), await heard.get()] == [BEAT, Applied(1, 2, 0.5)]
    right.close()
    assert {await lost.get(), await lost.get()} == {"left", "right"}
    assert not left.is_open


async def test_a_loop_end_drops_when_nobody_reads() -> None:
    left_sock, right_sock = socket_pair()
    left = LoopChannel[WorkerToController](WorkerToController, lambda _: None, lambda: None, max_unsent=1000)
    await left.open(left_sock)
    sent = [left.send(Log("info", "x" * 300_000, {})) for _ in range(5)]
    assert sent[0]
    assert not sent[-1]
    assert left.dropped > 0
    right_sock.close()
    left.close()
    await asyncio.sleep(0)


async def test_an_attached_end_reads_writes_and_passes_descriptors() -> None:
    left_sock, right_sock = socket_pair()
    heard: asyncio.Queue[tuple[object, list[int]]] = asyncio.Queue()
    lost: asyncio.Queue[object] = asyncio.Queue()
    left = AttachedChannel[SupervisorToController](
        left_sock, SupervisorToController, lambda message, fds: heard.put_nowait((message, fds)), lost.put_nowait, 10**8
    )
    right = AttachedChannel[SupervisorToWorker](
        right_sock, SupervisorToWorker, lambda message, fds: heard.put_nowait((message, fds)), lost.put_nowait, 10**8
    )
    right.send(Reload())
    assert await heard.get() == (Reload(), [])
    big = Offer("n" * 2_000_000, "b")
    with socket.socket() as sock:
        left.send(big, [sock.fileno()])
        message, (fd,) = await heard.get()
    assert message == big
    os.close(fd)
    right.close()
    assert await lost.get() is None
    assert not left.send(Reload())
    assert not right.send(Reload())


async def test_an_attached_end_reports_a_broken_peer() -> None:
    left_sock, right_sock = socket_pair()
    lost: asyncio.Queue[object] = asyncio.Queue()
    AttachedChannel[SupervisorToController](left_sock, SupervisorToController, lambda *_: None, lost.put_nowait, 1000)
    right_sock.send(b"\xff\xff\xff\xff\0")
    assert isinstance(await lost.get(), ChannelError)
    right_sock.close()
