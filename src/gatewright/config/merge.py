"""Several documents as one.

Files are merged in the order given, those of a directory by name. Lists (listeners, routes, consumers, policies,
plugins) are appended; mappings are merged key by key; the same upstream, or the same setting, in two files is an error
that names both places. ``version`` may stand in every file.
"""

from __future__ import annotations

from typing import Final

from gatewright.config.tree import Mapping, Node, Scalar, Sequence, problem_at
from gatewright.errors import Problem

_MERGED: Final = frozenset({"upstreams", "admin", "telemetry", "metadata"})
_MERGED_TELEMETRY: Final = frozenset({"access_log", "metrics", "tracing"})


def merge(documents: list[Mapping], problems: list[Problem]) -> Mapping:
    """One mapping with the entries of all; what contradicts goes to ``problems``."""
    if len(documents) == 1:
        return documents[0]
    first = documents[0]
    merged = Mapping(first.source, first.line, first.column)
    for document in documents:
        _merge_into(merged, document, _MERGED, problems)
    return merged


def _merge_into(merged: Mapping, document: Mapping, deeper: frozenset[str], problems: list[Problem]) -> None:
    for name, (key, value) in document.entries.items():
        before = merged.entries.get(name)
        if before is None:
            merged.entries[name] = (key, _copied(value))
        elif isinstance(before[1], Sequence) and isinstance(value, Sequence):
            before[1].items.extend(value.items)
        elif isinstance(before[1], Mapping) and isinstance(value, Mapping) and name in deeper:
            inside = _MERGED_TELEMETRY if name == "telemetry" else frozenset[str]()
            _merge_into(before[1], value, inside, problems)
        elif not (name == "version" and _same(before[1], value)):
            problems.append(
                problem_at(
                    key,
                    "config.duplicate",
                    f"'{name}' is also given in another file",
                    related=[f"the first is at {before[0].place()}"],
                )
            )


def _copied(value: Node) -> Node:
    # What grows is a copy: the node may also stand elsewhere, by an alias, and must stay what it is there.
    if isinstance(value, Sequence):
        items = Sequence(value.source, value.line, value.column)
        items.items = list(value.items)
        return items
    if isinstance(value, Mapping):
        entries = Mapping(value.source, value.line, value.column)
        entries.entries = {name: (key, _copied(child)) for name, (key, child) in value.entries.items()}
        return entries
    return value


def _same(one: Node, other: Node) -> bool:
    return isinstance(one, Scalar) and isinstance(other, Scalar) and one.text == other.text
