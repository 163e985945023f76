"""A question of the gateway's own to another service: an exchange without a client, a route and policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatewright.http.reply import Reply
from gatewright.proxy import failures
from gatewright.proxy.endpoints import FAILED_TIMEOUT
from gatewright.proxy.exchange import Exchange

if TYPE_CHECKING:
    from gatewright.proxy.endpoints import Upstream
    from gatewright.proxy.retry import RetryPolicy
    from gatewright.snapshot.model import Timeouts


class InnerExchange(Exchange):
    """One question. Connections, retries, health, breaker and the upstream's metrics are those of every exchange.

    Different from others: the upstream is given; whatever goes wrong is told to the asker instead of being made an
    answer; nothing is logged, and no route counts it.
    """

    __slots__ = ()

    def ask(self, upstream: Upstream, timeouts: Timeouts, retries: RetryPolicy, seconds: float, body: bytes) -> None:
        """Begin. All ends in the client's ``done``, which may come before this returns."""
        self.upstream = upstream
        self.upstream_name = upstream.name
        self.timeouts = timeouts
        self.retries = retries
        self.path = self.request.path
        held = self.body
        if held is not None:
            held.hold(body)
            held.done = True
            self.bytes_in = len(body)
        self.client.limit(self.started + seconds)
        self.pick()
        if self.conn is not None:
            self.conn.flush()

    def answer(self, reply: Reply, start: int) -> None:
        """There will be no answer, for the reason of ``reply``."""
        self.give_up(reply.reason)

    def truncate(self, reason: str) -> None:
        """The answer has begun and breaks off."""
        self.give_up(reason)

    def give_up(self, reason: str) -> None:
        """Let the endpoint go."""
        if not self.ended:
            failures.let_go(self)
            self.finish(reason, self.world.clock())

    def on_time_over(self) -> None:
        """The time for an answer is over, whatever it was spent on: that speaks against the endpoint."""
        self.release(FAILED_TIMEOUT, "upstream.timeout", self.world.clock())
        self.give_up("upstream.timeout")

    def finish(self, reason: str, now: float) -> None:
        """Tell who has asked."""
        if self.ended:
            return
        self.ended = now
        self.reason = reason
        self.client.done()
