"""The access log: one line for each exchange, JSON or text.

A line is made when the exchange ends and written with others: by :meth:`AccessLog.flush`, which the worker's coarse
timer calls every 100 ms, or at once when 256 lines wait. Making it at the end rather than keeping the exchange until
the flush is the cheaper way: 256 exchanges kept alive cost 400 ns each in cold memory, more than a third of the line.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from gatewright.ipc.messages import Log
from gatewright.proxy.families import LOG_DROPPED
from gatewright.worker.log_lines import FinishedExchange, JsonLines, Lines, TextLines
from gatewright.worker.log_sinks import FileSink, Sink, StreamSink

if TYPE_CHECKING:
    from gatewright.clock import Clock
    from gatewright.proxy.record import WorkerStats
    from gatewright.snapshot.model import AccessLog as Spec

#: Lines that are written at once.
BATCH = 256

_STREAMS = {"stdout": 1, "stderr": 2}


class AccessLog:
    """One worker's access log. Raises OSError when the place cannot be opened.

    Args:
        spec: Format, place, sampling and rotation.
        clock: For the time of a line and the age of a file.
        stats: Counts dropped lines.
        publish: Told when the place stops working and when it works again.
        rand: For sampling.
        new_id: Makes the id of an exchange that has none: there is no ``request_id`` policy on its route.
    """

    __slots__ = (
        "_clock",
        "_lines",
        "_new_id",
        "_pending",
        "_problem",
        "_publish",
        "_rand",
        "_sample",
        "_sink",
        "_stats",
        "dropped",
    )

    def __init__(
        self,
        spec: Spec,
        clock: Clock,
        stats: WorkerStats | None = None,
        publish: Callable[[Log], None] | None = None,
        rand: Callable[[], float] = random.random,
        new_id: Callable[[], bytes] = bytes,
    ) -> None:
        self._clock = clock
        self._new_id = new_id
        self._stats = stats
        self._publish = publish
        self._rand = rand
        self._sample = spec.sample
        self._sink = _open_sink(spec, clock)
        self._lines: Lines = TextLines(spec.redact) if spec.format == "text" else JsonLines(spec.redact)
        self._pending: list[bytes] = []
        self._problem = ""
        #: Lines lost so far.
        self.dropped = 0
        self._lines.synchronise(clock)

    @property
    def enabled(self) -> bool:
        """Whether there is anywhere to write to."""
        return self._sink is not None

    def append(self, ex: FinishedExchange) -> None:
        """Log an exchange that is over. Hot. Failures are logged always, successes as often as configured."""
        if self._sink is None:
            return
        if self._sample < 1.0 and self._went_well(ex) and self._rand() >= self._sample:
            return
        if not ex.request_id:
            ex.request_id = self._new_id()
        pending = self._pending
        pending.append(self._lines.write(ex))
        if len(pending) >= BATCH:
            self.flush()

    @staticmethod
    def _went_well(ex: FinishedExchange) -> bool:
        return ex.status < 400 and not ex.reason and ex.grpc_status in {"", "OK"}

    def flush(self) -> None:
        """Write what waits. To be called every 100 ms; costs nothing when there is nothing."""
        sink = self._sink
        if sink is None:
            return
        pending = self._pending
        if not pending and not sink.waiting:
            return
        dropped = sink.write(b"".join(pending))
        pending.clear()
        self._lines.synchronise(self._clock)
        if dropped:
            self.dropped += dropped
            if self._stats is not None:
                self._stats.count(LOG_DROPPED, "access", by=dropped)
        if sink.problem != self._problem:
            self._report(sink.problem)

    def reopen(self) -> None:
        """Open a file anew (USR1). When that fails, the old one is still used and the problem is published."""
        self.flush()
        if self._sink is not None:
            try:
                self._sink.reopen()
            except OSError as error:
                self._report(str(error))

    def close(self) -> None:
        """Write what waits and release the place. Must not be used afterwards."""
        self.flush()
        if self._sink is not None:
            self._sink.close()
            self._sink = None

    def _report(self, problem: str) -> None:
        self._problem = problem
        if self._publish is not None:
            if problem:
                self._publish(Log("error", "access_log.broken", {"error": problem}))
            else:
                self._publish(Log("info", "access_log.restored", {}))


def _open_sink(spec: Spec, clock: Clock) -> Sink | None:
    if spec.to == "off":
        return None
    fd = _STREAMS.get(spec.to)
    if fd is not None:
        return StreamSink(fd)
    return FileSink(spec.to, clock, max_bytes=spec.max_bytes, max_age=spec.max_age, keep=spec.keep)
