import pytest

from gatewright.proxy import families as names
from gatewright.proxy.record import BOUNDS, WorkerStats


def test_observe_counts_by_status_protocol_and_reason() -> None:
    route = WorkerStats().route("orders")
    route.observe(200, 0.003, 10, 100, "http1", "")
    route.observe(200, 0.003, 1, 1, "http1", "")
    route.observe(504, 15.0, 0, 50, "http1", "upstream.timeout")
    assert route.counts == {(200, "http1", "", 3): 2, (504, "http1", "upstream.timeout", len(BOUNDS)): 1}
    assert (route.bytes_in, route.bytes_out) == (11, 151)
    assert route.seconds == pytest.approx(15.006)


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (0.0005, 0), (0.00051, 1), (10.0, len(BOUNDS) - 1), (10.1, len(BOUNDS)), (-1.0, 0)],
)
def test_a_duration_falls_into_the_bucket_whose_bound_is_not_below_it(seconds: float, bucket: int) -> None:
    route = WorkerStats().route("r")
    route.observe(200, seconds, 0, 0, "http1", "")
    assert route.counts == {(200, "http1", "", bucket): 1}


def test_only_touched_objects_are_on_the_list_and_only_once() -> None:
    stats = WorkerStats()
    route, _untouched = stats.route("a"), stats.route("b")
    endpoint = stats.endpoint("up", "http://127.0.0.1:1")
    route.observe(200, 0.1, 0, 0, "http1", "")
    route.observe(200, 0.1, 0, 0, "http1", "")
    endpoint.observe(200, 0.1, 0, 0, "http1", "")
    assert stats.touched == [route, endpoint]
    route.reset()
    assert route.clean
    assert not route.counts


def test_counter_series_are_capped_and_the_overflow_is_counted() -> None:
    stats = WorkerStats(max_series=2)
    counter = stats.counter("gatewright_mine_total", "Mine.", ("user",))
    for user in ("a", "b", "c", "d", "a"):
        counter.inc(user)
    s = names.SEPARATOR
    assert counter.drain() == {
        f"gatewright_mine_total{s}a": 2.0,
        f"gatewright_mine_total{s}b": 1.0,
        f"gatewright_mine_total{s}_other": 2.0,
    }
    assert counter.drain() == {}
    dropped = stats.counter(names.SERIES_DROPPED).drain()
    assert dropped == {f"{names.SERIES_DROPPED}{s}gatewright_mine_total": 2.0}


def test_the_counter_of_dropped_series_is_bounded_too() -> None:
    stats = WorkerStats(max_series=1)
    for metric in ("a", "b", "c"):
        stats.counter(metric, "", ("x",)).inc("1")
        stats.counter(metric).inc("2")
    dropped = stats.counter(names.SERIES_DROPPED).drain()
    assert sum(dropped.values()) == 3
    assert len(dropped) == 2


def test_label_values_cannot_break_the_series_key() -> None:
    stats = WorkerStats()
    counter = stats.counter("m", "", ("x",))
    counter.inc("a" + names.SEPARATOR + "b")
    counter.inc("\udcff" * 2)
    counter.inc("y" * 10_000)
    keys = list(counter.drain())
    assert all(key.count(names.SEPARATOR) == 1 and len(key) < 300 for key in keys)
    "".join(keys).encode()


def test_a_wrong_number_of_labels_is_refused() -> None:
    stats = WorkerStats()
    with pytest.raises(ValueError, match="has the labels"):
        stats.counter("m", "", ("x",)).inc()
    with pytest.raises(ValueError, match="has the labels"):
        stats.count("gatewright_unknown_total", "x")


def test_one_name_cannot_have_two_meanings() -> None:
    stats = WorkerStats()
    first = stats.counter("m", "", ("x",))
    assert stats.counter("m", "", ("x",)) is first
    with pytest.raises(ValueError, match="exists with the labels"):
        stats.counter("m", "", ("y",))


def test_every_family_is_documented() -> None:
    for family in names.FAMILIES.values():
        assert family.name.startswith("gatewright_")
        assert family.help.endswith(".")
        assert family.name.endswith("_total") == (family.kind == "counter")
