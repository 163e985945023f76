import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.clock import ManualClock
from gatewright.proxy.record import RefusedRequest
from gatewright.worker.log_lines import JsonLines, Lines, TextLines
from gatewright.worker.log_sinks import LINE_LIMIT

Make = Callable[..., Any]

FIELDS = (
    *(
        "time",
        "level",
        "status",
        "grpc_status",
        "reason",
        "method",
        "route",
        "consumer",
        "upstream",
        "endpoint",
        "tries",
    ),
    *("protocol", "listener", "request_id", "path", "query", "duration_ms", "upstream_ms", "bytes_in", "bytes_out"),
    *("host", "client", "user_agent"),
)


def writer(kind: type[Lines] = JsonLines) -> Lines:
    lines = kind()
    lines.synchronise(ManualClock())
    return lines


def parsed(exchange: Any) -> dict[str, Any]:
    document = json.loads(writer().write(exchange))
    assert isinstance(document, dict)
    return document


def test_every_field_is_there_in_a_stable_order(finished: Make) -> None:
    document = parsed(finished())
    assert tuple(document) == FIELDS
    assert document == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "status": 200,
        "grpc_status": "",
        "reason": "",
        "method": "GET",
        "route": "order-by-id",
        "consumer": "acme",
        "upstream": "orders",
        "endpoint": "http://127.0.0.1:9001",
        "tries": 1,
        "protocol": "http1",
        "listener": "public",
        "request_id": "id-1",
        "path": "/orders/1",
        "query": "",
        "duration_ms": 12.3,
        "upstream_ms": 11.1,
        "bytes_in": 3,
        "bytes_out": 512,
        "host": "api.example.com",
        "client": "192.0.2.1",
        "user_agent": "curl/8",
    }


def test_what_did_not_happen_is_empty(finished: Make) -> None:
    document = parsed(
        finished(agent=None, consumer=None, endpoint=None, upstream_name="", upstream_seconds=-1.0, tries=0)
    )
    assert document["upstream_ms"] is None
    assert (document["consumer"], document["endpoint"], document["user_agent"]) == ("", "", "")


def test_a_request_that_could_not_be_read_has_a_line_too() -> None:
    document = parsed(RefusedRequest("public", "192.0.2.1", 400, "request.method", 1000.25))
    assert tuple(document) == FIELDS
    told = {name: document[name] for name in ("status", "reason", "listener", "client", "method", "path", "level")}
    assert told == {
        "status": 400,
        "reason": "request.method",
        "listener": "public",
        "client": "192.0.2.1",
        "method": "",
        "path": "",
        "level": "warn",
    }


@pytest.mark.parametrize(
    ("status", "level"), [(101, "info"), (200, "info"), (399, "info"), (404, "warn"), (500, "error")]
)
def test_the_level_follows_the_status(finished: Make, status: int, level: str) -> None:
    assert parsed(finished(status=status))["level"] == level


@pytest.mark.parametrize(
    ("status", "grpc_status", "level"),
    [
        (200, "OK", "info"),
        (200, "NOT_FOUND", "warn"),
        (200, "UNAVAILABLE", "error"),
        (404, "UNIMPLEMENTED", "warn"),  # the gateway's own: no such route
        (503, "UNAVAILABLE", "error"),
    ],
)
def test_the_level_follows_the_outcome_of_a_call(finished: Make, status: int, grpc_status: str, level: str) -> None:
    document = parsed(finished(status=status, grpc_status=grpc_status))
    assert (document["level"], document["grpc_status"]) == (level, grpc_status)


def test_the_path_is_the_one_that_was_asked_for(finished: Make) -> None:
    document = parsed(finished(target=b"/a%20b/../c?x=1&y=2", path=b"/rewritten"))
    assert (document["path"], document["query"]) == ("/a%20b/../c", "x=1&y=2")


def test_a_password_in_an_absolute_target_is_not_logged(finished: Make) -> None:
    line = writer().write(finished(target=b"http://me:pass@host/x?q=1", path=b"/x"))
    assert b"pass" not in line
    assert json.loads(line)["path"] == "/x"


def test_secret_parameters_are_masked(finished: Make) -> None:
    assert parsed(finished(target=b"/x?a=1&token=abc"))["query"] == "a=1&token=***"


def test_the_clock_is_followed(finished: Make) -> None:
    clock = ManualClock()
    lines = JsonLines()
    lines.synchronise(clock)
    assert json.loads(lines.write(finished()))["time"].endswith("20.250Z")
    clock.start += 3600  # somebody has set the clock
    lines.synchronise(clock)
    assert json.loads(lines.write(finished()))["time"] == "2023-11-14T23:13:20.250Z"


def test_text_is_one_line_for_people(finished: Make) -> None:
    assert writer(TextLines).write(finished(target=b"/orders/1?x=1", status=504, reason="upstream.timeout")) == (
        b"2023-11-14T22:13:20.250Z ERROR 504 GET http1 listener=public route=order-by-id consumer=acme upstream=orders "
        b"to=http://127.0.0.1:9001 reason=upstream.timeout id=id-1 /orders/1?x=1 12.300ms upstream=11.100ms in=3 "
        b'out=512 host=api.example.com client=192.0.2.1 agent="curl/8"\n'
    )
    assert b" 200 POST grpc UNAVAILABLE listener=" in writer(TextLines).write(
        finished(method=b"POST", protocol="grpc", grpc_status="UNAVAILABLE")
    )
    alone = finished(upstream_name="", endpoint=None, upstream_seconds=-1.0, tries=2)
    assert b"tries=2 id=id-1 /orders/1 12.300ms in=3" in writer(TextLines).write(alone)


VALUES = st.one_of(
    st.binary(max_size=60),
    st.binary(min_size=2000, max_size=5000),
    st.sampled_from([b'"}\n{"x":"', b"\r\n", b"\\", b'\\"', b"\x00\x1b[31m", "ü€😀".encode(), b"\xff\xfe", b"\x7f"]),
)


@pytest.mark.parametrize("kind", [JsonLines, TextLines])
@settings(max_examples=60)
@given(data=st.data())
def test_no_input_can_break_a_line(finished: Make, kind: type[Lines], data: st.DataObject) -> None:
    raw = {name: data.draw(VALUES, label=name) for name in ("method", "target", "host", "agent", "request_id")}
    names = {name: data.draw(st.text(max_size=300), label=name) for name in ("client_addr", "reason", "listener_name")}
    exchange = finished(**raw, **names)
    exchange.route.name = data.draw(st.text(), label="route")
    lines = writer(kind)
    for line in (lines.write(exchange), lines.write(exchange)):  # the second one comes from the caches
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert len(line) <= LINE_LIMIT
        assert line[:-1].isascii()
        assert line[:-1].decode().isprintable()
        if kind is JsonLines:
            assert tuple(json.loads(line)) == FIELDS


def test_octets_that_are_not_utf8_can_be_told_apart(finished: Make) -> None:
    assert parsed(finished(target=b"/\xff"))["path"] == "/\\xff"
    assert parsed(finished(target="/ü".encode()))["path"] == "/ü"


def test_a_line_that_is_too_long_keeps_the_beginning_of_each_value(finished: Make) -> None:
    document = parsed(finished(target=b"/" + b"\x01" * 8000, agent=b'"' * 8000))
    assert document["path"].startswith("/\x01\x01")
    assert document["user_agent"].startswith('""')
    assert document["duration_ms"] == 12.3


def test_the_caches_are_bounded(finished: Make) -> None:
    lines = writer()
    for i in range(10_000):
        lines.write(finished(agent=b"%d" % i, status=100 + i, started=1000.0 + i))
    lines.write(finished(agent=b"x" * 2000, method=b"M" * 2000))
    assert max(len(lines._fixed), len(lines._peers)) <= 4096
    assert len(lines._stamps) <= 64
    assert all(len(value) <= 512 for value in (*lines._fixed.values(), *lines._peers.values()))
