"""Retries: which failures may be tried again, how often, how soon, and how many of all requests at most.

A retry is safe when the upstream cannot have acted on the first try (nothing was sent), or when acting twice does no
harm (an idempotent method, RFC 9110 section 9.2.2, or one that the configuration names) and the body can be sent again.
Every gRPC call is a POST, so the method says nothing there: whoever names a status of calls (``grpc_unavailable``)
says that a call which ends so may be made again. ``Retry-After`` of an upstream is not waited for: it is the client's
to obey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatewright.proxy import grpc
from gatewright.proxy.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from gatewright.snapshot.model import Retries

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})

#: Retries a second that are allowed whatever the share: a quiet upstream may be retried too.
LEAST_PER_SECOND = 3
_WINDOW = 10.0


class RetryPolicy:
    """The compiled ``retries`` of an upstream or of a route."""

    __slots__ = ("_backoff", "_conditions", "_max_backoff", "_methods", "attempts", "budget", "grpc", "statuses")

    def __init__(self, spec: Retries) -> None:
        #: Retries at most, beside the first try.
        self.attempts = spec.attempts
        #: Share of the upstream's requests that may be retried; see :class:`RetryBudget`.
        self.budget = spec.budget
        #: Answers that are worth another try.
        self.statuses = frozenset(_statuses(spec.on))
        #: Statuses of gRPC calls that are.
        self.grpc = frozenset(grpc.CONDITIONS[word] for word in spec.on if word in grpc.CONDITIONS)
        self._conditions: frozenset[str | int] = frozenset(spec.on) | self.statuses
        self._methods = frozenset(method.upper().encode() for method in spec.methods) or IDEMPOTENT
        self._backoff = spec.backoff
        self._max_backoff = spec.max_backoff

    def may_retry(
        self, method: bytes, failure: str | int, attempt: int, sent_anything: bool, body_replayable: bool
    ) -> bool:
        """Whether a failed try may be followed by another one, if the upstream's budget has room for it.

        Args:
            method: Of the request.
            failure: ``connect``, ``reset``, ``timeout``, ``grpc_…``, or the status the upstream answered with.
            attempt: Tries made so far, 1 after the first.
            sent_anything: Whether any octet of the request may have reached the upstream.
            body_replayable: Whether the body can be sent from its start again (there is none, or it is still here).
        """
        if attempt > self.attempts or failure not in self._conditions or not body_replayable:
            return False
        return not sent_anything or method in self._methods or failure in grpc.CONDITIONS

    def delay(self, attempt: int, rand: Callable[[], float]) -> float:
        """Seconds to wait before retry number ``attempt`` (from 1): doubling, capped, half of it left to chance."""
        full = min(self._backoff * (1 << min(attempt - 1, 30)), self._max_backoff)
        return full * (0.5 + 0.5 * rand())


class RetryBudget:
    """Retries as a share of what has been tried in the last ten seconds, so that retries cannot become the load.

    Every worker keeps its own; shares add up, the small minimum is per worker.
    """

    __slots__ = ("window",)

    def __init__(self) -> None:
        #: Every finished try; the marks are the retries granted.
        self.window = Window(_WINDOW)

    def take(self, share: float, now: float) -> bool:
        """Take one retry, if ``share`` of the requests or the minimum still has one."""
        window = self.window
        window.advance(now)
        # Retries are tries as well, and count twice in the total (granted, finished): a share is of first tries.
        first = window.total - 2 * window.marked
        if window.marked >= max(share * first, LEAST_PER_SECOND * _WINDOW):
            return False
        window.add(now, True)
        return True


def _statuses(words: tuple[str, ...]) -> set[int]:
    """``503`` is itself, ``5xx`` is all of its class."""
    found: set[int] = set()
    for word in words:
        if word[:1].isdigit():
            first = int(word[0]) * 100
            found.update(range(first, first + 100) if word[1:].lower() == "xx" else (int(word),))
    return found
