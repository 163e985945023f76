"""What finding a route costs, with 10 and with 10,000 routes, and what a change costs.

Run: ``python benchmarks/micro/bench_router.py``. Best of several runs; other work on the machine only adds.
"""

from __future__ import annotations

import time
import timeit
from types import SimpleNamespace
from typing import Any

from gatewright.http.head import RequestHead
from gatewright.http.headers import Headers
from gatewright.http.target import normalise_path, parse_authority, split_target
from gatewright.proxy.router import Router, build_router
from gatewright.snapshot.model import Match, Predicate


class Exchange:
    """The part of an exchange that the router looks at."""

    __slots__ = ("client_addr", "params", "request")

    def __init__(self, path: bytes, host: bytes = b"api.example.com", method: bytes = b"GET") -> None:
        self.request = RequestHead(method, path, path, None, host, host, b"http", 11, Headers())
        self.client_addr = "127.0.0.1"
        self.params: dict[bytes, bytes] = {}


def rows(count: int, **match: Any) -> list[Any]:
    """A table as services have it: half literal, half with a parameter."""
    found = []
    for n in range(count):
        path = f"/svc{n}/orders/{{id}}" if n % 2 else f"/svc{n}/orders/all"
        found.append((SimpleNamespace(name=f"r{n}", allows_preflight=False), Match(paths=(path,), **match), 0))
    return found


def nanoseconds(call: Any, *args: Any) -> float:
    """Of one call, best of 40 rounds."""
    timer = timeit.Timer(
        "call(*args)" if len(args) != 1 else "call(a)", globals={"call": call, "args": args, "a": args[0]}
    )
    return min(timer.repeat(40, 5000)) / 5000 * 1e9


def build(table: list[Any], previous: Router | None = None) -> tuple[Router, float, float]:
    """The router, seconds in all, and the longest slice."""
    running, began, longest = build_router(table, previous), time.perf_counter(), 0.0
    while True:
        start = time.perf_counter()
        try:
            next(running)
        except StopIteration as stop:
            return stop.value, time.perf_counter() - began, max(longest, time.perf_counter() - start)
        longest = max(longest, time.perf_counter() - start)


def main() -> None:
    """Print the table."""
    shapes = {
        "literal": ({}, b"/svc4/orders/all"),
        "parameter": ({}, b"/svc5/orders/1234567"),
        "no match": ({}, b"/svc5/nothing/1234567"),
        "parameter, methods": ({"methods": ("GET", "POST")}, b"/svc5/orders/1234567"),
        "parameter, host": ({"hosts": ("api.example.com",)}, b"/svc5/orders/1234567"),
        "parameter, header": ({"headers": (Predicate("x", absent=True),)}, b"/svc5/orders/1234567"),
    }
    print(f"{'match, ns':<22}{'10 routes':>12}{'10,000':>12}{'more':>8}")
    for name, (match, path) in shapes.items():
        ex = Exchange(path)
        few, many = (nanoseconds(Router(rows(count, **match)).match, ex) for count in (10, 10_000))
        print(f"{name:<22}{few:>12.0f}{many:>12.0f}{many - few:>8.0f}")
    table = rows(10_000)
    router, seconds, longest = build(table)
    print(f"\nbuild 10,000 routes: {seconds * 1e3:.0f} ms, longest slice {longest * 1e3:.1f} ms")
    table[5001] = (SimpleNamespace(name="changed"), Match(paths=("/svc5001/new/{id}",)), 0)
    _, seconds, longest = build(table, router)
    print(f"change one of them:  {seconds * 1e3:.1f} ms, longest slice {longest * 1e3:.1f} ms")
    print("\nns")
    for name, call, args in (
        ("normalise_path, normal", normalise_path, (b"/api/v1/orders/1234567/items",)),
        ("normalise_path, encoded", normalise_path, (b"/api/v1/%6frders/../x",)),
        ("split_target", split_target, (b"GET", b"/api/v1/orders/1234567/items?a=b")),
        ("parse_authority", parse_authority, (b"api.example.com:8000",)),
    ):
        print(f"{name:<26}{nanoseconds(call, *args):>8.0f}")


if __name__ == "__main__":
    main()
