"""The compiled configuration: complete from the beginning, and freed without the garbage collector."""

from __future__ import annotations

import gc
import weakref

import pytest

from gatewright.proxy.runtime import Route, Runtime
from gatewright.testing.rig import Rig, route, upstream


def test_a_route_has_a_value_for_everything_an_exchange_reads(rig: Rig) -> None:
    made = Route("r", rig.stats.route("r"))
    for name in Route.__slots__:
        assert hasattr(made, name), name
    with pytest.raises(LookupError):
        made.choose(None)  # type: ignore[arg-type]


class Watched(Runtime):
    """A runtime that can be watched."""

    __slots__ = ("__weakref__",)


def test_an_old_runtime_is_freed_when_nobody_serves_from_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewright.snapshot.compile.Runtime", Watched)
    rig.apply(route("one", to="a"), upstream("a"))
    old = weakref.ref(rig.runtime)
    client = rig.client()
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    gc.collect()
    gc.disable()
    try:
        rig.apply(route("two", to="a"), upstream("a"))
        rig.origin("a").accept().send(b"HTTP/1.1 204 No Content\r\n\r\n")
        rig.records.clear()
        assert old() is None
    finally:
        gc.enable()
    assert rig.runtime is not None
    assert set(rig.runtime.routes) == {"two"}


def test_a_listener_serves_what_its_runtime_has(rig: Rig) -> None:
    runtime = rig.apply(route("one", to="a"), upstream("a"))
    served = runtime.listeners["public"]
    assert (served.name, served.unmatched, served.upstreams) == ("public", runtime.unmatched, runtime.upstreams)
    assert (served.limits, runtime.version) == (served.spec.limits, runtime.snapshot.version)
