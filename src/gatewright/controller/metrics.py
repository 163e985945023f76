"""The counters of all workers, added up, and the Prometheus page made of them.

Counters arrive as differences, so that the sums only grow however often workers are restarted. Gauges are kept for
each worker and go with it. The number of series of a metric is bounded; what comes on top is counted in a series whose
labels are ``_other``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from gatewright.ipc.messages import Stats
from gatewright.proxy.families import FAMILIES, OTHER, SEPARATOR, SERIES_DROPPED, Family
from gatewright.proxy.record import BOUNDS
from gatewright.snapshot.model import Snapshot

Labels: TypeAlias = tuple[str, ...]
#: Adds metrics that are not counted by workers to the page: called when it is read.
Source: TypeAlias = Callable[[], Iterable[Metric]]

_LE = [*map(floatToGoString, BOUNDS), "+Inf"]


class Metrics:
    """All that the workers of one gateway have counted.

    Args:
        max_series: Most series of one metric.
    """

    def __init__(self, max_series: int = 2_000) -> None:
        self.max_series = max_series
        self._families: dict[str, Family] = dict(FAMILIES)
        self._counters: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, dict[Labels, list[float]]] = {}
        #: By slot: metric → labels → value.
        self._gauges: dict[int, dict[str, dict[Labels, float]]] = {}
        self._sources: list[Source] = []

    def add_source(self, source: Source) -> None:
        """Show what ``source`` returns, too."""
        self._sources.append(source)

    def add(self, stats: Stats) -> None:
        """Take over what a worker has counted since its last message."""
        for name, (text, *label_names) in stats.families.items():
            self._describe(Family(name, "counter", tuple(label_names), text))
        for key, delta in stats.counters.items():
            name, wanted = self._split(key)
            counters = self._counters.setdefault(name, {})
            labels = self._admit(name, counters, wanted)
            counters[labels] = counters.get(labels, 0.0) + delta
        for key, numbers in stats.histograms.items():
            name, wanted = self._split(key)
            histograms = self._histograms.setdefault(name, {})
            labels = self._admit(name, histograms, wanted)
            before = histograms.get(labels)
            histograms[labels] = (
                list(numbers) if before is None else [a + b for a, b in zip(before, numbers, strict=True)]
            )
        gauges = self._gauges.setdefault(stats.slot, {})
        for key, value in stats.gauges.items():
            name, wanted = self._split(key)
            series = gauges.setdefault(name, {})
            if math.isnan(value):
                series.pop(wanted, None)
            else:
                series[self._admit(name, series, wanted)] = value

    def forget(self, slot: int) -> None:
        """The worker of a slot has ended: its gauges with it. What it has counted stays."""
        self._gauges.pop(slot, None)

    def retain(self, snapshot: Snapshot) -> None:
        """Make room, where a metric has no more: forget the series of routes, upstreams and listeners that are gone."""
        self.max_series = snapshot.max_metric_series
        known = {
            "route": {route.name for route in snapshot.routes} | {"", OTHER},
            "upstream": {upstream.name for upstream in snapshot.upstreams} | {"", OTHER},
            "listener": {listener.name for listener in snapshot.listeners} | {"", OTHER},
        }
        for name, counters in self._counters.items():
            for labels in self._gone(name, counters, known):
                del counters[labels]
        for name, histograms in self._histograms.items():
            for labels in self._gone(name, histograms, known):
                del histograms[labels]

    def _gone(self, name: str, series: Collection[Labels], known: dict[str, set[str]]) -> list[Labels]:
        label = next((label for label in self._families[name].labels if label in known), None)
        if label is None or len(series) < self.max_series:
            return []
        place = self._families[name].labels.index(label)
        return [labels for labels in series if labels[place] not in known[label]]

    def gauge(self, name: str) -> dict[Labels, float]:
        """A gauge's values, summed over the workers."""
        sums: dict[Labels, float] = {}
        for gauges in self._gauges.values():
            for labels, value in gauges.get(name, {}).items():
                sums[labels] = sums.get(labels, 0.0) + value
        return sums

    def counter(self, name: str) -> dict[Labels, float]:
        """A counter's values."""
        return dict(self._counters.get(name, {}))

    def families(self) -> list[Metric]:
        """Everything as it stands now, for :func:`render`."""
        found: list[Metric] = [metric for source in self._sources for metric in source()]
        for name, counters in sorted(self._counters.items()):
            found.append(_counter(self._families[name], counters))
        for name in sorted({name for gauges in self._gauges.values() for name in gauges}):
            family = self._families[name]
            found.append(gauge(name, family.help, family.labels, self.gauge(name)))
        for name, histograms in sorted(self._histograms.items()):
            found.append(_histogram(self._families[name], histograms))
        return found

    def _split(self, key: str) -> tuple[str, Labels]:
        name, *labels = key.split(SEPARATOR)
        family = self._families.get(name)
        if family is None or len(family.labels) != len(labels):  # a newer worker's, during an upgrade
            self._describe(Family(name, "counter", tuple(f"label_{i}" for i in range(len(labels))), "Unknown."))
        return name, tuple(labels)

    def _describe(self, family: Family) -> None:
        known = self._families.get(family.name)
        if known is not None and known.labels != family.labels:
            self._counters.pop(family.name, None)
            self._histograms.pop(family.name, None)
            for gauges in self._gauges.values():
                gauges.pop(family.name, None)
        self._families[family.name] = family

    def _admit(self, name: str, series: Collection[Labels], labels: Labels) -> Labels:
        """``labels``, or those of the series for all that is too much."""
        if labels in series or len(series) < self.max_series or name == SERIES_DROPPED:
            return labels
        dropped = self._counters.setdefault(SERIES_DROPPED, {})
        dropped[(name,)] = dropped.get((name,), 0.0) + 1
        return (OTHER,) * len(labels)


def render(families: Sequence[Metric], accept: str) -> tuple[bytes, str]:
    """The page in the format that ``accept`` asks for, and its content type. Takes 3 us a line: use a thread."""
    encoder, content_type = choose_encoder(accept)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(families))
    return encoder(registry), content_type


def gauge(name: str, text: str, labels: Sequence[str], values: dict[Labels, float]) -> Metric:
    """A gauge as Prometheus knows it."""
    metric = GaugeMetricFamily(name, text, labels=labels)
    for series, value in values.items():
        metric.add_metric(series, value)
    return metric


def counter(name: str, text: str, labels: Sequence[str], values: dict[Labels, float]) -> Metric:
    """A counter as Prometheus knows it; ``name`` ends with ``_total``."""
    metric = CounterMetricFamily(name, text, labels=labels)
    for series, value in values.items():
        metric.add_metric(series, value)
    return metric


def _counter(family: Family, values: dict[Labels, float]) -> Metric:
    return counter(family.name, family.help, family.labels, values)


def _histogram(family: Family, values: dict[Labels, list[float]]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, numbers in values.items():
        *buckets, _count, total = numbers
        metric.add_metric(labels, list(zip(_LE, accumulate(buckets), strict=True)), total)
    return metric


class _Given(Collector):
    """Metrics that have been collected already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families
