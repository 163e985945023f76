"""Load balancing: which of the usable endpoints takes the next request.

A balancer is built once per upstream and lives as long as its configuration does not change. ``prepare`` is called when
the usable endpoints or their shares have changed (cold), ``pick`` for every request (hot). Each worker balances by
itself; starting points are random, so that the workers do not go through the endpoints in step.

An endpoint's ``share`` is its weight, lowered while it is in slow start: a whole number of at least 1. Every algorithm
but ``hash`` honours it; ``hash`` honours the weight, because a ramp would move keys.
"""

from __future__ import annotations

from bisect import bisect_right
from heapq import heapify, heapreplace
from itertools import accumulate
from math import exp
from typing import TYPE_CHECKING, ClassVar

from gatewright.proxy.ring import Ring
from gatewright.proxy.sticky import cookie_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gatewright.proxy.endpoints import Endpoint
    from gatewright.sdk.exchange import ExchangeView
    from gatewright.snapshot.model import Balance

#: Seconds in which what is known of an endpoint's latency loses 63 % of its weight.
DECAY = 10.0
#: What a failed try counts as at least, so that an endpoint that refuses at once does not look like the fastest.
FAILURE_SECONDS = 1.0


class Balancer:
    """Base of all algorithms, also of a user's own: register the class in :data:`BALANCERS`.

    Attributes:
        measures: Set it when ``endpoint.ewma`` is needed; it is kept only then.
    """

    __slots__ = ("rand",)
    measures: ClassVar[bool] = False

    def __init__(self, spec: Balance, rand: Callable[[], float]) -> None:
        #: Random numbers in [0, 1).
        self.rand = rand

    def prepare(self, usable: tuple[Endpoint, ...], endpoints: Sequence[Endpoint]) -> None:
        """The usable endpoints (never none) or their shares have changed; ``endpoints`` are all that are configured."""

    def pick(self, usable: tuple[Endpoint, ...], ex: ExchangeView, now: float) -> Endpoint:
        """Choose one of ``usable``, which is what ``prepare`` was called with last. Hot."""
        raise NotImplementedError

    def pick_other(self, others: tuple[Endpoint, ...], ex: ExchangeView, now: float) -> Endpoint:
        """Choose one of the endpoints that have not been tried yet, for a retry: the least loaded."""
        start = int(self.rand() * len(others))
        return least_loaded(others, others[start])


def least_loaded(endpoints: tuple[Endpoint, ...], best: Endpoint) -> Endpoint:
    """The endpoint with the fewest requests in flight for its share; ``best`` wins a tie."""
    flight, share = best.in_flight, best.share
    for endpoint in endpoints:
        if endpoint.in_flight * share < flight * endpoint.share:
            best = endpoint
            flight, share = best.in_flight, best.share
    return best


class RoundRobin(Balancer):
    """Each in turn; with weights, smoothly interleaved and exact: every ``sum of shares`` picks hold each its share.

    Weighted: the k-th turn of an endpoint is due at (k + phase) / share, and the next turn due is taken. This spreads
    the turns as evenly as nginx's algorithm, at O(log n) a pick instead of O(n). 110 ns in turn, 350 ns weighted.
    """

    __slots__ = ("_due", "_next")
    _ROUND: ClassVar[int] = 1 << 32  # the time in which everybody gets exactly its share

    def __init__(self, spec: Balance, rand: Callable[[], float]) -> None:
        super().__init__(spec, rand)
        self._next = -1
        #: Heap of (due, index, turns taken, phase, endpoint); empty when all shares are equal.
        self._due: list[tuple[int, int, int, int, Endpoint]] = []

    def prepare(self, usable: tuple[Endpoint, ...], endpoints: Sequence[Endpoint]) -> None:
        """Choose between turns and the heap."""
        self._due = []
        if self._next < 0:
            self._next = int(self.rand() * len(usable))
        if all(endpoint.share == usable[0].share for endpoint in usable):
            return
        for i, endpoint in enumerate(usable):
            phase = int(self.rand() * (self._ROUND // endpoint.share))
            self._due.append((phase, i, 1, phase, endpoint))
        heapify(self._due)

    def pick(self, usable: tuple[Endpoint, ...], ex: ExchangeView, now: float) -> Endpoint:
        """The next one."""
        if self._due:
            _, i, turn, phase, endpoint = self._due[0]
            due = phase + turn * self._ROUND // endpoint.share
            heapreplace(self._due, (due, i, turn + 1, phase, endpoint))
            return endpoint
        at = self._next
        if at >= len(usable):
            at = 0
        self._next = at + 1
        return usable[at]


class LeastConnections(Balancer):
    """The endpoint with the fewest requests in flight for its share; among equals, in (weighted) turn."""

    __slots__ = ("_turn",)

    def __init__(self, spec: Balance, rand: Callable[[], float]) -> None:
        super().__init__(spec, rand)
        self._turn = RoundRobin(spec, rand)

    def prepare(self, usable: tuple[Endpoint, ...], endpoints: Sequence[Endpoint]) -> None:
        """Prepare the turns."""
        self._turn.prepare(usable, endpoints)

    def pick(self, usable: tuple[Endpoint, ...], ex: ExchangeView, now: float) -> Endpoint:
        """Look at all, from the one whose turn it is; an idle one cannot be beaten. 170 ns, else 70 ns more each."""
        best = self._turn.pick(usable, ex, now)
        return least_loaded(usable, best) if best.in_flight else best


class Random(Balancer):
    """A weighted lottery."""

    __slots__ = ("_bounds",)

    def __init__(self, spec: Balance, rand: Callable[[], float]) -> None:
        super().__init__(spec, rand)
        #: Sums of the shares up to each endpoint; empty when all are equal.
        self._bounds: list[int] = []

    def prepare(self, usable: tuple[Endpoint, ...], endpoints: Sequence[Endpoint]) -> None:
        """Add up the shares."""
        equal = all(endpoint.share == usable[0].share for endpoint in usable)
        self._bounds = [] if equal else list(accumulate(endpoint.share for endpoint in usable))

    def pick(self, usable: tuple[Endpoint, ...], ex: ExchangeView, now: float) -> Endpoint:
        """Draw one. 240 ns."""
        bounds = self._bounds
        if bounds:
            return usable[bisect_right(bounds, self.rand() * bounds[-1])]
        return usable[int(self.rand() * len(usable))]


class PowerOfTwoChoices(Balancer):
    """Draw two by share, take the one with fewer requests in flight for its share: nearly as even as looking at all."""

    __slots__ = ("_lottery",)

    def __init__(self, spec: Balance, rand: Callable[[], float]) -> None:
        super().__init__(spec, rand)
        self._lottery = Random(spec, rand)

    def prepare(self, usable: tuple[Endpoint, ...], endpoints: Sequence[Endpoint]) -> None:
        """Prepare the lottery."""
        self._lottery.prepare(usable, endpoints)

    def pick(self, usable: tuple[Endpoint, ...], ex: ExchangeView, now: float) -> Endpoint:
        """Draw and compare. A second draw that hits the first takes its neighbour instead. 620 ns."""
        one = self._lottery.pick(usable, ex, now)
        two = self._lottery.pick(usable, ex, now)
        if one is two and len(usable) > 1:
            two = usable[usable.index(one) - 1]
        return two if two.in_flight * one.share < one.in_flight * two.share else one


class LowestLatency(Balancer):
    """Peak-EWMA: the lowest expected wait, which is latency x (requests in flight + 1) / share.

    A slow answer counts at once, fast ones count slowly. What is known fades while an endpoint gets no requests, so a
    slow one is tried again after some time. Of more than four endpoints, four drawn at random are compared.
    """

    __slots__ = ()
    measures: ClassVar[bool] = True
    _MOST: ClassVar[int] = 4
    #: An endpoint that is being tried for the first time waits for that answer.
    _UNKNOWN: ClassVar[float] = 1e6

    def pick(self, usable: tuple[Endpoint, ...], ex: ExchangeView, now: float) -> Endpoint:
        """Compare the costs, from a random one on. 400 ns + 300 ns each."""
        count = len(usable)
        start = int(self.rand() * count)
        best = usable[start]
        if count == 1:
            return best
        lowest = self.cost(best, now)
        # Neighbours of a random place, going round: as good as separate draws, because the place is.
        for at in range(start + 1 - min(count, self._MOST), start):
            endpoint = usable[at]
            cost = self.cost(endpoint, now)
            if cost < lowest:
                best, lowest = endpoint, cost
        return best

    def cost(self, endpoint: Endpoint, now: float) -> float:
        """What a request would have to wait for there, in seconds for one share."""
        if endpoint.ewma == 0.0:
            return self._UNKNOWN * endpoint.in_flight / endpoint.share
        known = endpoint.ewma * exp((endpoint.ewma_at - now) / DECAY)
        return known * (endpoint.in_flight + 1) / endpoint.share


def observe_latency(endpoint: Endpoint, seconds: float, failed: bool, now: float) -> None:
    """Take a finished try into the endpoint's latency."""
    kept = exp((endpoint.ewma_at - now) / DECAY)
    if failed:
        seconds = max(seconds, FAILURE_SECONDS)
    if seconds < endpoint.ewma * kept:
        seconds = endpoint.ewma * kept + seconds * (1.0 - kept)
    endpoint.ewma = max(seconds, 1e-6)  # zero means that nothing is known
    endpoint.ewma_at = now


class Hash(Balancer):
    """The same key leads to the same endpoint (:mod:`gatewright.proxy.ring`).

    The key is a header, a cookie, a query parameter (as it stands, still encoded), a path parameter or the client's
    address. A request without it goes round robin. 1.1 us.
    """

    __slots__ = ("_key_of", "_name", "_ring", "_turn")

    def __init__(self, spec: Balance, rand: Callable[[], float]) -> None:
        super().__init__(spec, rand)
        self._ring = Ring()
        self._turn = RoundRobin(spec, rand)
        self._name = spec.key.lower().encode() if spec.by == "header" else spec.key.encode()
        self._key_of: Callable[[ExchangeView], bytes | None] = getattr(self, f"by_{spec.by}")

    def prepare(self, usable: tuple[Endpoint, ...], endpoints: Sequence[Endpoint]) -> None:
        """Build the ring."""
        self._ring.build(usable, endpoints)
        self._turn.prepare(usable, endpoints)

    def pick(self, usable: tuple[Endpoint, ...], ex: ExchangeView, now: float) -> Endpoint:
        """The owner of the request's key."""
        key = self._key_of(ex)
        if not key:
            return self._turn.pick(usable, ex, now)
        return self._ring.owner(key)

    def pick_other(self, others: tuple[Endpoint, ...], ex: ExchangeView, now: float) -> Endpoint:
        """Where the key would go if the endpoints that were tried had gone."""
        key = self._key_of(ex)
        other = self._ring.successor(key, others) if key else None
        return super().pick_other(others, ex, now) if other is None else other

    def by_header(self, ex: ExchangeView) -> bytes | None:
        """The first value of the header field."""
        return ex.request.headers.get(self._name)

    def by_cookie(self, ex: ExchangeView) -> bytes | None:
        """The value of the cookie."""
        field = ex.request.headers.get(b"cookie")
        return None if field is None else cookie_value(field, self._name)

    def by_query(self, ex: ExchangeView) -> bytes | None:
        """The first value of the query parameter."""
        for pair in (ex.request.query or b"").split(b"&"):
            name, _, value = pair.partition(b"=")
            if name == self._name:
                return value
        return None

    def by_param(self, ex: ExchangeView) -> bytes | None:
        """The route's path parameter."""
        return ex.params.get(self._name)

    def by_address(self, ex: ExchangeView) -> bytes:
        """The client's address, after trusted proxies have been skipped."""
        return ex.client_addr.encode()


#: Algorithm → class. ``round_robin`` and ``weighted`` are one: turns are weighted when the weights differ.
BALANCERS: dict[str, type[Balancer]] = {
    "round_robin": RoundRobin,
    "weighted": RoundRobin,
    "least_connections": LeastConnections,
    "p2c": PowerOfTwoChoices,
    "random": Random,
    "ewma": LowestLatency,
    "hash": Hash,
}
