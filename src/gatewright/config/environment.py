"""Settings from the environment, which win over every file.

``GATEWRIGHT_WORKERS``, ``_DRAIN_TIMEOUT``, ``_STATE`` and ``_STORE`` set the key of that name. ``GATEWRIGHT__A__B``
sets any key: two underscores go one level down, upper case and underscores match names however they are written, and
members of lists are named by their ``name`` or counted from 0::

    GATEWRIGHT_WORKERS=2
    GATEWRIGHT__ADMIN__BIND=0.0.0.0:9900
    GATEWRIGHT__LISTENERS__PUBLIC__BIND=0.0.0.0:80
    GATEWRIGHT__UPSTREAMS__ORDERS__ENDPOINTS=[http://10.0.0.1, http://10.0.0.2]

A value in brackets or braces is read as YAML, any other as one plain scalar.
"""

from __future__ import annotations

from collections.abc import Mapping as Environ
from typing import Final

from gatewright.config.tree import Mapping, Node, Scalar, Sequence, Source, parse
from gatewright.errors import ConfigError, Problem

PREFIX: Final = "GATEWRIGHT__"
SIMPLE: Final = ("workers", "drain_timeout", "state", "store")
MOST_LEVELS: Final = 16


def apply_environment(root: Mapping, environ: Environ[str, str], problems: list[Problem]) -> Mapping:
    """The tree with the settings of the environment in it; ``root`` stays as it is."""
    settings: list[tuple[str, list[str]]] = [
        (f"GATEWRIGHT_{name.upper()}", [name]) for name in SIMPLE if f"GATEWRIGHT_{name.upper()}" in environ
    ]
    settings += [(name, name[len(PREFIX) :].split("__")) for name in sorted(environ) if name.startswith(PREFIX)]
    for variable, parts in settings:
        value = _value(variable, environ[variable], problems)
        if value is None:
            continue
        if not all(parts) or len(parts) > MOST_LEVELS:
            problems.append(_problem(variable, f"{variable} does not name a setting", "write GATEWRIGHT__ADMIN__BIND"))
            continue
        changed = _set(root, parts, value, variable, problems)
        if isinstance(changed, Mapping):
            root = changed
    return root


def _value(variable: str, text: str, problems: list[Problem]) -> Node | None:
    source = Source(f"${variable}", text)
    if (text[:1], text[-1:]) not in (("[", "]"), ("{", "}")):
        try:
            text.encode()
        except UnicodeEncodeError:
            problems.append(_problem(variable, f"{variable} is not UTF-8 text"))
            return None
        return Scalar(source, 0, 0, text, plain=True)
    try:
        node, found = parse(source.name, text.encode("utf-8", "surrogateescape"))
    except ConfigError as error:
        node, found = None, error.problems
    problems += found
    return node


def _problem(variable: str, message: str, hint: str = "") -> Problem:
    return Problem("config.environment", message, file=f"${variable}", hint=hint)


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


def _set(node: Node, parts: list[str], value: Node, variable: str, problems: list[Problem]) -> Node:
    """A copy of ``node`` in which the setting named by ``parts`` is ``value``."""
    part, rest = parts[0].lower(), parts[1:]
    if isinstance(node, Mapping):
        mapping = Mapping(node.source, node.line, node.column)
        mapping.entries = dict(node.entries)
        name = next((name for name in mapping.entries if _plain(name) == _plain(part)), part)
        known = mapping.entries.get(name)
        key = known[0] if known is not None and rest else Scalar(value.source, 0, 0, name, plain=False)
        below = known[1] if known is not None else Mapping(value.source, 0, 0)
        mapping.entries[name] = (key, _set(below, rest, value, variable, problems) if rest else value)
        return mapping
    if isinstance(node, Sequence):
        index = _index(node, part)
        if index is not None:
            sequence = Sequence(node.source, node.line, node.column)
            sequence.items = list(node.items)
            below = sequence.items[index]
            sequence.items[index] = _set(below, rest, value, variable, problems) if rest else value
            return sequence
        problems.append(_problem(variable, f"{variable}: the list has no member '{part}'"))
        return node
    problems.append(_problem(variable, f"{variable}: there is nothing below '{part}'"))
    return node


def _index(node: Sequence, part: str) -> int | None:
    for index, item in enumerate(node.items):
        if isinstance(item, Mapping):
            name = item.entries.get("name")
            if name is not None and isinstance(name[1], Scalar) and _plain(name[1].text) == _plain(part):
                return index
    return int(part) if part.isascii() and part.isdigit() and len(part) < 7 and int(part) < len(node.items) else None
