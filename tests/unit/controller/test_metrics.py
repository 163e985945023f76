import math

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gatewright.controller.metrics import Metrics, gauge, render
from gatewright.ipc.messages import Stats
from gatewright.proxy import families as names
from gatewright.proxy.families import SEPARATOR as S
from gatewright.proxy.record import WorkerStats
from gatewright.snapshot.model import Route, Snapshot
from gatewright.worker.stats import StatsCollector

TEXT = "text/plain;version=0.0.4"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


def stats(slot: int = 0, **parts: object) -> Stats:
    return Stats(slot, **{"counters": {}, "gauges": {}, "histograms": {}, **parts})  # type: ignore[arg-type]


def samples(metrics: Metrics, accept: str = TEXT) -> dict[tuple[str, tuple[str, ...]], float]:
    page, content_type = render(metrics.families(), accept)
    openmetrics = content_type.startswith("application/openmetrics-text")
    assert openmetrics == (accept == OPENMETRICS)
    parse = parse_openmetrics if openmetrics else parse_text
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in parse(page.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize("accept", [TEXT, OPENMETRICS])
def test_what_workers_count_is_on_the_page(accept: str) -> None:
    metrics = Metrics()
    for slot in (0, 1):
        worker = WorkerStats()
        worker.route("orders").observe(200, 0.003, 5, 7, "http1", "")
        worker.listener("public").open = 2
        metrics.add(StatsCollector(slot, worker).collect())
    page = samples(metrics, accept)
    assert page["gatewright_requests_total", ("http1", "", "orders", "200")] == 2
    assert page["gatewright_connections_open", ("public",)] == 4
    assert page["gatewright_request_duration_seconds_bucket", ("0.0025", "orders")] == 0
    assert page["gatewright_request_duration_seconds_bucket", ("0.005", "orders")] == 2
    assert page["gatewright_request_duration_seconds_bucket", ("+Inf", "orders")] == 2
    assert page["gatewright_request_duration_seconds_count", ("orders",)] == 2
    assert page["gatewright_request_duration_seconds_sum", ("orders",)] == pytest.approx(0.006)


def test_counters_stay_and_gauges_go_with_a_worker() -> None:
    metrics = Metrics()
    key = f"{names.RETRIES}{S}up{S}connect"
    metrics.add(stats(0, counters={key: 3}, gauges={names.EXCHANGES: 5}))
    metrics.add(stats(1, counters={key: 2}, gauges={names.EXCHANGES: 7}))
    assert metrics.gauge(names.EXCHANGES) == {(): 12}
    metrics.forget(1)
    assert metrics.gauge(names.EXCHANGES) == {(): 5}
    metrics.add(stats(1, counters={key: 1}))  # the new process begins at zero
    assert metrics.counter(names.RETRIES) == {("up", "connect"): 6}


def test_gauges_are_replaced_and_taken_back() -> None:
    metrics = Metrics()
    key = f"{names.POOL_IDLE}{S}up"
    metrics.add(stats(gauges={key: 3}))
    metrics.add(stats(gauges={key: 1}))
    assert metrics.gauge(names.POOL_IDLE) == {("up",): 1}
    metrics.add(stats(gauges={key: math.nan}))
    assert metrics.gauge(names.POOL_IDLE) == {}


def test_the_number_of_series_is_bounded() -> None:
    metrics = Metrics(max_series=3)
    for i in range(10):
        metrics.add(
            stats(i % 2, counters={f"{names.REQUEST_BYTES}{S}r{i}": 1}, gauges={f"{names.POOL_IDLE}{S}u{i}": 1})
        )
        metrics.add(stats(histograms={f"{names.REQUEST_SECONDS}{S}r{i}": [1] + [0] * 14 + [1, 0.1]}))
    page = samples(metrics)
    assert page["gatewright_request_bytes_total", ("_other",)] == 7
    assert page["gatewright_request_duration_seconds_count", ("_other",)] == 7
    assert page["gatewright_metric_series_dropped_total", ("gatewright_request_bytes_total",)] == 7
    assert sum(name == "gatewright_request_bytes_total" for name, _ in page) == 4
    assert len(metrics.gauge(names.POOL_IDLE)) <= 2 * 4


def test_series_of_routes_that_are_gone_make_room() -> None:
    metrics = Metrics(max_series=2)
    metrics.add(stats(counters={f"{names.REQUEST_BYTES}{S}old": 1, f"{names.REQUEST_BYTES}{S}kept": 1}))
    metrics.retain(Snapshot(routes=(Route("kept"), Route("new")), max_metric_series=2))
    metrics.add(stats(counters={f"{names.REQUEST_BYTES}{S}new": 1}))
    assert metrics.counter(names.REQUEST_BYTES) == {("kept",): 1, ("new",): 1}


def test_series_are_kept_while_there_is_room() -> None:
    metrics = Metrics(max_series=10)
    metrics.add(stats(counters={f"{names.REQUEST_BYTES}{S}old": 1}))
    metrics.retain(Snapshot(max_metric_series=10))
    assert metrics.counter(names.REQUEST_BYTES) == {("old",): 1}


def test_metrics_of_policies_have_their_own_names_and_texts() -> None:
    metrics = Metrics()
    worker = WorkerStats()
    worker.counter("gatewright_mine_total", "What I count.", ("user",)).inc('a"b\nc')
    metrics.add(StatsCollector(0, worker).collect())
    assert samples(metrics)["gatewright_mine_total", ('a"b\nc',)] == 1
    assert b"# HELP gatewright_mine_total What I count." in render(metrics.families(), TEXT)[0]


def test_a_metric_that_changes_its_labels_begins_anew() -> None:
    metrics = Metrics()
    metrics.add(stats(counters={f"m_total{S}a": 1}, families={"m_total": ("M.", "x")}))
    metrics.add(stats(counters={f"m_total{S}a{S}b": 1}, families={"m_total": ("M.", "x", "y")}))
    assert metrics.counter("m_total") == {("a", "b"): 1}


def test_an_unknown_metric_is_shown_all_the_same() -> None:
    metrics = Metrics()
    metrics.add(stats(counters={f"gatewright_future_total{S}a": 1}))
    assert samples(metrics)["gatewright_future_total", ("a",)] == 1


def test_sources_are_asked_when_the_page_is_read() -> None:
    metrics = Metrics()
    values = iter([1.0, 2.0])
    metrics.add_source(lambda: [gauge("gatewright_x", "X.", (), {(): next(values)})])
    assert samples(metrics)["gatewright_x", ()] == 1
    assert samples(metrics)["gatewright_x", ()] == 2
