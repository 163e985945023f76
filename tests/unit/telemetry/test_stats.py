import math

from gatewright.proxy import families as names
from gatewright.proxy.families import SEPARATOR as S
from gatewright.proxy.record import BOUNDS, WorkerStats
from gatewright.worker import stats as stats_module
from gatewright.worker.stats import StatsCollector


def test_an_idle_worker_ships_nothing() -> None:
    collector = StatsCollector(0, WorkerStats())
    message = collector.collect()
    assert (message.counters, message.gauges, message.histograms, message.families) == ({}, {}, {}, {})
    assert not collector.pending


def test_routes_and_endpoints_are_shipped_once() -> None:
    stats = WorkerStats()
    collector = StatsCollector(3, stats)
    stats.route("orders").observe(200, 0.002, 5, 7, "http1", "")
    stats.endpoint("up", "http://127.0.0.1:1").observe(502, 0.2, 0, 0, "http1", "upstream.reset")
    message = collector.collect()
    assert message.slot == 3
    assert message.counters == {
        f"{names.REQUESTS}{S}orders{S}200{S}http1{S}": 1,
        f"{names.REQUEST_BYTES}{S}orders": 5,
        f"{names.RESPONSE_BYTES}{S}orders": 7,
        f"{names.UPSTREAM_REQUESTS}{S}up{S}http://127.0.0.1:1{S}502{S}http1{S}upstream.reset": 1,
    }
    histogram = message.histograms[f"{names.REQUEST_SECONDS}{S}orders"]
    assert len(histogram) == len(BOUNDS) + 3
    assert histogram[-2:] == [1, 0.002]
    assert histogram[BOUNDS.index(0.0025)] == 1
    assert collector.collect().counters == {}


def test_two_objects_of_one_route_are_added_up_during_a_reload() -> None:
    stats = WorkerStats()
    old, new = stats.route("r"), stats.route("r")
    old.observe(200, 0.1, 1, 1, "http1", "")
    new.observe(200, 0.1, 1, 1, "http1", "")
    message = StatsCollector(0, stats).collect()
    assert message.counters[f"{names.REQUESTS}{S}r{S}200{S}http1{S}"] == 2
    assert message.counters[f"{names.REQUEST_BYTES}{S}r"] == 2
    assert message.histograms[f"{names.REQUEST_SECONDS}{S}r"][-2] == 2


def test_a_removed_route_that_is_still_in_use_ships_its_last_exchange() -> None:
    stats = WorkerStats()
    collector = StatsCollector(0, stats)
    removed = stats.route("old")
    removed.observe(200, 0.1, 0, 0, "http1", "")
    collector.collect()
    removed.observe(101, 60.0, 0, 0, "websocket", "")
    assert list(collector.collect().counters.values()) == [1]
    assert stats.touched == []


def test_gauges_are_shipped_when_they_change() -> None:
    stats = WorkerStats()
    collector = StatsCollector(0, stats)
    listener, pool = stats.listener("public"), stats.pool("up")
    listener.open, listener.accepted, pool.idle, stats.exchanges = 2, 5, 1, 1
    first = collector.collect()
    assert first.gauges[f"{names.CONNECTIONS}{S}public"] == 2
    assert first.gauges[f"{names.POOL_IDLE}{S}up"] == 1
    assert first.gauges[names.EXCHANGES] == 1
    assert first.counters == {f"{names.ACCEPTED}{S}public": 5}
    listener.open, listener.accepted = 1, 6
    second = collector.collect()
    assert second.gauges == {f"{names.CONNECTIONS}{S}public": 1}
    assert second.counters == {f"{names.ACCEPTED}{S}public": 1}


def test_what_a_configuration_drops_is_shipped_a_last_time_and_taken_back() -> None:
    stats = WorkerStats()
    collector = StatsCollector(0, stats)
    stats.pool("gone").created = 1
    stats.listener("busy").open = 1
    collector.collect()
    stats.pool("gone").created = 4
    stats.retain(listeners=set(), upstreams=set())
    message = collector.collect()
    assert message.counters == {f"{names.POOL_CREATED}{S}gone": 3}
    assert math.isnan(message.gauges[f"{names.POOL_IDLE}{S}gone"])
    assert f"{names.CONNECTIONS}{S}busy" not in message.gauges  # it still has a connection
    assert collector.collect().gauges == {}


def test_a_pool_of_the_same_name_begins_at_zero() -> None:
    stats = WorkerStats()
    collector = StatsCollector(0, stats)
    stats.pool("up").created = 10
    collector.collect()
    stats.retain(set(), set())
    stats.pool("up").created = 1
    message = collector.collect()
    assert message.counters == {f"{names.POOL_CREATED}{S}up": 1}
    assert message.gauges[f"{names.POOL_IDLE}{S}up"] == 0


def test_requests_in_flight_are_shipped_by_endpoint_and_taken_back() -> None:
    stats = WorkerStats()
    collector = StatsCollector(0, stats)
    key = f"{names.IN_FLIGHT}{S}up{S}http://127.0.0.1:1"
    stats.in_flight = {("up", "http://127.0.0.1:1"): 2}
    assert collector.collect().gauges == {key: 2}
    assert collector.collect().gauges == {}
    stats.in_flight = {}
    assert math.isnan(collector.collect().gauges[key])
    assert collector.collect().gauges == {}


def test_policy_counters_bring_their_description() -> None:
    stats = WorkerStats()
    collector = StatsCollector(0, stats)
    stats.counter("gatewright_mine_total", "Mine.", ("user",)).inc("a", by=2)
    stats.count(names.RETRIES, "up", "connect")
    message = collector.collect()
    assert message.families == {"gatewright_mine_total": ("Mine.", "user")}
    assert message.counters == {f"gatewright_mine_total{S}a": 2.0, f"{names.RETRIES}{S}up{S}connect": 1.0}
    assert collector.collect().families == {}


def test_one_message_is_bounded() -> None:
    stats = WorkerStats()
    collector = StatsCollector(0, stats)
    for i in range(stats_module.MOST_TOUCHED + 5):
        stats.route(f"r{i}").observe(200, 0.1, 0, 0, "http1", "")
    assert len(collector.collect().histograms) == stats_module.MOST_TOUCHED
    assert collector.pending
    assert len(collector.collect().histograms) == 5
    assert not collector.pending
