"""Reads the corpus of requests in ``tests/corpus/h1``; its README describes the format."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|\{(\d+)\*([^}]*)\}|([rnt0\\]))")
_PLAIN = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


class Request(NamedTuple):
    """A request as it has to go upstream."""

    method: bytes
    target: bytes
    host: bytes
    body: bytes


class Case(NamedTuple):
    """What a client sends on one connection, and what becomes of it."""

    name: str
    #: Everything the client sends.
    data: bytes
    #: Of the refusal; 0 when nothing is refused.
    status: int = 0
    #: Requests that are answered before the refused one.
    after: int = 0
    #: The refusal comes when a time limit is over.
    waits: bool = False
    #: What goes upstream, when nothing is refused.
    requests: tuple[Request, ...] = ()
    #: Fields that are not forwarded.
    lacks: tuple[bytes, ...] = ()
    #: Whether the connection stays open.
    keeps: bool = False


def _octets(found: re.Match[bytes]) -> bytes:
    if found[1] is not None:
        return bytes.fromhex(found[1].decode())
    if found[2] is not None:
        return decode(found[3]) * int(found[2])
    return _PLAIN[found[4]]


def decode(text: bytes) -> bytes:
    """Replace the escapes."""
    return _ESCAPE.sub(_octets, text)


def read_request(file: Path) -> bytes:
    """The octets of a ``.http`` file."""
    lines = file.read_bytes().split(b"\n")
    return decode(b"".join(line for line in lines if not line.startswith(b"#")))


def read_case(file: Path) -> Case:
    """A ``.http`` file with the ``.expect`` file beside it. Raises ValueError when they are not as they should be."""
    data = read_request(file)
    first, *lines = file.with_suffix(".expect").read_bytes().splitlines()
    if first.isdigit():
        after = next((int(line[6:]) for line in lines if line.startswith(b"after ")), 0)
        return Case(file.stem, data, status=int(first), after=after, waits=b"wait" in lines)
    *lines, end = first, *lines
    if end not in {b"keep", b"close"}:
        raise ValueError(f"{file}: the last line is neither keep nor close")
    requests: list[Request] = []
    lacks: list[bytes] = []
    for line in lines:
        if line.startswith(b"lacks "):
            lacks.append(line[6:])
        else:
            method, target, host, body = (b"" if word == b"-" else decode(word) for word in line.split(b" "))
            requests.append(Request(method, target, host, body))
    return Case(file.stem, data, requests=tuple(requests), lacks=tuple(lacks), keeps=end == b"keep")


def read_corpus(folder: Path) -> list[Case]:
    """All cases of a folder, by name."""
    return [read_case(file) for file in sorted(folder.glob("*.http"))]
