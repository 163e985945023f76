from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from gatewright.clock import ManualClock
from gatewright.controller.bus import BreakerState, Bus, EndpointHealth, WorkerDown, WorkerUp
from gatewright.controller.workers import Workers
from gatewright.errorlog import ErrorLog
from gatewright.ipc.channel import LoopChannel, socket_pair
from gatewright.ipc.messages import (
    Applied,
    Apply,
    BreakerChange,
    ControllerToWorker,
    HealthChange,
    Heartbeat,
    Log,
    Message,
    Ready,
    Rejected,
    Stats,
    WorkerExited,
    WorkerStarted,
)
from gatewright.snapshot.model import Endpoint, Snapshot, Upstream

UPSTREAM = Upstream("u", (Endpoint("http://127.0.0.1:1", "127.0.0.1", 1),))
KEY = UPSTREAM.endpoints[0].key


def snapshot(version: int, digest: str = "d") -> Snapshot:
    return Snapshot(version=version, digest=digest, upstreams=(UPSTREAM,))


class Peer:
    """A worker's end of a channel."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[ControllerToWorker] = asyncio.Queue()
        self.channel = LoopChannel[ControllerToWorker](ControllerToWorker, self.heard.put_nowait, lambda: None)

    async def version(self) -> int:
        message = await self.heard.get()
        assert isinstance(message, Apply)
        assert msgspec.msgpack.decode(message.snapshot, type=Snapshot).version == message.version
        return message.version


class Bench:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bus = Bus(self.clock, ErrorLog("controller", text=False))
        self.stats: list[Stats] = []
        self.gone: list[int] = []
        self.peers: list[Peer] = []
        self.workers = Workers(
            self.clock, self.bus, ErrorLog("controller", text=False), self.stats.append, self.gone.append
        )

    async def join(self, slot: int, *, fresh: bool = True, version: int = 0) -> Peer:
        theirs, ours = socket_pair()
        peer = Peer()
        self.peers.append(peer)
        await peer.channel.open(theirs)
        await self.workers.started(WorkerStarted(slot, 100 + slot, fresh), ours)
        peer.channel.send(Ready(slot, 100 + slot, version))
        return peer

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - what is waited for is the state under test
                await asyncio.sleep(0)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.workers.close()
    for peer in made.peers:
        peer.channel.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_a_version_is_published_when_all_workers_have_answered(bench: Bench) -> None:
    peers = [await bench.join(0), await bench.join(1)]
    publishing = asyncio.ensure_future(bench.workers.publish(snapshot(3), 5))
    for slot, peer in enumerate(peers):
        assert await peer.version() == 3
        assert not publishing.done()
        peer.channel.send(Applied(slot, 3, 0.25))
    outcome = await publishing
    assert (outcome.applied, outcome.rejected, outcome.silent) == ([0, 1], {}, [])
    assert bench.workers.all_current
    assert bench.workers.by_slot[1].compile_seconds == 0.25


async def test_a_refusal_and_a_silence_are_told(bench: Bench) -> None:
    peers = [await bench.join(0), await bench.join(1)]
    publishing = asyncio.ensure_future(bench.workers.publish(snapshot(3), 0.05))
    await peers[0].version()
    peers[0].channel.send(Rejected(0, 3, "no such policy"))
    outcome = await publishing
    assert (outcome.rejected, outcome.silent) == ({0: "no such policy"}, [1])
    assert not bench.workers.all_current


async def test_a_worker_that_dies_is_not_waited_for(bench: Bench) -> None:
    await bench.join(0)
    publishing = asyncio.ensure_future(bench.workers.publish(snapshot(1), 5))
    await asyncio.sleep(0)
    bench.workers.exited(WorkerExited(0, 100, "was killed"))
    assert (await publishing).applied == []
    assert bench.gone == [0]
    assert bench.workers.restarts == {0: 1}
    assert [event for _, event in bench.bus.recent] == [WorkerUp(0, 100), WorkerDown(0, 100, "was killed")]


async def test_a_new_process_gets_the_snapshot_and_what_is_known_of_endpoints_at_once(bench: Bench) -> None:
    await bench.workers.publish(snapshot(4), 1)
    bench.workers.broadcast(HealthChange("u", KEY, healthy=False))
    bench.workers.broadcast(HealthChange("u", KEY, ejected_until=9.0))
    bench.workers.broadcast(BreakerChange("u", "", "open", 7.0))
    peer = await bench.join(0)
    assert await peer.version() == 4
    told = {await peer.heard.get(), await peer.heard.get()}
    assert told == {HealthChange("u", KEY, healthy=False, ejected_until=9.0), BreakerChange("u", "", "open", 7.0)}
    await asyncio.sleep(0.01)
    assert peer.heard.empty(), "once"


async def test_verdicts_go_with_their_endpoints(bench: Bench) -> None:
    bench.workers.broadcast(HealthChange("gone", "x", healthy=False))
    await bench.workers.publish(snapshot(1), 1)
    peer = await bench.join(0)
    await peer.version()
    peer.channel.send(Applied(0, 1, 0.0))
    await bench.until(lambda: bench.workers.all_current)
    assert peer.heard.empty()


async def test_a_new_controller_leaves_workers_with_the_same_version_alone(bench: Bench) -> None:
    bench.workers.adopt(snapshot(7))
    current = await bench.join(0, fresh=False, version=7)
    behind = await bench.join(1, fresh=False, version=6)
    empty = await bench.join(2, fresh=False)
    assert await behind.version() == 7
    assert await empty.version() == 7
    assert current.heard.empty()
    assert bench.workers.serving == 2


async def test_what_one_worker_learns_the_others_are_told(bench: Bench) -> None:
    peers = [await bench.join(0), await bench.join(1)]
    ejected = HealthChange("u", KEY, ejected_until=5.0)
    peers[0].channel.send(ejected)
    peers[0].channel.send(BreakerChange("u", "", "open", 7.0))
    assert await peers[1].heard.get() == ejected
    assert await peers[1].heard.get() == BreakerChange("u", "", "open", 7.0)
    assert peers[0].heard.empty()
    events = [event for _, event in bench.bus.recent]
    assert EndpointHealth(0, ejected) in events
    assert BreakerState(0, BreakerChange("u", "", "open", 7.0)) in events


async def test_heartbeats_counters_and_log_lines_arrive(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    peer = await bench.join(0)
    messages: list[Message] = [
        Heartbeat(0, 0.01, 5, 6),
        Stats(0, {"a": 1.0}, {}, {}),
        Log("warning", "worker.odd", {"message": "look"}),
    ]
    for message in messages:
        peer.channel.send(message)
    await bench.until(lambda: bench.stats)
    worker = bench.workers.by_slot[0]
    assert (worker.lag, worker.connections, worker.exchanges, worker.heartbeat) == (0.01, 5, 6, 1000.0)
    await bench.until(lambda: True)
    assert '"event": "worker.odd", "message": "look", "slot": 0' in capfd.readouterr().err


async def test_a_slot_filled_anew_forgets_the_old_process(bench: Bench) -> None:
    await bench.join(0)
    peer = await bench.join(0)
    bench.workers.exited(WorkerExited(0, 99, "an older one"))
    assert bench.workers.by_slot[0].pid == 100
    assert bench.gone == []
    bench.workers.broadcast(HealthChange("u", KEY, healthy=True))
    assert await peer.heard.get() == HealthChange("u", KEY, healthy=True)


async def test_a_process_that_ends_before_its_channel_is_open_is_not_kept(bench: Bench) -> None:
    theirs, ours = socket_pair()
    opening = bench.workers.started(WorkerStarted(0, 100), ours)
    bench.workers.exited(WorkerExited(0, 100, "was killed"))
    theirs.close()
    await opening
    assert bench.workers.by_slot == {}
    await asyncio.sleep(0)
