"""Patterns of ``match``: paths and hosts, parsed once when the configuration is compiled.

What they mean stands in ``docs/concepts/routing.md``. Percent-encodings are normalised like those of requests, so
that a pattern and a path which mean the same are the same octets.
"""

from __future__ import annotations

import re

from gatewright.errors import ProtocolError
from gatewright.http.target import normalise_path, parse_authority

#: Kinds of a segment, in order of precedence.
STATIC, REGEX, PARAM = 0, 1, 2

#: Bounds the walk through the tree; no path in use is as deep.
MOST_SEGMENTS = 64

#: The rest of the path, when the pattern gives it no name.
STAR = b"*"
ANY_HOST = b"*"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_NEEDS_ENCODING = re.compile(rb"[\x80-\xff ]")


class PatternError(ValueError):
    """A pattern that cannot be read. ``column`` counts from 1 within the pattern."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(f"{message} (column {column} of the pattern)")
        self.column = column


class Segment:
    """One segment of a path pattern: ``text`` is a literal (STATIC) or the source of a regular expression (REGEX)."""

    __slots__ = ("kind", "regex", "text")

    def __init__(self, kind: int, text: bytes = b"", regex: re.Pattern[bytes] | None = None) -> None:
        self.kind = kind
        self.text = text
        self.regex = regex


class PathPattern:
    """A path pattern, parsed.

    Exactly one of three forms: ``literal`` (no parameters: the normalised path itself), ``regex`` (searched in the
    whole path), or ``segments`` with an optional ``tail``.

    Attributes:
        text: The pattern as it was written.
        params: Names of the parameters with their place; segments count from 1. For a regex, the numbers of groups.
        tail: Name of the rest, empty when the pattern ends with its last segment.
    """

    __slots__ = ("literal", "params", "regex", "segments", "tail", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.segments: tuple[Segment, ...] = ()
        self.params: tuple[tuple[bytes, int], ...] = ()
        self.tail = b""
        self.literal: bytes | None = None
        self.regex: re.Pattern[bytes] | None = None


def parse_path(text: str) -> PathPattern:
    """Parse a path pattern. Raises PatternError, a ValueError with the column of the mistake."""
    pattern = PathPattern(text)
    if text.startswith("~"):
        pattern.regex = regex = _compile(text[1:], 2)
        names = {number: name.encode() for name, number in regex.groupindex.items()}
        pattern.params = tuple((names.get(n, b"%d" % n), n) for n in range(1, regex.groups + 1))
        return pattern
    if not text.startswith("/"):
        raise PatternError('a path starts with "/", a regular expression with "~"', 1)
    _parse_segments(pattern)
    if not pattern.tail and all(segment.kind == STATIC for segment in pattern.segments):
        pattern.literal = b"/" + b"/".join(segment.text for segment in pattern.segments)
    return pattern


def _parse_segments(pattern: PathPattern) -> None:
    text = pattern.text
    segments: list[Segment] = []
    params: list[tuple[bytes, int]] = []
    start = 1
    while start <= len(text):
        end = _segment_end(text, start)
        piece, last = text[start:end], end == len(text)
        if piece == "*" or (piece.startswith("{*") and piece.endswith("}")):
            pattern.tail = _tail_name(piece, start, last=last)
        elif piece.startswith("{"):
            name, segment = _parse_param(piece, start)
            segments.append(segment)
            params.append((name, len(segments)))
        else:
            segments.append(_parse_static(piece, start, last=last))
        start = end + 1
    if len(segments) > MOST_SEGMENTS:
        raise PatternError(f"more than {MOST_SEGMENTS} segments", 1)
    names = [name for name, _ in params]
    for name in {*names, pattern.tail}:
        if (names + [pattern.tail] * bool(pattern.tail)).count(name) > 1:
            raise PatternError(f"{name.decode()!r} is the name of two parameters", text.rfind(name.decode()) + 1)
    pattern.segments, pattern.params = tuple(segments), tuple(params)


def _segment_end(text: str, start: int) -> int:
    """Where the segment that begins at ``start`` ends: the next slash that is not within braces."""
    at, in_class = start, False
    opened: list[int] = []
    while at < len(text):
        char = text[at]
        if opened and char == "\\":
            at += 1
        elif in_class:
            in_class = char != "]"
        elif opened and char == "[":
            in_class = True
            at += len(re.match(r"\^?\]?", text[at + 1 :]).group())  # type: ignore[union-attr]  # matches always
        elif char == "{":
            opened.append(at)
        elif char == "}":
            if not opened:
                raise PatternError('a "}" without its "{"', at + 1)
            opened.pop()
        elif char == "/" and not opened:
            return at
        at += 1
    if opened:
        raise PatternError('a "{" without its "}"', opened[-1] + 1)
    return len(text)


def _tail_name(piece: str, start: int, *, last: bool) -> bytes:
    if not last:
        raise PatternError('the rest ("*") can only come last; a single segment is written {name}', start + 1)
    name = piece[2:-1]
    if not name:
        return STAR
    if not _NAME.fullmatch(name):
        raise PatternError(f"{name!r} is not a name", start + 3)
    return name.encode()


def _parse_param(piece: str, start: int) -> tuple[bytes, Segment]:
    if _segment_close(piece) != len(piece) - 1:
        raise PatternError("a parameter must be the whole segment; use {name:regex} for a part of it", start + 1)
    name, colon, source = piece[1:-1].partition(":")
    if not _NAME.fullmatch(name):
        raise PatternError(f"{name!r} is not a name", start + 2)
    if not colon:
        return name.encode(), Segment(PARAM)
    column = start + 3 + len(name)
    if "/" in source:
        raise PatternError("a segment holds no slash", column + source.index("/"))
    regex = _compile(source, column)
    return name.encode(), Segment(REGEX, source.encode(), regex)


def _segment_close(piece: str) -> int:
    """Where the brace that ``piece`` starts with is closed: the shortest beginning that is balanced."""
    for at, char in enumerate(piece):
        if char == "}":
            try:
                _segment_end(piece[: at + 1], 0)
            except PatternError:
                continue
            return at
    return -1


def _parse_static(piece: str, start: int, *, last: bool) -> Segment:
    if not piece:
        if last:
            return Segment(STATIC)  # a slash at the end
        raise PatternError("an empty segment: slashes in a row are one in a request", start + 1)
    for char, why in (
        ("*", 'a "*" must be the whole last segment'),
        ("{", "a parameter must be the whole segment; use {name:regex} for a part of it"),
        ("?", 'a path holds no query; use "query:"'),
        ("#", "a request has no fragment"),
    ):
        if char in piece:
            raise PatternError(why, start + 1 + piece.index(char))
    try:
        # Below a folder, ".." leads to the root instead of above it, and both dot segments show in the same way.
        normal = normalise_path(b"/a/" + _NEEDS_ENCODING.sub(_encode, piece.encode()))
    except ProtocolError as error:
        raise PatternError(error.detail, start + 1) from None
    if normal in (b"/", b"/a/"):
        raise PatternError("a dot segment is never in a request that reaches its route", start + 1)
    return Segment(STATIC, normal[3:])


def _encode(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found.group()[0]


def _compile(source: str, column: int) -> re.Pattern[bytes]:
    if not source:
        raise PatternError("an empty regular expression", column)
    if not source.isascii():
        raise PatternError("paths are ASCII: write percent-encodings", column)
    try:
        return re.compile(source.encode())
    except re.error as error:
        raise PatternError(f"not a regular expression: {error.msg}", column + (error.pos or 0)) from None
    except (OverflowError, RecursionError) as error:  # x{99999999999}, and parentheses in parentheses
        raise PatternError(f"not a regular expression: {error}", column) from None


def parse_host(text: str) -> bytes:
    """A host pattern in its normal form: a name, ``*.`` and the end of a name, or ``*`` for every host.

    Raises PatternError, a ValueError with the column of the mistake.
    """
    if text == "*":
        return ANY_HOST
    star = text.startswith("*.")
    name = text[2:] if star else text
    if "*" in name:
        raise PatternError('a "*" can only be the whole first label', text.rindex("*") + 1)
    if name.count(":") > 1 and not name.startswith("["):
        name = f"[{name}]"
    try:
        raw = name.encode() if name.isascii() else name.encode("idna")
        host = parse_authority(raw)
    except (ProtocolError, UnicodeError):
        raise PatternError(f"{text!r} is not a host name", 1) from None
    if raw.rpartition(b"]")[2].count(b":"):
        raise PatternError("a host is written without its port", text.rindex(":") + 1)
    return b"*." + host if star else host
