from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from gatewright.clock import ManualClock
from gatewright.controller.bus import Bus, ConfigApplied, ConfigRejected
from gatewright.controller.link import SupervisorLink
from gatewright.controller.reconcile import Addresses, Reconciler
from gatewright.controller.state import State
from gatewright.controller.workers import Outcome, Workers
from gatewright.errorlog import ErrorLog
from gatewright.errors import ConfigError, Problem
from gatewright.ipc.messages import Bound, Layout, Message, Reloaded, Settled
from gatewright.snapshot.build import Built
from gatewright.snapshot.model import Snapshot


class Workshop:
    """Stands for the supervisor, the workers and the controller around a reconciler."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "gateway.yaml"
        self.write("one")
        self.layouts: list[Layout] = []
        self.sent: list[Message] = []
        self.kept: list[int] = []
        self.published: list[Snapshot] = []
        self.built_versions: list[int] = []
        self.resolved: list[set[str]] = []
        self.refuse_bind = False
        self.outcomes: list[Outcome] = []
        self.check_error = ""
        self.done: asyncio.Queue[Reloaded] = asyncio.Queue()
        clock, log = ManualClock(), ErrorLog("controller", text=False)
        self.bus = Bus(clock, log)
        workers = Workers(clock, self.bus, log, lambda _: None, lambda _: None)
        workers.publish = self.publish  # type: ignore[method-assign]
        self.state = State(workers, started=0.0, supervisor=1)
        self.reconciler = Reconciler([self.file], self.state, cast("SupervisorLink", self), self, clock, self.bus, log)

    def write(self, body: str, extra: str = "") -> None:
        self.file.write_text(
            "version: 1\nlisteners: [{name: public, bind: '127.0.0.1:0'}]\n"
            f"routes: [{{name: r, match: {{paths: ['/*']}}, respond: {{status: 200, body: {body}}}}}]\n{extra}"
        )

    async def round(self, reason: str = "test") -> Reloaded:
        self.reconciler.request(reason)
        async with asyncio.timeout(5):
            return await self.done.get()

    # the workers

    async def publish(self, snapshot: Snapshot, patience: float) -> Outcome:
        self.state.workers.adopt(snapshot)
        self.published.append(snapshot)
        return self.outcomes.pop(0) if self.outcomes else Outcome([0, 1])

    # the supervisor

    def send(self, message: Message) -> None:
        self.sent.append(message)
        if isinstance(message, Reloaded):
            self.done.put_nowait(message)

    async def bind(self, layout: Layout) -> tuple[Bound, None]:
        if self.refuse_bind:
            raise ConfigError([Problem("listener.bind", "the port is taken")])
        self.layouts.append(layout)
        return Bound({"public": "127.0.0.1:1234"}, "127.0.0.1:9900"), None

    def keep(self, version: int, snapshot: bytes) -> None:
        self.kept.append(version)

    # the host

    async def resolve(self, hosts: set[str]) -> Addresses:
        self.resolved.append(set(hosts))
        return dict.fromkeys(hosts, ("192.0.2.7",))

    async def check(self, built: Built) -> None:
        if self.check_error:
            raise ConfigError([Problem("config.compile", self.check_error)])

    async def bound(self, admin: socket.socket | None) -> None:
        assert admin is None

    def built(self, built: Built) -> None:
        self.built_versions.append(built.snapshot.version)

    def refused(self, files: Sequence[Path]) -> None:
        self.refused_files = set(files)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Workshop]:
    made = Workshop(tmp_path)
    await made.reconciler.first()
    task = asyncio.ensure_future(made.reconciler.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def bodies(shop: Workshop) -> list[str]:
    return [snapshot.routes[0].respond.body for snapshot in shop.published if snapshot.routes[0].respond]


async def test_the_first_version_is_bound_published_settled_and_kept(shop: Workshop) -> None:
    assert [layout.listeners[0].name for layout in shop.layouts] == ["public"]
    assert bodies(shop) == ["one"]
    assert shop.sent == [Settled()]
    assert shop.kept == [1]
    assert shop.state.addresses == {"public": "127.0.0.1:1234"}
    assert shop.state.snapshot is not None
    assert shop.state.reloads == 0


async def test_a_first_version_that_is_bad_binds_nothing(tmp_path: Path) -> None:
    made = Workshop(tmp_path)
    made.write("one", extra="nonsense: 1\n")
    with pytest.raises(ConfigError, match="nonsense"):
        await made.reconciler.first()
    assert made.layouts == []


async def test_a_change_is_published_under_the_next_number(shop: Workshop) -> None:
    shop.write("two")
    assert await shop.round() == Reloaded()
    assert bodies(shop) == ["one", "two"]
    assert shop.kept == [1, 2]
    assert (shop.state.reloads, shop.state.refused) == (1, 0)
    assert isinstance(shop.bus.recent[-1][1], ConfigApplied)


async def test_no_change_is_no_new_version(shop: Workshop) -> None:
    assert await shop.round() == Reloaded()
    assert len(shop.published) == 1


async def test_a_bad_version_changes_nothing_is_shown_and_a_good_one_clears_it(
    shop: Workshop, capfd: pytest.CaptureFixture[str]
) -> None:
    shop.write("two", extra="nonsense: 1\nalso_bad: 2\n")
    answer = await shop.round("SIGHUP")
    assert "nonsense" in answer.error
    assert "also_bad" in shop.state.last_error
    assert {problem.line for problem in shop.state.last_problems} == {4, 5}
    assert len(shop.published) == 1
    assert isinstance(shop.bus.recent[-1][1], ConfigRejected)
    events = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert "configuration refused (SIGHUP)" in events[-1]["message"]
    assert shop.refused_files == {*shop.state.files}, "a change of any of them may cure it"
    shop.write("one")
    await shop.round()
    assert shop.state.last_error == ""
    assert shop.state.refused == 1


async def test_a_listener_that_cannot_be_bound_refuses_the_version(shop: Workshop) -> None:
    shop.write("two")
    shop.refuse_bind = True
    assert "the port is taken" in (await shop.round()).error
    assert len(shop.published) == 1


async def test_what_does_not_compile_is_not_bound(shop: Workshop) -> None:
    shop.write("two")
    shop.check_error = "no"
    assert "no" in (await shop.round()).error
    assert len(shop.layouts) == 1


async def test_a_version_that_a_worker_rejects_is_taken_back_from_all(shop: Workshop) -> None:
    shop.write("two")
    shop.outcomes = [Outcome([0], {1: "cannot load the plugin"})]
    assert "worker 1: cannot load the plugin" in (await shop.round()).error
    assert bodies(shop) == ["one", "two", "one"]
    assert [snapshot.version for snapshot in shop.published] == [1, 2, 3], "numbers only grow"
    assert shop.state.snapshot is shop.published[-1]
    assert shop.sent[-2] == Settled()


async def test_a_worker_that_stays_silent_is_reported(shop: Workshop, capfd: pytest.CaptureFixture[str]) -> None:
    shop.write("two")
    shop.outcomes = [Outcome([0], {}, [1])]
    assert (await shop.round()).error == ""
    assert '"event": "worker.slow"' in capfd.readouterr().err


async def test_names_are_resolved_before_a_version_that_needs_them_serves(shop: Workshop) -> None:
    shop.write("two", extra="upstreams: {u: {endpoints: ['http://origin.example:80']}}\n")
    await shop.round()
    assert shop.resolved[-1] == {"origin.example"}
    assert shop.published[-1].upstreams[0].endpoints[0].host == "192.0.2.7"


async def test_a_new_controller_goes_on_where_the_old_one_died(tmp_path: Path) -> None:
    made = Workshop(tmp_path)
    await made.reconciler.first()
    served = made.published[0]
    heir = Workshop(tmp_path)
    task = asyncio.ensure_future(heir.reconciler.run())
    await heir.reconciler.resume(served)
    assert (await heir.done.get()).error == ""
    assert heir.published == [], "the same configuration: nothing is sent"
    assert len(heir.layouts) == 1
    heir.write("two")
    await heir.round()
    assert heir.published[-1].version == served.version + 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_bug_in_a_round_is_reported_and_the_next_round_works(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write("two")
    with monkeypatch.context() as patch:
        patch.setattr(shop, "check", None)
        assert "internal error" in (await shop.round()).error
    assert (await shop.round()).error == ""
    assert bodies(shop)[-1] == "two"
