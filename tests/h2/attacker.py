"""A client that attacks, one that wants to be served meanwhile, and what the attack may cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Self

from tests.h2.raw import PREFACE, SETTINGS, SETTINGS_ACK, RawH2, headers, request, settings

from gatewright.testing.raw_client import DEADLINE, eventually

PAGE = 4096
#: What an attack of these tests may cost, with the attacker in the same process. An unbounded one costs far more.
MOST_SECONDS = 4.0
MOST_OCTETS = 48 << 20


class Wire(asyncio.Protocol):
    """A link whose octets come by themselves."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.closed = False
        self.lost = False
        self.unsent = False
        self._come = bytearray()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._come += data

    def eof_received(self) -> bool:
        self.closed = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = self.lost = True

    def pause_writing(self) -> None:
        self.unsent = True

    def resume_writing(self) -> None:
        self.unsent = False

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    def receive(self) -> bytes:
        come = bytes(self._come)
        self._come.clear()
        return come

    def wait(self) -> bool:
        return False


class Attacker(RawH2):
    """A client in the test's own loop, which sends what it is told to.

    ``async with`` closes it; the handshake is done unless ``bare``.
    """

    link: Wire

    def __init__(self, port: int, *pairs: tuple[int, int], bare: bool = False) -> None:
        super().__init__(Wire())
        self._port = port
        self._pairs = pairs
        self._bare = bare

    async def __aenter__(self) -> Self:
        await asyncio.get_running_loop().create_connection(lambda: self.link, "127.0.0.1", self._port)
        if not self._bare:
            self.send(PREFACE + settings(*self._pairs))
            await self.come(lambda: len(self.of(SETTINGS)) >= 2)
            self.send(SETTINGS_ACK)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.link.transport.abort()
        await eventually(lambda: self.link.lost)

    async def come(self, what: Callable[[], Any], deadline: float = DEADLINE) -> Any:
        """Wait until ``what()`` is true. Raises AssertionError, showing what came, when that does not happen."""

        def looked() -> Any:
            self.read()
            return what()

        try:
            return await eventually(looked, deadline)
        except AssertionError:
            raise AssertionError(f"closed: {self.closed}; frames:\n{self.shown()}") from None

    async def status_of(self, stream: int) -> int:
        """Wait for the end of a response; its status."""
        await self.come(lambda: self.ended(stream) or self.reset(stream) or self.closed)
        head = self.head(stream)
        assert head is not None, self.shown()
        assert self.ended(stream), self.shown()
        return head.status

    async def flood(self, frames: Iterator[bytes], *, together: int = 20, reading: bool = True) -> int:
        """Send frames, a few in a segment, until there are no more or the server has closed. How many were sent."""
        sent = 0
        while not self.closed:
            segment = [each for _, each in zip(range(together), frames, strict=False)]
            if not segment:
                break
            self.send(*segment)
            sent += len(segment)
            await asyncio.sleep(0)
            if reading:
                self.read()
            await eventually(lambda: self.closed or not self.link.unsent)
        return sent

    async def closed_with(self, code: int) -> None:
        """The server goes away with this code, and closes."""
        await self.come(lambda: self.closed)
        last = self.goaway
        assert last is not None, f"closed without GOAWAY\n{self.shown()}"
        assert last.code == code, f"GOAWAY with {last.code}, not {code}\n{self.shown()}"


class Witness:
    """A client that asks again and again while others attack, on a new connection when it is told to go."""

    def __init__(self, port: int, path: bytes = b"/good") -> None:
        self._port = port
        self._fields = request(path=path)
        self._task: asyncio.Task[None]
        self.served = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._ask())
        await self.serves()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _ask(self) -> None:
        while True:
            async with Attacker(self._port) as client:
                for stream in count(1, 2):
                    client.send(headers(stream, self._fields))
                    assert await client.status_of(stream) == 200
                    self.served += 1
                    await asyncio.sleep(0.002)
                    if client.goaway is not None:
                        break

    async def serves(self) -> None:
        """Wait for a further answer. Raises what has gone wrong when there is none."""
        before = self.served
        await eventually(lambda: self._task.done() or self.served > before)
        if self._task.done():
            self._task.result()


@contextmanager
def bounded(seconds: float = MOST_SECONDS, octets: int = MOST_OCTETS) -> Iterator[None]:
    """What happens inside costs no more processor time and memory of this process."""
    before, start = resident(), time.process_time()
    yield
    spent, grown = time.process_time() - start, resident() - before
    assert spent < seconds, f"{spent:.2f} s of processor time"
    assert grown < octets, f"{grown >> 20} MiB"


def resident() -> int:
    """Octets of memory that this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
