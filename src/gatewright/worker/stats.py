"""Collects what a worker has counted into the message that goes to the controller once a second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

from gatewright.ipc.messages import Stats
from gatewright.proxy import families as names
from gatewright.proxy.record import BOUNDS, CacheStats, ExchangeStats, ListenerStats, PoolStats, RouteStats, WorkerStats

#: Most routes and endpoints in one message: 3 ms of the loop. The others follow with the next one.
MOST_TOUCHED = 1_000

_S = names.SEPARATOR
_HISTOGRAM = len(BOUNDS) + 3  # the buckets and one for the rest; how many; their sum
_Part: TypeAlias = ListenerStats | PoolStats | CacheStats

#: Attribute → metric, for the objects whose numbers are changed in place.
_GAUGES: dict[type[_Part], tuple[tuple[str, str], ...]] = {
    ListenerStats: (("open", names.CONNECTIONS),),
    PoolStats: (("idle", names.POOL_IDLE), ("active", names.POOL_ACTIVE), ("waiting", names.POOL_WAITING)),
    CacheStats: (("entries", names.CACHE_ENTRIES),),
}
_COUNTERS: dict[type[_Part], tuple[tuple[str, str], ...]] = {
    ListenerStats: (("accepted", names.ACCEPTED),),
    PoolStats: (("created", names.POOL_CREATED), ("reused", names.POOL_REUSED)),
    CacheStats: (("hits", names.CACHE_HITS), ("misses", names.CACHE_MISSES)),
}


class _Shipped:
    """What the controller knows of one object whose numbers are changed in place."""

    __slots__ = ("part", "values")

    def __init__(self, part: _Part) -> None:
        self.part = part
        self.values: dict[str, float] = {}


class StatsCollector:
    """Turns a :class:`WorkerStats` into messages that hold only what has changed since the message before."""

    def __init__(self, slot: int, stats: WorkerStats) -> None:
        self._slot = slot
        self._stats = stats
        self._shipped: dict[tuple[type[_Part], str], _Shipped] = {}
        self._exchanges = 0
        self._in_flight: dict[tuple[str, str], int] = {}

    @property
    def pending(self) -> bool:
        """Whether the last message was too small for everything: ask again before a second has passed."""
        return len(self._stats.touched) > 0

    def collect(self) -> Stats:
        """The changes since the last call. 3 µs for each route or endpoint that was touched."""
        message = Stats(self._slot, {}, {}, {}, {})
        touched = self._stats.touched
        for exchange_stats in touched[:MOST_TOUCHED]:
            _ship_exchanges(exchange_stats, message)
        del touched[:MOST_TOUCHED]
        self._ship_parts(self._stats.listeners, ListenerStats, message)
        self._ship_parts(self._stats.pools, PoolStats, message)
        self._ship_parts(self._stats.caches, CacheStats, message)
        for counter in list(self._stats.counters.values()):
            deltas = counter.drain()
            if deltas:
                message.counters.update(deltas)
                if counter.name not in names.FAMILIES:
                    message.families[counter.name] = (counter.help, *counter.labels)
        if self._stats.exchanges != self._exchanges:
            self._exchanges = message.gauges[names.EXCHANGES] = self._stats.exchanges
        self._ship_in_flight(message)
        return message

    def _ship_in_flight(self, message: Stats) -> None:
        now, before = self._stats.in_flight, self._in_flight
        for key, count in now.items():
            if before.get(key) != count:
                message.gauges[_S.join((names.IN_FLIGHT, *key))] = count
        for key in before.keys() - now.keys():
            message.gauges[_S.join((names.IN_FLIGHT, *key))] = math.nan
        self._in_flight = now

    def _ship_parts(self, parts: Mapping[str, _Part], kind: type[_Part], message: Stats) -> None:
        shipped = self._shipped
        gone = [key for key, known in shipped.items() if key[0] is kind and parts.get(key[1]) is not known.part]
        for key in gone:
            known = shipped.pop(key)
            _ship_part(known, message)
            for _, metric in _GAUGES[kind]:
                message.gauges[f"{metric}{_S}{key[1]}"] = math.nan
        for name, part in parts.items():
            known_part = shipped.get((kind, name))
            if known_part is None:
                known_part = shipped[kind, name] = _Shipped(part)
            _ship_part(known_part, message)


def _ship_part(known: _Shipped, message: Stats) -> None:
    part, values, kind = known.part, known.values, type(known.part)
    for attribute, metric in _GAUGES[kind]:
        value = getattr(part, attribute)
        if values.get(attribute) != value:
            values[attribute] = message.gauges[f"{metric}{_S}{part.name}"] = value
    for attribute, metric in _COUNTERS[kind]:
        value = getattr(part, attribute)
        delta = value - values.get(attribute, 0)
        if delta:
            values[attribute] = value
            key = f"{metric}{_S}{part.name}"
            message.counters[key] = message.counters.get(key, 0) + delta


def _ship_exchanges(stats: ExchangeStats, message: Stats) -> None:
    """Add the counts of a route or endpoint to the message; two objects may stand for one name during a reload."""
    if isinstance(stats, RouteStats):
        requests, seconds, sent, received = (
            names.REQUESTS,
            names.REQUEST_SECONDS,
            names.REQUEST_BYTES,
            names.RESPONSE_BYTES,
        )
    else:
        requests, seconds = names.UPSTREAM_REQUESTS, names.UPSTREAM_SECONDS
        sent, received = names.UPSTREAM_SENT_BYTES, names.UPSTREAM_RECEIVED_BYTES
    suffix = _S + _S.join(stats.labels)
    counters = message.counters
    histogram = [0.0] * _HISTOGRAM
    for (status, protocol, reason, bucket), count in stats.counts.items():
        key = f"{requests}{suffix}{_S}{status}{_S}{protocol}{_S}{reason}"
        counters[key] = counters.get(key, 0) + count
        histogram[bucket] += count
        histogram[-2] += count
    if stats.bytes_in:
        counters[sent + suffix] = counters.get(sent + suffix, 0) + stats.bytes_in
    if stats.bytes_out:
        counters[received + suffix] = counters.get(received + suffix, 0) + stats.bytes_out
    histogram[-1] = stats.seconds
    before = message.histograms.get(seconds + suffix)
    if before is not None:
        histogram = [a + b for a, b in zip(before, histogram, strict=True)]
    message.histograms[seconds + suffix] = histogram
    stats.reset()
