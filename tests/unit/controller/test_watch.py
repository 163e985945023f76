from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gatewright.controller.watch import Watcher

Next = Callable[[], Awaitable[list[Path]]]


@pytest.fixture
def watching() -> Callable[..., object]:
    @asynccontextmanager
    async def watch(sources: list[Path], files: list[Path]) -> AsyncIterator[tuple[Watcher, Next]]:
        changes: asyncio.Queue[list[Path]] = asyncio.Queue()
        watcher = Watcher(sources, changes.put_nowait)
        watcher.follow(files)
        task = asyncio.ensure_future(watcher.run())

        async def next_change() -> list[Path]:
            async with asyncio.timeout(10):
                return await changes.get()

        yield watcher, next_change
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    return watch


async def test_a_change_is_told_with_its_path(tmp_path: Path, watching: Callable[..., object]) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("a")
    async with watching([file], [file]) as (_, change):  # type: ignore[attr-defined]
        file.write_text("bb")
        assert await change() == [file]
        (tmp_path / "unrelated.txt").write_text("noise")
        replacement = tmp_path / "new"
        replacement.write_text("ccc")
        replacement.rename(file)
        assert await change() == [file]


async def test_what_is_referred_to_is_watched_too_also_in_other_directories(
    tmp_path: Path, watching: Callable[..., object]
) -> None:
    file, secret = tmp_path / "gateway.yaml", tmp_path / "secrets" / "key"
    file.write_text("a")
    secret.parent.mkdir()
    secret.write_text("one")
    async with watching([file], [file]) as (watcher, change):  # type: ignore[attr-defined]
        watcher.follow([file, secret])
        secret.write_text("three")
        assert await change() == [secret]
        secret.unlink()
        assert await change() == [secret]


async def test_a_new_file_in_a_watched_directory_is_a_change(tmp_path: Path, watching: Callable[..., object]) -> None:
    (tmp_path / "a.yaml").write_text("a")
    async with watching([tmp_path], [tmp_path / "a.yaml"]) as (_, change):  # type: ignore[attr-defined]
        (tmp_path / "notes.txt").write_text("noise")
        (tmp_path / "b.yaml").write_text("b")
        assert await change() == [tmp_path / "b.yaml"]


async def test_a_link_that_leads_elsewhere_is_a_change_as_in_a_config_map(
    tmp_path: Path, watching: Callable[..., object]
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "gateway.yaml").write_text(name)
    (tmp_path / "..data").symlink_to("one")
    file = tmp_path / "gateway.yaml"
    file.symlink_to("..data/gateway.yaml")
    async with watching([file], [file]) as (_, change):  # type: ignore[attr-defined]
        (tmp_path / "..tmp").symlink_to("two")
        (tmp_path / "..tmp").rename(tmp_path / "..data")
        assert await change() == [file]


async def test_a_change_between_reading_and_following_is_not_lost(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("one")
    changes: asyncio.Queue[list[Path]] = asyncio.Queue()
    watcher = Watcher([file], changes.put_nowait)
    file.read_text()
    file.write_text("and two")
    watcher.follow([file])
    task = asyncio.ensure_future(watcher.run())
    async with asyncio.timeout(10):
        assert await changes.get() == [file]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
