"""Watches the files of a configuration and says when one of them has really changed.

What is watched are the directories: editors, ``kubectl`` and deployment tools replace files by renaming, often behind
a symbolic link, and a watch on the file itself would be lost. Whether something changed is decided by looking at the
files, so that noise in the same directory costs a few ``stat`` calls and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from watchfiles import awatch

#: Milliseconds: how often the watcher looks, and how long it gathers changes that come in a burst.
STEP = 100  # 20 would cost 0.3 % of a processor for ever
DEBOUNCE = 200

Stamp: TypeAlias = tuple[int, int, int] | None


def stamps(files: Iterable[Path]) -> dict[Path, Stamp]:
    """What identifies the content of each file: time, size and inode, through links. None for one that is missing."""
    return {path: _stamp(path) for path in files}


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


class Watcher:
    """Calls back when a watched file has changed.

    Args:
        sources: The files and directories named on the command line; a new file in a directory is a change.
        on_change: Called with the paths that changed.
    """

    def __init__(self, sources: Iterable[Path], on_change: Callable[[list[Path]], None]) -> None:
        self._sources = tuple(sources)
        self._on_change = on_change
        self._files: tuple[Path, ...] = ()
        self._stamps: dict[Path, Stamp] = stamps(self._watched())
        self._restart = asyncio.Event()

    def follow(self, files: Iterable[Path]) -> None:
        """Watch these files from now on: all that was read for the configuration.

        What was known of a file before stays known: it may have changed again since it was read.
        """
        before = self._directories()
        self._files = tuple(files)
        self._stamps = {path: self._stamps.get(path, stamp) for path, stamp in stamps(self._watched()).items()}
        if self._directories() != before:
            self._restart.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self._restart = asyncio.Event()
            directories = self._directories()
            if not directories:
                await self._restart.wait()
                continue
            self._compare()  # what changed while nobody watched
            async for _ in awatch(
                *directories, step=STEP, debounce=DEBOUNCE, stop_event=self._restart, recursive=False, watch_filter=None
            ):
                self._compare()

    def _compare(self) -> None:
        now = stamps(self._watched())
        changed = [path for path in now.keys() | self._stamps.keys() if now.get(path) != self._stamps.get(path)]
        if changed:
            self._stamps = now
            self._on_change(sorted(changed))

    def _watched(self) -> set[Path]:
        found = set(self._files)
        for source in self._sources:
            if source.is_dir():
                found.update(path for path in source.iterdir() if path.suffix in {".yaml", ".yml", ".json"})
            else:
                found.add(source)
        return found

    def _directories(self) -> set[Path]:
        """Where the files are, and where their links lead."""
        found = {source for source in self._sources if source.is_dir()}
        for path in (*self._files, *self._sources):
            for place in (path.parent, path.resolve().parent):
                if place.is_dir():
                    found.add(place)
        return found
