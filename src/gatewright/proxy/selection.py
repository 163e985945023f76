"""The choice of usable endpoints, and why there is none: zone preference, slow start, refusals, the description.

Nothing here runs for a request that finds its endpoint; it runs when a state changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatewright.proxy.breaker import CLOSED, STATE_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gatewright.proxy.breaker import Breaker
    from gatewright.proxy.endpoints import Endpoint, Upstream

NEVER = float("inf")
AT_ONCE = float("-inf")

#: Share of its weight that an endpoint begins a slow start with, as in Envoy.
SLOW_START_LEAST = 0.1
SLOW_START_STEPS = 20


def is_sound(endpoint: Endpoint, now: float) -> bool:
    """Healthy by the active checks and not ejected by its traffic."""
    return endpoint.healthy and endpoint.ejected_until <= now


def prefer_zone(usable: list[Endpoint], reachable: Sequence[Endpoint], zone: str, threshold: float) -> list[Endpoint]:
    """Those of ``usable`` that are in the zone; all of them when too few are left there to carry its load."""
    near = [endpoint for endpoint in usable if endpoint.zone == zone]
    configured = sum(endpoint.zone == zone for endpoint in reachable)
    return near if near and len(near) >= threshold * configured else usable


def set_shares(usable: Sequence[Endpoint], slow_start: float | None, now: float) -> float:
    """Give every endpoint its share. Returns when that is to be done again.

    Shares are the weights; while an endpoint is in slow start, hundredths of them, the young one's rising in steps.
    """
    length = slow_start or 0.0
    young = [endpoint for endpoint in usable if now < endpoint.added_at + length]
    scale = 100 if young else 1
    for endpoint in usable:
        endpoint.share = endpoint.weight * scale
    for endpoint in young:
        grown = max((now - endpoint.added_at) / length, SLOW_START_LEAST)
        endpoint.share = max(1, int(endpoint.weight * scale * grown))
    return now + length / SLOW_START_STEPS if young else NEVER


def refusal(upstream: Upstream, now: float) -> tuple[str, float]:
    """Why nobody could be picked: the reason, and after how many seconds to try again (0.0: nobody knows)."""
    reachable = [endpoint for endpoint in upstream.endpoints if endpoint.host and endpoint.weight > 0]
    if not reachable:
        return "upstream.none", 0.0
    if upstream.breaker is not None and upstream.breaker.state != CLOSED:
        return "upstream.circuit_open", upstream.breaker.retry_after(now)
    asked = [endpoint.breaker for endpoint in reachable if upstream.panic or is_sound(endpoint, now)]
    waits = [breaker.retry_after(now) for breaker in asked if breaker is not None]
    if waits and len(waits) == len(asked):
        return "upstream.circuit_open", min(waits)
    returns = [endpoint.ejected_until - now for endpoint in reachable if endpoint.healthy]
    return "upstream.unhealthy", max(min(returns, default=0.0), 0.0)


def describe(upstream: Upstream, now: float) -> dict[str, Any]:
    """Everything an operator may want to know, ready for JSON."""
    return {
        "name": upstream.name,
        "balance": upstream.spec.balance.algorithm,
        "panic": upstream.panic,
        "breaker": _describe_breaker(upstream.breaker, now),
        "endpoints": [
            {
                "key": endpoint.key,
                "zone": endpoint.zone,
                "weight": endpoint.weight,
                "metadata": endpoint.metadata,
                "healthy": endpoint.healthy,
                "ejected_for": round(max(endpoint.ejected_until - now, 0.0), 3),
                "usable": endpoint in upstream.usable,
                "in_flight": endpoint.in_flight,
                "failures": endpoint.record.failures,
                "latency": round(endpoint.ewma, 6) if upstream.balancer.measures else None,
                "breaker": _describe_breaker(endpoint.breaker, now),
            }
            for endpoint in upstream.endpoints
        ],
    }


def _describe_breaker(breaker: Breaker | None, now: float) -> dict[str, Any] | None:
    if breaker is None:
        return None
    return {"state": STATE_NAMES[breaker.state], "retry_after": round(breaker.retry_after(now), 3)}
