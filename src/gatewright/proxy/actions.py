"""What a route does beside forwarding: redirect, fixed answer, rewrite of the path, choice between upstreams."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING

from gatewright.http.reply import Reply
from gatewright.http.target import normalise_path
from gatewright.proxy.predicates import compile_tests
from gatewright.snapshot.model import Match

if TYPE_CHECKING:
    from gatewright.proxy.endpoints import Upstream
    from gatewright.proxy.exchange import Exchange
    from gatewright.snapshot.model import Redirect, Respond, Rewrite, Split

_PLACE = re.compile(r"\{(\*|[A-Za-z_][A-Za-z0-9_]*|query|host)\}")


class Template:
    """Text with ``{param}`` places for path parameters; also ``{*}``, ``{host}`` and ``{query}``."""

    __slots__ = ("_pieces",)

    def __init__(self, text: str) -> None:
        pieces = _PLACE.split(text)
        #: Literal text, then a name, then literal text …
        self._pieces = tuple(piece.encode() for piece in pieces)

    def render(self, ex: Exchange) -> bytes:
        """Fill in what the request says. Parameters are still percent-encoded, as they came."""
        pieces = self._pieces
        if len(pieces) == 1:
            return pieces[0]
        out = [pieces[0]]
        for i in range(1, len(pieces), 2):
            out.append(_value(ex, pieces[i]))
            out.append(pieces[i + 1])
        return b"".join(out)


def _value(ex: Exchange, name: bytes) -> bytes:
    if name == b"query":
        return ex.request.query or b""
    if name == b"host":
        return ex.request.host
    return ex.params.get(name, b"")


class RedirectAction:
    """Answers with a redirect."""

    __slots__ = ("_keep_query", "_status", "_template")

    def __init__(self, spec: Redirect) -> None:
        self._status = spec.status
        self._template = Template(spec.to)
        self._keep_query = spec.keep_query and "{query}" not in spec.to and "?" not in spec.to

    def __call__(self, ex: Exchange) -> Reply:
        """The redirect for this request."""
        location = self._template.render(ex)
        if location[:2] in {b"//", b"/\\"}:  # would name another host: an open redirect made of a parameter
            location = b"/" + location.lstrip(b"/\\")
        if self._keep_query and ex.request.query:
            location += b"?" + ex.request.query
        return Reply(self._status, "", ((b"location", location),), b"")


class FixedAction:
    """Answers always the same."""

    __slots__ = ("_reply",)

    def __init__(self, spec: Respond) -> None:
        headers = {name.lower().encode(): value.encode() for name, value in spec.headers.items()}
        content_type = headers.pop(b"content-type", b"text/plain; charset=utf-8")
        self._reply = Reply(spec.status, "", tuple(headers.items()), spec.body.encode(), content_type)

    def __call__(self, ex: Exchange) -> Reply:
        """The answer."""
        return self._reply


def no_route(ex: Exchange) -> Reply:
    """The answer where no route takes the request: 404, or 405 with Allow."""
    status, allow = ex.listener.router.refusal(ex)
    if status == 405:
        return Reply(405, "route.method", ((b"allow", allow),), detail="The method is not allowed here")
    return Reply(404, "route.none", detail="No route matches")


class PathRewrite:
    """Changes the path that goes upstream."""

    __slots__ = ("_add", "_path", "_pattern", "_replacement", "_strip")

    def __init__(self, spec: Rewrite) -> None:
        self._path = Template(spec.path) if spec.path is not None else None
        self._strip = (spec.strip_prefix or "").rstrip("/").encode()
        self._add = (spec.add_prefix or "").rstrip("/").encode()
        self._pattern = re.compile(spec.regex.encode()) if spec.regex else None
        #: Text with groups of the match, then the name of a parameter, then text …
        self._replacement = tuple(piece.encode() for piece in _PLACE.split(spec.replacement))

    def __call__(self, ex: Exchange) -> bytes:
        """The path for the upstream; normalised again, for a parameter may hold what a prefix made dangerous."""
        path = ex.request.path
        if self._path is not None:
            path = self._path.render(ex)
        if (
            self._strip
            and path.startswith(self._strip)
            and path[len(self._strip) : len(self._strip) + 1] in {b"/", b""}
        ):
            path = path[len(self._strip) :] or b"/"
        if self._pattern is not None:
            found = self._pattern.search(path)
            if found is not None:
                path = path[: found.start()] + self._replace(found, ex) + path[found.end() :]
        path = self._add + path
        if path[:1] != b"/":
            path = b"/" + path
        return normalise_path(path)

    def _replace(self, found: re.Match[bytes], ex: Exchange) -> bytes:
        pieces = self._replacement
        return b"".join([_value(ex, piece) if i % 2 else found.expand(piece) for i, piece in enumerate(pieces)])


class SplitChoice:
    """Chooses by header or cookie where one says so, else by weight."""

    __slots__ = ("_bounds", "_overrides", "_rand", "_total", "_upstreams")

    def __init__(self, splits: tuple[Split, ...], upstreams: dict[str, Upstream], rand: Callable[[], float]) -> None:
        self._upstreams = [upstreams[split.upstream] for split in splits]
        self._bounds = list(accumulate(split.weight for split in splits))
        self._total = self._bounds[-1]
        self._rand = rand
        self._overrides = [
            (compile_tests(Match(headers=split.headers, cookies=split.cookies)), upstreams[split.upstream])
            for split in splits
            if split.headers or split.cookies
        ]

    def __call__(self, ex: Exchange) -> Upstream:
        """The upstream for this request."""
        for tests, upstream in self._overrides:
            if all(test(ex) for test in tests):
                return upstream
        return self._upstreams[bisect_right(self._bounds, self._rand() * self._total)]
