"""What the language knows and this version cannot do is refused, each at its place."""

from __future__ import annotations

from typing import Any

import pytest

GOOD = "upstreams: {a: {endpoints: [http://127.0.0.1:1]}}\nroutes: [{name: r, to: a}]\n"


@pytest.mark.parametrize(
    ("old", "new", "what", "path"),
    [
        ("1]}", "1], balance: geo}", "the balance geo", "upstreams.a.balance"),
        ("routes", "state: redis://x\nroutes", "counters outside of this machine", "state"),
        ("routes", "store: sqlite:///x\nroutes", "a store for consumers, versions and the audit log", "store"),
        ("routes", "telemetry: {tracing: {otlp: http://x}}\nroutes", "tracing", "telemetry.tracing"),
    ],
)
def test_refused(build: Any, old: str, new: str, what: str, path: str) -> None:
    (problem,) = build.errors(GOOD.replace(old, new))
    assert (problem.code, problem.message) == ("config.unavailable", f"not available in this version: {what}")
    assert problem.path == path
