"""Finding and removing single cookies and query parameters, without building a dictionary of all of them."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from gatewright.http.headers import Headers


def cookies(headers: Headers, name: bytes) -> list[bytes]:
    """Every value of the cookie ``name``, in order (RFC 6265 section 5.4)."""
    found: list[bytes] = []
    prefix = name + b"="
    for line in headers.all(b"cookie"):
        if prefix in line:
            found += [part[len(prefix) :] for part in _parts(line) if part.startswith(prefix)]
    return found


def drop_cookie(headers: Headers, name: bytes) -> None:
    """Remove every cookie of that name; the other cookies stay."""
    lines = headers.all(b"cookie")
    prefix = name + b"="
    kept = [b"; ".join(part for part in _parts(line) if not part.startswith(prefix)) for line in lines]
    headers.drop(b"cookie")
    for line in kept:
        if line:
            headers.add(b"cookie", line)


def query_values(query: bytes | None, name: bytes) -> list[bytes]:
    """Every value of the query parameter ``name``, decoded. ``+`` is a space, as in forms."""
    if not query:
        return []
    found: list[bytes] = []
    for part in query.split(b"&"):
        key, _, value = part.partition(b"=")
        if _decoded(key) == name:
            found.append(_decoded(value))
    return found


def drop_query(query: bytes | None, name: bytes) -> bytes | None:
    """The query without every parameter of that name, otherwise unchanged; None when nothing is left."""
    if not query:
        return query
    return b"&".join(part for part in query.split(b"&") if _decoded(part.partition(b"=")[0]) != name) or None


def _parts(line: bytes) -> list[bytes]:
    return [part.strip(b" \t") for part in line.split(b";")]


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" ")) if b"%" in text or b"+" in text else text
