"""Documents as trees of nodes that know where they stand.

Nodes are built from the parser's events in one loop without recursion: a document of a hundred thousand opening
brackets must be refused, not overflow the stack. Scalars follow the core schema of YAML 1.2, so that ``on`` is a word
and not a truth value.
"""

from __future__ import annotations

import io
import math
import re
from typing import Any, Final, TypeAlias

import yaml

from gatewright.errors import ConfigError, Problem

MOST_BYTES: Final = 64 * 1024 * 1024
MOST_NODES: Final = 4_000_000
MOST_ALIASED: Final = 100_000  # nodes that stand in the tree a second time because of an alias
MOST_DEPTH: Final = 64

Path: TypeAlias = tuple[str | int, ...]

_WORDS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_INT: Final = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_BASED: Final = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_NUMERIC_START: Final = frozenset("-+.0123456789")
_SURROGATES: Final = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


class Source:
    """A file, or a variable of the environment, that a document was read from."""

    __slots__ = ("_lines", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._lines: list[str] | None = None

    def line(self, number: int) -> str:
        """The line with that number, counted from 1; empty when there is none."""
        if self._lines is None:
            self._lines = self.text.splitlines()
        return self._lines[number - 1] if 0 < number <= len(self._lines) else ""


class Node:
    """A value in a document. ``line`` and ``column`` count from 1; 0 when there is no such place."""

    __slots__ = ("column", "line", "source")

    def __init__(self, source: Source, line: int, column: int) -> None:
        self.source = source
        self.line = line
        self.column = column

    def place(self) -> str:
        """``file:line:column``."""
        return f"{self.source.name}:{self.line}:{self.column}" if self.line else self.source.name


class Scalar(Node):
    """Text, plain (its form decides its type) or quoted (always text)."""

    __slots__ = ("plain", "text")

    def __init__(self, source: Source, line: int, column: int, text: str, plain: bool) -> None:
        super().__init__(source, line, column)
        self.text = text
        self.plain = plain


class Sequence(Node):
    """A list."""

    __slots__ = ("items",)

    def __init__(self, source: Source, line: int, column: int) -> None:
        super().__init__(source, line, column)
        self.items: list[Node] = []


class Mapping(Node):
    """A mapping; each key with the place of the key and the value."""

    __slots__ = ("entries",)

    def __init__(self, source: Source, line: int, column: int) -> None:
        super().__init__(source, line, column)
        self.entries: dict[str, tuple[Node, Node]] = {}


def resolve_plain(text: str) -> Any:
    """What a plain scalar means in the core schema: null, a truth value, a number or text."""
    if text and text[0] in _NUMERIC_START:
        if _INT.fullmatch(text):
            return int(text)
        if _BASED.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
            return number
        return text
    if text in _NULLS:
        return None
    return _WORDS.get(text, text)


class _Stream(io.BytesIO):
    """Bytes with the name that the parser shows."""

    name = "<configuration>"


def _parser(text: str) -> Any:
    # The parser in C is ten times as fast; where it was not built, the one in Python reads the same language.
    return getattr(yaml, "CLoader", yaml.Loader)(_Stream(text.encode()))


class _Builder:
    """Builds the tree of one document from its events."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self._stack: list[Sequence | Mapping] = []
        self._keys: list[Scalar | None] = []  # of each open mapping: the key whose value comes next
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._open_anchors: list[tuple[str, int] | None] = []
        self._count = 0
        self._aliased = 0

    def build(self) -> Node | None:
        """Read all events. Raises ConfigError at the first thing that keeps the document from being read."""
        documents = 0
        next_event = _parser(self.source.text).get_event
        while (event := next_event()) is not None:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._scalar(event)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._open(event)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._close()
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    self._refuse(event, "config.syntax", "a file holds one document; this is a second one")
        return self.root

    def _scalar(self, event: Any) -> None:
        mark = event.start_mark
        plain = event.implicit[0]
        tag = event.tag
        if tag is not None and tag not in ("!", "tag:yaml.org,2002:str"):
            self._refuse(event, "config.syntax", f"the tag {tag} has no meaning here")
        node = Scalar(self.source, mark.line + 1, mark.column + 1, event.value, plain and tag is None)
        self._add(node, event)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, 1)

    def _open(self, event: Any) -> None:
        if event.tag is not None and event.tag != "!":
            self._refuse(event, "config.syntax", f"the tag {event.tag} has no meaning here")
        if len(self._stack) >= MOST_DEPTH:
            self._refuse(event, "config.limits", f"nested more than {MOST_DEPTH} levels deep")
        mark = event.start_mark
        container = Mapping if type(event) is yaml.MappingStartEvent else Sequence
        node = container(self.source, mark.line + 1, mark.column + 1)
        self._add(node, event)
        self._stack.append(node)
        self._keys.append(None)
        self._open_anchors.append((event.anchor, self._count) if event.anchor is not None else None)

    def _close(self) -> None:
        node = self._stack.pop()
        self._keys.pop()
        anchor = self._open_anchors.pop()
        if anchor is not None:
            self._anchors[anchor[0]] = (node, self._count - anchor[1] + 1)

    def _alias(self, event: Any) -> None:
        # An anchor becomes known when its node is complete, so a node can never hold itself.
        if event.anchor not in self._anchors:
            self._refuse(event, "config.syntax", f"the alias *{event.anchor} has no anchor before it")
        node, size = self._anchors[event.anchor]
        self._aliased += size
        self._count += size - 1
        if self._aliased > MOST_ALIASED:
            self._refuse(event, "config.limits", f"aliases repeat more than {MOST_ALIASED} values")
        self._add(node, event)

    def _add(self, node: Node, event: Any) -> None:
        self._count += 1
        if self._count > MOST_NODES:
            self._refuse(event, "config.limits", f"more than {MOST_NODES} values")
        if not self._stack:
            self.root = node
            return
        parent = self._stack[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif (key := self._keys[-1]) is None:
            self._key(node, event)
        else:
            self._keys[-1] = None
            if key.text not in parent.entries:
                parent.entries[key.text] = (key, node)

    def _key(self, node: Node, event: Any) -> None:
        if not isinstance(node, Scalar):
            self._refuse(event, "config.syntax", "a key must be text")
            return
        self._keys[-1] = node
        parent = self._stack[-1]
        if isinstance(parent, Mapping) and node.text in parent.entries:
            first = parent.entries[node.text][0]
            self.problems.append(
                problem_at(
                    node,
                    "config.duplicate_key",
                    f"the key '{node.text}' stands here twice",
                    related=[f"the first is at {first.place()}"],
                )
            )

    def _refuse(self, event: Any, code: str, message: str) -> None:
        mark = event.start_mark
        node = Node(self.source, mark.line + 1, mark.column + 1)
        raise ConfigError([*self.problems, problem_at(node, code, message)])


def problem_at(node: Node, code: str, message: str, hint: str = "", related: list[str] | None = None) -> Problem:
    """A problem whose place is a node."""
    return Problem(
        code,
        message,
        file=node.source.name,
        line=node.line,
        column=node.column,
        source=node.source.line(node.line),
        hint=hint,
        related=related or [],
    )


def parse(name: str, data: bytes) -> tuple[Node | None, list[Problem]]:
    """The tree of one document (None when it is empty), with the problems that do not keep it from being read.

    Raises ConfigError when it cannot be read at all.
    """
    if len(data) > MOST_BYTES:
        raise ConfigError([Problem("config.limits", f"larger than {MOST_BYTES >> 20} MiB", file=name)])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise ConfigError([Problem("config.syntax", message, file=name, line=line, column=1)]) from None
    if name.endswith(".json"):
        # JSON writes characters beyond U+FFFF as two escapes, which YAML does not know.
        text = _SURROGATES.sub(_join_surrogates, text)
    builder = _Builder(Source(name, text))
    try:
        return builder.build(), builder.problems
    except yaml.YAMLError as error:
        raise ConfigError([*builder.problems, _syntax_problem(error, builder.source)]) from None


def _join_surrogates(found: re.Match[str]) -> str:
    code = 0x10000 + ((int(found[1], 16) - 0xD800) << 10) + (int(found[2], 16) - 0xDC00)
    return f"\\U{code:08x}"


def _syntax_problem(error: yaml.YAMLError, source: Source) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
    context = getattr(error, "context", None)
    message = f"{what} {context}" if context else str(what)
    if mark is None:
        return Problem("config.syntax", message, file=source.name)
    node = Node(source, mark.line + 1, mark.column + 1)
    found = problem_at(node, "config.syntax", message)
    if "\t" in found.source[: found.column]:
        found.hint = "indent with spaces; YAML allows no tabs there"
    return found
