"""What a new snapshot changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from gatewright.snapshot.model import Snapshot

Kind = Literal["added", "changed", "removed"]

#: Settings of the whole gateway, compared one by one.
SETTINGS: Final = (
    "workers",
    "drain_timeout",
    "policies",
    "plugins",
    "access_log",
    "admin",
    "max_rate_keys",
    "max_metric_series",
    "metadata",
)
MOST_NAMES: Final = 5  # in the summary


@dataclass(slots=True, frozen=True)
class Changes:
    """Name → kind of change, for each kind of thing; ``settings`` are the names of those that changed."""

    listeners: Mapping[str, Kind] = field(default_factory=dict)
    upstreams: Mapping[str, Kind] = field(default_factory=dict)
    routes: Mapping[str, Kind] = field(default_factory=dict)
    consumers: Mapping[str, Kind] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    reordered: bool = False

    def __bool__(self) -> bool:
        return bool(
            self.listeners or self.upstreams or self.routes or self.consumers or self.settings or self.reordered
        )

    def summary(self) -> str:
        """One line for people: ``routes: +orders ~files -legacy; settings: workers``."""
        parts = [
            f"{what}: {_names(changes)}"
            for what in ("listeners", "upstreams", "routes", "consumers")
            if (changes := getattr(self, what))
        ]
        if self.reordered:
            parts.append("routes: another order")
        if self.settings:
            parts.append(f"settings: {' '.join(self.settings)}")
        return "; ".join(parts) or "no changes"


_SIGNS: Final = {"added": "+", "changed": "~", "removed": "-"}


def _names(changes: Mapping[str, Kind]) -> str:
    shown = [f"{_SIGNS[kind]}{name}" for name, kind in list(changes.items())[:MOST_NAMES]]
    more = len(changes) - len(shown)
    return " ".join([*shown, f"and {more} more"] if more else shown)


def diff(old: Snapshot | None, new: Snapshot) -> Changes:
    """What leads from ``old`` (None: nothing) to ``new``. The version is not compared."""
    old = old if old is not None else Snapshot(workers=new.workers)
    routes_before = [route.name for route in old.routes]
    routes_after = [route.name for route in new.routes]
    stay = set(routes_before) & set(routes_after)
    return Changes(
        listeners=_compare(_by_name(old.listeners), _by_name(new.listeners)),
        upstreams=_compare(_by_name(old.upstreams), _by_name(new.upstreams)),
        routes=_compare(
            {route.name: route.digest or route for route in old.routes},
            {route.name: route.digest or route for route in new.routes},
        ),
        consumers=_compare(_by_name(old.consumers), _by_name(new.consumers)),
        settings=tuple(name for name in SETTINGS if getattr(old, name) != getattr(new, name)),
        reordered=[name for name in routes_before if name in stay] != [name for name in routes_after if name in stay],
    )


def _by_name(items: tuple[object, ...]) -> dict[str, object]:
    return {item.name: item for item in items}  # type: ignore[attr-defined]


def _compare(old: Mapping[str, object], new: Mapping[str, object]) -> dict[str, Kind]:
    changes: dict[str, Kind] = {name: "removed" for name in old if name not in new}
    for name, item in new.items():
        if name not in old:
            changes[name] = "added"
        elif old[name] != item:
            changes[name] = "changed"
    return changes
