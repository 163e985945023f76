"""What a worker counts while it serves: plain numbers on plain objects, shipped once a second by ``worker.stats``.

The objects hold what has changed **since the last shipment**. One that counts for the first time after a shipment puts
itself on the worker's list of touched objects, so that collecting costs what the traffic touched and not what the
configuration holds, and the counts of a route that has gone are shipped once more and then forgotten with it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

from gatewright.http.head import RequestHead
from gatewright.http.headers import Headers
from gatewright.proxy import families as names
from gatewright.proxy.memory import Memory

#: Upper bounds of the duration histograms, in seconds; one more bucket takes the rest.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

#: (status, protocol, reason, index of the bucket): one look-up for each observation instead of four.
CountKey = tuple[int, str, str, int]


class ExchangeStats:
    """Counts of exchanges under one set of labels."""

    __slots__ = ("bytes_in", "bytes_out", "clean", "counts", "labels", "seconds", "touched")

    def __init__(self, labels: tuple[str, ...], touched: list[ExchangeStats]) -> None:
        self.labels = labels
        #: The worker's list of objects to ship.
        self.touched = touched
        #: Nothing counted since the last shipment: not on the list.
        self.clean = True
        self.counts: defaultdict[CountKey, int] = defaultdict(int)
        self.seconds = 0.0
        self.bytes_in = 0
        self.bytes_out = 0

    def observe(self, status: int, seconds: float, bytes_in: int, bytes_out: int, protocol: str, reason: str) -> None:
        """Count one finished exchange. Hot: twice for an exchange.

        Args:
            status: Sent to the client, or received from the endpoint; 0 when there was none.
            seconds: Duration.
            bytes_in: Octets of the request's body.
            bytes_out: Octets of the response's body.
            protocol: ``http1``, ``websocket``, ``sse`` …
            reason: Why the gateway itself answered; empty when it did not.
        """
        if self.clean:
            self.clean = False
            self.touched.append(self)
        self.counts[status, protocol, reason, bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds
        if bytes_in:
            self.bytes_in += bytes_in
        self.bytes_out += bytes_out

    def reset(self) -> None:
        """Begin anew, after a shipment."""
        self.clean = True
        self.counts.clear()
        self.seconds = 0.0
        self.bytes_in = self.bytes_out = 0


class RouteStats(ExchangeStats):
    """What happened on one route (``route.stats``)."""

    __slots__ = ()


class UpstreamStats(ExchangeStats):
    """What happened at one endpoint of an upstream: one observation per try."""

    __slots__ = ()


class ListenerStats:
    """Connections of one listener. Changed in place by its owner: ``open`` is a gauge, ``accepted`` only grows."""

    __slots__ = ("accepted", "name", "open")

    def __init__(self, name: str) -> None:
        self.name = name
        self.open = 0
        self.accepted = 0


class PoolStats:
    """Connections to one upstream. Changed in place: ``idle``, ``active`` and ``waiting`` are gauges, others grow."""

    __slots__ = ("active", "created", "idle", "name", "reused", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.idle = 0
        self.active = 0
        self.waiting = 0
        self.created = 0
        self.reused = 0


class CacheStats:
    """One cache. Changed in place: ``entries`` is a gauge, ``hits`` and ``misses`` only grow."""

    __slots__ = ("entries", "hits", "misses", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries = 0
        self.hits = 0
        self.misses = 0


class SeriesCounter:
    """A counter with labels: the ``Counter`` of the SDK. Bounded: further label values share the series ``_other``."""

    __slots__ = ("_deltas", "_keys", "_max_series", "_stats", "help", "labels", "name")

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...], stats: WorkerStats) -> None:
        self.name = name
        self.help = help_text
        self.labels = labels
        self._stats = stats
        self._max_series = stats.max_series
        #: Label values → series key; what makes a key is paid once per series.
        self._keys: dict[tuple[str, ...], str] = {}
        self._deltas: dict[str, float] = {}

    def inc(self, *labels: str, by: float = 1.0) -> None:
        """Add ``by`` to the series with these label values. Raises ValueError when their number is wrong."""
        key = self._keys.get(labels)
        if key is None:
            key = self._new_series(labels)
        deltas = self._deltas
        deltas[key] = deltas.get(key, 0.0) + by

    def drain(self) -> dict[str, float]:
        """What has been added since the last call, by series key."""
        deltas = self._deltas
        if deltas:
            self._deltas = {}
        return deltas

    def _new_series(self, labels: tuple[str, ...]) -> str:
        if len(labels) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {labels!r}")
        if len(self._keys) >= self._max_series:
            if self.name != names.SERIES_DROPPED:  # its only label is a metric's name, of which there are few
                self._stats.count(names.SERIES_DROPPED, self.name)
            labels = (names.OTHER,) * len(labels)
            return names.SEPARATOR.join((self.name, *labels))
        key = names.SEPARATOR.join((self.name, *(_label(value) for value in labels)))
        self._keys[labels] = key
        return key


def _label(value: str) -> str:
    """A label value that can be sent and shown: no separator, no lone surrogates, not endless."""
    return value[:256].replace(names.SEPARATOR, " ").encode(errors="backslashreplace").decode()


class WorkerStats:
    """Everything one worker counts. Lives as long as the worker; survives changes of the configuration."""

    __slots__ = (
        "caches", "counters", "exchanges", "in_flight", "listeners", "max_series", "memories", "pools", "touched",
    )  # fmt: skip

    def __init__(self, max_series: int = 2_000) -> None:
        #: Most series of one metric with labels.
        self.max_series = max_series
        #: Exchanges in flight.
        self.exchanges = 0
        #: The same by upstream and endpoint, where there are any; renewed before a shipment.
        self.in_flight: dict[tuple[str, str], int] = {}
        self.touched: list[ExchangeStats] = []
        self.listeners: dict[str, ListenerStats] = {}
        self.pools: dict[str, PoolStats] = {}
        self.caches: dict[str, CacheStats] = {}
        #: What policies remember, by name. They stand here because they live as long as the counts of their hits.
        self.memories: dict[str, Memory] = {}
        self.counters: dict[str, SeriesCounter] = {}

    def route(self, name: str) -> RouteStats:
        """New counts for a compiled route."""
        return RouteStats((name,), self.touched)

    def endpoint(self, upstream: str, key: str) -> UpstreamStats:
        """New counts for an endpoint of an upstream."""
        return UpstreamStats((upstream, key), self.touched)

    def listener(self, name: str) -> ListenerStats:
        """The counts of a listener, made on first use."""
        stats = self.listeners.get(name)
        if stats is None:
            stats = self.listeners[name] = ListenerStats(name)
        return stats

    def pool(self, upstream: str) -> PoolStats:
        """The counts of the connections to an upstream, made on first use."""
        stats = self.pools.get(upstream)
        if stats is None:
            stats = self.pools[upstream] = PoolStats(upstream)
        return stats

    def cache(self, name: str) -> CacheStats:
        """The counts of a cache, made on first use."""
        stats = self.caches.get(name)
        if stats is None:
            stats = self.caches[name] = CacheStats(name)
        return stats

    def memory(self, name: str, size: int) -> Memory:
        """The memory of that name, made on first use; its hits are counted as those of the cache ``name``."""
        memory = self.memories.get(name)
        if memory is None:
            memory = self.memories[name] = Memory(size, self.cache(name))
        return memory

    def counter(self, name: str, help_text: str = "", labels: tuple[str, ...] = ()) -> SeriesCounter:
        """A counter of the core or of a policy, made on first use. ``name`` is the full public name.

        Raises ValueError when it exists with other labels: two policies cannot mean different things by one name.
        """
        counter = self.counters.get(name)
        if counter is None:
            family = names.FAMILIES.get(name)
            if family is not None:
                help_text, labels = family.help, family.labels
            counter = self.counters[name] = SeriesCounter(name, help_text, labels, self)
        elif labels and labels != counter.labels:
            raise ValueError(f"the metric {name} exists with the labels {counter.labels}")
        return counter

    def count(self, name: str, *labels: str, by: float = 1.0) -> None:
        """Add to a counter of :mod:`gatewright.proxy.families`: refusals, retries, dropped lines."""
        counter = self.counters.get(name) or self.counter(name)
        counter.inc(*labels, by=by)

    def retain(self, listeners: set[str], upstreams: set[str]) -> None:
        """Forget the listeners and pools that a new configuration no longer has. Open connections keep theirs alive."""
        self.listeners = {name: kept for name, kept in self.listeners.items() if name in listeners or kept.open}
        self.pools = {name: kept for name, kept in self.pools.items() if name in upstreams or kept.active}


class _Unnamed:
    """Stands for the route of a request that has none."""

    __slots__ = ()
    name = ""


class RefusedRequest:
    """What the access log says of a request that was refused before there was an exchange: it could not be read."""

    __slots__ = ("client_addr", "ended", "listener_name", "protocol", "reason", "request_id", "started", "status")

    request = RequestHead(b"", b"", b"", None, b"", b"", b"", 0, Headers())
    bytes_in = bytes_out = tries = 0
    upstream_name = ""
    upstream_seconds = -1.0
    grpc_status = ""
    route = _Unnamed()
    consumer = endpoint = None

    def __init__(
        self, listener: str, client: str, status: int, reason: str, now: float, protocol: str = "http1"
    ) -> None:
        #: The access log gives it one.
        self.request_id = b""
        self.protocol = protocol
        self.listener_name = listener
        self.client_addr = client
        self.status = status
        self.reason = reason
        self.started = self.ended = now
