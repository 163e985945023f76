"""Upstreams and their endpoints: who may take the next request, and what became of it.

An :class:`Upstream` lives as long as its name is in the configuration; :meth:`Upstream.update` brings it up to date and
keeps what is known of endpoints that stay. The exchange calls, in this order::

    endpoint = upstream.pick(ex, now)        None: upstream.refusal(now) says why
    upstream.started(endpoint)               at once, before anything is waited for
    upstream.finished(endpoint, outcome, seconds, now)      exactly once for each started

The usual pick is two comparisons and one call of the balancer: the endpoints that may be picked stand in a tuple that
is made anew only when a state changes or the next known moment (end of an ejection, step of a slow start) has come.

Which endpoints are *usable*: those with a known address whose breaker admits a try and which are healthy (by the active
checks) and not ejected (by their traffic); of these, those in the preferred zone, as long as the zone has at least
``panic_threshold`` of its endpoints left. When fewer than ``panic_threshold`` of all endpoints are healthy, health is
ignored (*panic*): spreading the load over what may still work beats drowning the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatewright.ipc.messages import BreakerChange, HealthChange
from gatewright.proxy.balance import BALANCERS, observe_latency
from gatewright.proxy.breaker import CLOSED, HALF_OPEN, OPEN, STATE_NAMES, Breaker
from gatewright.proxy.outlier import Outliers, Record
from gatewright.proxy.retry import RetryBudget, RetryPolicy
from gatewright.proxy.selection import AT_ONCE, NEVER, describe, is_sound, prefer_zone, refusal, set_shares
from gatewright.proxy.sticky import Sticky

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from gatewright.proxy.balance import Balancer
    from gatewright.sdk.exchange import ExchangeView
    from gatewright.snapshot.model import Endpoint as EndpointSpec
    from gatewright.snapshot.model import Upstream as UpstreamSpec

#: Outcomes of a try. FAILED_STATUS is an answer with any 5xx status, 500 and 501 included, as in Envoy.
OK, FAILED_CONNECT, FAILED_RESET, FAILED_TIMEOUT, FAILED_STATUS, CANCELLED = range(6)

#: Generation of an endpoint that is no longer configured: its connections are not to be used again.
RETIRED = -1


class Endpoint:
    """One address of an upstream and all that this worker knows of it. Compared by identity."""

    __slots__ = (
        "added_at", "authority", "breaker", "eject_owner", "ejected_until", "ewma", "ewma_at", "generation", "healthy",
        "host", "id", "in_flight", "key", "metadata", "name", "pool", "port", "record", "scheme", "share", "stats",
        "warming", "weight", "zone",
    )  # fmt: skip

    def __init__(self, spec: EndpointSpec) -> None:
        # What is configured.
        self.key = spec.key
        self.configure(spec)
        #: Number of the upstream's change that configured it last, or RETIRED.
        self.generation = 0
        #: Its name in the sticky cookie.
        self.id = b""
        # What is known.
        #: The verdict of the active checks.
        self.healthy = True
        #: 0.0 when it is not ejected.
        self.ejected_until = 0.0
        #: Whether this worker decided the ejection, and so tells the others when it is over.
        self.eject_owner = False
        self.in_flight = 0
        #: Latency in seconds, 0.0 unknown; kept when the balancer measures. ``ewma_at`` is when it was observed.
        self.ewma = 0.0
        self.ewma_at = 0.0
        #: When its slow start began. At the start of the gateway all endpoints are equally cold, so there is none.
        self.added_at = AT_ONCE
        #: A slow start is to begin as soon as it is sound.
        self.warming = False
        #: Weight, lowered during a slow start; at least 1 when it is usable.
        self.share = 1
        self.record = Record()
        #: Set when breakers are per endpoint.
        self.breaker: Breaker | None = None
        # What others attach.
        self.pool: Any = None
        self.stats: Any = None

    def configure(self, spec: EndpointSpec) -> None:
        """Take over what is configured."""
        self.host = spec.host
        self.port = spec.port
        self.scheme = spec.scheme
        self.name = spec.name
        #: What a Host field of the endpoint's own says.
        self.authority = (spec.name or f"{spec.host}:{spec.port}").encode()
        self.weight = spec.weight
        self.zone = spec.zone
        self.metadata = spec.metadata

    def __repr__(self) -> str:
        return f"<Endpoint {self.key}>"


class Upstream:
    """A group of endpoints that serve the same thing.

    Args:
        spec: The configuration.
        notify: Called with a ``HealthChange`` or ``BreakerChange`` when this worker's traffic has changed a state.
        rand: Random numbers in [0, 1).
        secret: Key of the sticky cookies' values; the same in all workers.
    """

    __slots__ = (
        "_by_id", "_careful", "_choose", "_host", "_notify", "_outliers", "_rand", "_refresh_at", "_secret",
        "_watches_successes", "balancer", "breaker", "budget", "by_key", "endpoints", "generation", "name", "panic",
        "retries", "spec", "sticky", "usable",
    )  # fmt: skip

    def __init__(
        self,
        spec: UpstreamSpec,
        notify: Callable[[HealthChange | BreakerChange], None],
        rand: Callable[[], float],
        *,
        secret: bytes = b"",
    ) -> None:
        self.name = spec.name
        self._notify = notify
        self._rand = rand
        self._secret = secret
        self.generation = 0
        self.endpoints: tuple[Endpoint, ...] = ()
        self.by_key: dict[str, Endpoint] = {}
        #: Who may be picked; right after :meth:`pick` and :meth:`describe`.
        self.usable: tuple[Endpoint, ...] = ()
        #: Too few endpoints are healthy, so health is ignored.
        self.panic = False
        self.budget = RetryBudget()
        # Parts; set by _configure.
        self.spec: UpstreamSpec
        self.balancer: Balancer
        self.breaker: Breaker | None
        self.retries: RetryPolicy
        self.sticky: Sticky | None
        self._outliers: Outliers | None
        self._choose: Callable[[tuple[Endpoint, ...], ExchangeView, float], Endpoint]
        #: What goes upstream as Host: None the client's own, empty the endpoint's.
        self._host: bytes | None
        #: A success matters to more than the count of failures in a row and the upstream's breaker.
        self._watches_successes: bool
        #: Picking needs more than the balancer: a cookie, a breaker that is not closed, or nobody is there.
        self._careful = True
        #: Sticky id → endpoint that may be led back to, whatever its zone and weight.
        self._by_id: dict[bytes, Endpoint] = {}
        #: When the states are to be looked at again.
        self._refresh_at = AT_ONCE
        self._configure(spec, None)
        self._take(spec.endpoints)

    # --- the request path ---------------------------------------------------------------------------------------------

    def pick(self, ex: ExchangeView, now: float, exclude: Collection[Endpoint] = ()) -> Endpoint | None:
        """The endpoint for a request, or None when there is none to be used. Hot: 180 ns round robin.

        ``exclude`` are those that were tried before; one of them is picked again only when there is no other.
        """
        if now >= self._refresh_at:
            self._refresh(now)
        if self._careful or exclude:
            return self._pick_carefully(ex, now, exclude)
        return self._choose(self.usable, ex, now)

    def started(self, endpoint: Endpoint) -> None:
        """A try at the endpoint begins. Hot."""
        endpoint.in_flight += 1
        if self._careful:
            self._take_trial(endpoint)

    def finished(self, endpoint: Endpoint, outcome: int, seconds: float, now: float, answered: float = -1.0) -> None:
        """A try is over; to be called once for each :meth:`started`. Hot: 240 ns, with a breaker 520 ns.

        Args:
            endpoint: Where it was made.
            outcome: OK, one of FAILED_…, or CANCELLED, which says nothing about the endpoint.
            seconds: Since :meth:`started`; negative when it is not known.
            now: Monotonic seconds.
            answered: Seconds until the response's head, which is the endpoint's latency; negative when none came.
        """
        endpoint.in_flight -= 1
        self.budget.window.add(now)
        if outcome == OK and not self._watches_successes:
            endpoint.record.failures = 0
            breaker = self.breaker
            if breaker is None:
                return
            if breaker.state == CLOSED:
                breaker.passed(now)
                return
        self._judge(endpoint, outcome, seconds, now, answered)

    def host_for(self, endpoint: Endpoint, authority: bytes) -> bytes:
        """The value of the Host field for a request that came with ``authority``. Hot."""
        host = self._host
        return authority if host is None else host or endpoint.authority

    def may_retry(
        self,
        policy: RetryPolicy,
        method: bytes,
        failure: str | int,
        attempt: int,
        sent_anything: bool,
        body_replayable: bool,
        now: float,
    ) -> bool:
        """Whether a failed try may be repeated: by the policy (see :meth:`RetryPolicy.may_retry`) and by the budget.

        True takes one retry from the budget.
        """
        allowed = policy.may_retry(method, failure, attempt, sent_anything, body_replayable)
        return allowed and self.budget.take(policy.budget, now)

    # --- less often ---------------------------------------------------------------------------------------------------

    def refusal(self, now: float) -> tuple[str, float]:
        """Why :meth:`pick` gave None: the reason, and after how many seconds to try again (0.0: nobody knows)."""
        return refusal(self, now)

    def describe(self, now: float) -> dict[str, Any]:
        """Everything an operator may want to know, ready for JSON."""
        self._refresh(now)
        return describe(self, now)

    def update(self, spec: UpstreamSpec) -> tuple[Endpoint, ...]:
        """Bring the upstream up to date; endpoints with a key that stays keep their state and identity.

        Returns the endpoints that are gone, marked RETIRED: what runs there ends in peace, their idle connections are
        the caller's to close.
        """
        before = self.endpoints
        self._configure(spec, self.spec)
        self._take(spec.endpoints)
        return tuple(endpoint for endpoint in before if endpoint.generation == RETIRED)

    def apply_health(self, change: HealthChange) -> None:
        """Take over what the active checks or another worker found. Nobody is notified."""
        endpoint = self.by_key.get(change.endpoint)
        if endpoint is None:
            return  # of a configuration that this worker does not have yet, or no longer
        if change.healthy is not None:
            endpoint.warming = endpoint.warming or (change.healthy and not endpoint.healthy)
            endpoint.healthy = change.healthy
        if change.ejected_until is not None:
            endpoint.warming = endpoint.warming or (endpoint.ejected_until > 0.0 and change.ejected_until == 0.0)
            endpoint.ejected_until = change.ejected_until
            endpoint.eject_owner = False
            endpoint.record.reset()
        self._refresh_at = AT_ONCE

    def apply_breaker(self, change: BreakerChange) -> None:
        """Take over another worker's verdict. Its trials are its own: ``half_open`` changes nothing here."""
        breaker = self.breaker
        if change.endpoint:
            endpoint = self.by_key.get(change.endpoint)
            breaker = None if endpoint is None else endpoint.breaker
        if breaker is None:
            return
        if change.state == STATE_NAMES[OPEN]:
            breaker.open_until(change.until)
        elif change.state == STATE_NAMES[CLOSED]:
            breaker.close()
        self._refresh_at = AT_ONCE

    # --- configuration ------------------------------------------------------------------------------------------------

    def _configure(self, spec: UpstreamSpec, old: UpstreamSpec | None) -> None:
        """Build the parts whose configuration has changed; the others keep what they have counted."""
        self.spec = spec
        self.generation += 1
        self._host = None if spec.host == "preserve" else b"" if spec.host == "upstream" else spec.host.encode()
        if old is None or spec.balance != old.balance:
            self.balancer = BALANCERS[spec.balance.algorithm](spec.balance, self._rand)
            self._choose = self.balancer.pick
        if old is None or spec.retries != old.retries:
            self.retries = RetryPolicy(spec.retries)
        if old is None or spec.sticky != old.sticky:
            self.sticky = None if spec.sticky is None else Sticky(spec.sticky, spec.name, self._secret)
        if old is None or spec.passive != old.passive:
            self._outliers = None if spec.passive is None else Outliers(spec.passive)
            for endpoint in self.endpoints:
                endpoint.record = Record()
                endpoint.ejected_until = 0.0
        whole = spec.breaker is not None and spec.breaker.scope == "upstream"
        if old is None or spec.breaker != old.breaker:
            self.breaker = Breaker(spec.breaker) if spec.breaker is not None and whole else None
            for endpoint in self.endpoints:
                endpoint.breaker = self._own_breaker()
        rates = self._outliers is not None and self._outliers.rates
        own = spec.breaker is not None and not whole
        self._watches_successes = rates or own or self.balancer.measures
        self._refresh_at = AT_ONCE

    def _own_breaker(self) -> Breaker | None:
        spec = self.spec.breaker
        return Breaker(spec) if spec is not None and spec.scope == "endpoint" else None

    def _take(self, specs: tuple[EndpointSpec, ...]) -> None:
        """Make ``specs`` the endpoints."""
        old = self.by_key
        first = self.generation == 1
        self.by_key = {}
        for spec in specs:
            endpoint = old.pop(spec.key, None)
            if endpoint is None:
                endpoint = Endpoint(spec)
                endpoint.warming = not first
                endpoint.breaker = self._own_breaker()
            else:
                endpoint.configure(spec)
            endpoint.generation = self.generation
            endpoint.id = b"" if self.sticky is None else self.sticky.identify(spec.key)
            self.by_key[spec.key] = endpoint
        self.endpoints = tuple(self.by_key.values())
        for endpoint in old.values():
            endpoint.generation = RETIRED

    # --- who may be picked --------------------------------------------------------------------------------------------

    def _refresh(self, now: float) -> None:
        """Look at the states of all endpoints and make the tuple of those that may be picked."""
        self._refresh_at = NEVER
        spec = self.spec
        reachable = [endpoint for endpoint in self.endpoints if endpoint.host]
        for endpoint in reachable:
            self._pass_time(endpoint, now)
        sound = [endpoint for endpoint in reachable if is_sound(endpoint, now)]
        self.panic = len(sound) < spec.panic_threshold * len(reachable)
        able = [e for e in (reachable if self.panic else sound) if e.breaker is None or self._admits(e, e.breaker, now)]
        self._by_id = {} if self.sticky is None else {endpoint.id: endpoint for endpoint in able}
        usable = [endpoint for endpoint in able if endpoint.weight > 0]
        if spec.zone and not self.panic:
            usable = prefer_zone(usable, reachable, spec.zone, spec.panic_threshold)
        self._look_again(set_shares(usable, spec.slow_start, now))
        self.usable = tuple(usable)
        if usable:
            self.balancer.prepare(self.usable, self.endpoints)
        self._careful = not usable or self.sticky is not None or self._is_tripped()

    def _is_tripped(self) -> bool:
        """Whether any breaker is not closed."""
        if self.breaker is not None:
            return self.breaker.state != CLOSED
        return any(endpoint.breaker is not None and endpoint.breaker.state != CLOSED for endpoint in self.endpoints)

    def _pass_time(self, endpoint: Endpoint, now: float) -> None:
        """What the clock changes: the end of an ejection, the beginning of a slow start."""
        if endpoint.ejected_until:
            if now < endpoint.ejected_until:
                self._look_again(endpoint.ejected_until)
                return
            endpoint.ejected_until = 0.0
            endpoint.warming = True
            if endpoint.eject_owner:
                endpoint.eject_owner = False
                self._notify(HealthChange(self.name, endpoint.key, ejected_until=0.0))
        if endpoint.warming and endpoint.healthy:
            endpoint.warming = False
            endpoint.added_at = now

    def _look_again(self, at: float) -> None:
        self._refresh_at = min(self._refresh_at, at)

    # --- the rarer picks ----------------------------------------------------------------------------------------------

    def _pick_carefully(self, ex: ExchangeView, now: float, exclude: Collection[Endpoint]) -> Endpoint | None:
        """With breakers, cookies and endpoints that were tried before."""
        breaker = self.breaker
        if breaker is not None and breaker.state != CLOSED and not self._admits(None, breaker, now):
            return None
        if self.sticky is not None:
            value = self.sticky.wanted(ex)
            known = None if value is None else self._by_id.get(value)
            if known is not None and known not in exclude:
                return known
        if not self.usable:
            return None
        if exclude:
            others = tuple(endpoint for endpoint in self.usable if endpoint not in exclude)
            if others:
                return self.balancer.pick_other(others, ex, now)
        return self._choose(self.usable, ex, now)

    def _admits(self, endpoint: Endpoint | None, breaker: Breaker, now: float) -> bool:
        """Ask a breaker, and tell the others when it half-opens."""
        before = breaker.state
        admitted = breaker.admits(now)
        if breaker.state != before:
            self._tell_breaker(endpoint, breaker)
        if endpoint is not None and not admitted:
            self._look_again(breaker.until)
        return admitted

    def _take_trial(self, endpoint: Endpoint) -> None:
        breaker = self.breaker if endpoint.breaker is None else endpoint.breaker
        if breaker is not None and breaker.state == HALF_OPEN:
            breaker.began()
            self._refresh_at = AT_ONCE

    # --- what became of it --------------------------------------------------------------------------------------------

    def _judge(self, endpoint: Endpoint, outcome: int, seconds: float, now: float, answered: float) -> None:
        """Everything that is not just the end of a row of failures."""
        failed = outcome != OK
        breaker = self.breaker if endpoint.breaker is None else endpoint.breaker
        if breaker is not None:
            began = now - seconds if seconds > 0.0 else now
            if outcome == CANCELLED or endpoint.generation == RETIRED:
                breaker.cancelled(began)
                changed = False
            else:
                changed = breaker.ended(failed, began, now)
            if changed:
                self._tell_breaker(endpoint if breaker is endpoint.breaker else None, breaker)
            if changed or breaker.state != CLOSED:
                self._refresh_at = AT_ONCE
        if outcome == CANCELLED or endpoint.generation == RETIRED:
            return
        if self.balancer.measures:
            observe_latency(endpoint, answered if answered >= 0.0 else seconds, failed, now)
        outliers = self._outliers
        if outliers is None:
            return
        if not failed:
            outliers.succeeded(endpoint.record, now)
        elif outliers.failed(endpoint.record, now) and endpoint.ejected_until <= now:
            self._eject(endpoint, outliers, now)

    def _eject(self, endpoint: Endpoint, outliers: Outliers, now: float) -> None:
        out = sum(other.ejected_until > now for other in self.endpoints)
        if out >= outliers.most_ejected(len(self.endpoints)):
            return
        endpoint.ejected_until = outliers.eject(endpoint.record, now)
        endpoint.eject_owner = True
        self._refresh_at = AT_ONCE
        self._notify(HealthChange(self.name, endpoint.key, ejected_until=endpoint.ejected_until))

    def _tell_breaker(self, endpoint: Endpoint | None, breaker: Breaker) -> None:
        key = "" if endpoint is None else endpoint.key
        until = breaker.until if breaker.state == OPEN else 0.0
        self._notify(BreakerChange(self.name, key, STATE_NAMES[breaker.state], until))
