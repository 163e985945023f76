"""What changed between two snapshots."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from gatewright.snapshot.diff import MOST_NAMES, diff
from gatewright.snapshot.model import Route, Snapshot

TEXT = """\
workers: 1
upstreams: {a: {endpoints: [http://127.0.0.1:1]}, b: {endpoints: [http://127.0.0.1:2]}}
consumers: [{name: c, credentials: [{api_key: k}]}]
routes: [{name: r, match: {paths: [/r]}, to: a}, {name: s, match: {paths: [/s]}, to: b}]
"""


def test_nothing(build: Any) -> None:
    changes = diff(build(TEXT).snapshot, build(TEXT, version=2).snapshot)
    assert not changes
    assert changes.summary() == "no changes"


def test_each_kind(build: Any) -> None:
    old = build(TEXT).snapshot
    new = build(
        TEXT.replace("127.0.0.1:2", "127.0.0.1:3")
        .replace("b: {end", "z: {endpoints: [http://127.0.0.1:9]}, b: {end")
        .replace("name: c", "name: d")
        .replace("[/r]", "[/q]")
        .replace("workers: 1", "workers: 2\ndrain_timeout: 5s")
    ).snapshot
    changes = diff(old, new)
    assert changes.upstreams == {"z": "added", "b": "changed"}
    assert changes.consumers == {"c": "removed", "d": "added"}
    assert changes.routes == {"r": "changed"}
    assert changes.listeners == {}
    assert changes.settings == ("workers", "drain_timeout")
    assert changes.summary() == ("upstreams: +z ~b; routes: ~r; consumers: -c +d; settings: workers drain_timeout")


def test_another_order_of_the_routes(build: Any) -> None:
    old = build(TEXT).snapshot
    changes = diff(old, replace(old, routes=old.routes[::-1]))
    assert changes.reordered
    assert changes.summary() == "routes: another order"
    assert not diff(old, replace(old, routes=old.routes[1:])).reordered


def test_the_first_one_adds_everything(build: Any) -> None:
    changes = diff(None, build(TEXT).snapshot)
    assert changes.routes == {"r": "added", "s": "added"}
    assert changes.listeners == {"public": "added"}
    assert "workers" not in changes.settings


def test_a_long_list_is_cut() -> None:
    new = Snapshot(routes=tuple(Route(f"r{n}") for n in range(MOST_NAMES + 3)))
    assert diff(Snapshot(), new).summary() == "routes: +r0 +r1 +r2 +r3 +r4 and 3 more"
