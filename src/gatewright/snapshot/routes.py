"""Routes of the configuration → routes of the snapshot."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from gatewright.config import upstream as written
from gatewright.config.base import Test
from gatewright.config.document import Document, suggestion
from gatewright.config.route import Match, Route, Split, WebSocket
from gatewright.config.tree import Path
from gatewright.proxy.patterns import PathPattern, PatternError, parse_host, parse_path
from gatewright.snapshot import model
from gatewright.snapshot.checking import check_expression
from gatewright.snapshot.policies import Policies
from gatewright.snapshot.upstreams import retries, unknown_upstream

_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_OWN_FIELDS: Final = frozenset({"connection", "content-length", "transfer-encoding", "date"})
_encode = msgspec.json.Encoder(order="sorted").encode


class Routes:
    """Resolves all routes."""

    def __init__(
        self,
        document: Document,
        policies: Policies,
        upstreams: Mapping[str, written.Upstream],
        names: Mapping[str, set[str]],
    ) -> None:
        self._document = document
        self._policies = policies
        self._upstreams = upstreams
        self._names = names
        #: Every path pattern that could be read.
        self.patterns: dict[str, PathPattern] = {}

    def resolve(self, routes: Sequence[tuple[Path, Route]]) -> tuple[model.Route, ...]:
        """All routes, in the order of the file."""
        return tuple(self._one(route, path) for path, route in routes)

    def _one(self, route: Route, path: Path) -> model.Route:
        patterns = self._check_match(route.match, (*path, "match"))
        self._check_action(route, path)
        self._check_references(route, path)
        if route.to is not None:
            self._check_weights(route.to, (*path, "to"))
        self._check_rewrite(route, path, patterns)
        self._check_answers(route, path, patterns)
        resolved = model.Route(
            name=route.name,
            match=_match(route.match),
            priority=route.priority,
            listeners=route.listeners,
            to=tuple(_split(split) for split in route.to or ()),
            redirect=model.Redirect(**route.redirect.model_dump()) if route.redirect is not None else None,
            respond=model.Respond(**route.respond.model_dump()) if route.respond is not None else None,
            rewrite=model.Rewrite(**route.rewrite.model_dump()) if route.rewrite is not None else None,
            timeout=route.timeout,
            timeouts=self._timeouts(route),
            retries=retries(route.retries) if route.retries is not None else None,
            max_body=route.limits.body,
            websocket=route.websocket is not None,
            websocket_idle=route.websocket.idle_timeout if route.websocket is not None else WebSocket().idle_timeout,
            websocket_message=route.websocket.max_message if route.websocket is not None else None,
            sse_heartbeat=route.sse.heartbeat,
            grpc_methods=route.grpc.count_methods,
            policies=self._policies.of(route, path),
            metadata=route.metadata,
        )
        return msgspec.structs.replace(resolved, digest=_digest(resolved))

    def _timeouts(self, route: Route) -> model.Timeouts | None:
        if route.timeouts is None:
            return None
        base = self._upstreams.get(route.to[0].upstream) if route.to else None
        values: dict[str, Any] = base.timeouts.model_dump() if base is not None else {}
        values.update({key: getattr(route.timeouts, key) for key in route.timeouts.model_fields_set})
        return model.Timeouts(**values)

    # --- match ----------------------------------------------------------------------------------------------------

    def _check_match(self, match: Match, path: Path) -> list[PathPattern]:
        """Report what is wrong; returns the patterns that could be read."""
        for index, host in enumerate(match.hosts):
            try:
                parse_host(host)
            except PatternError as error:
                self._pattern_problem(error, (*path, "hosts", index))
        patterns = []
        for index, pattern in enumerate(match.paths):
            try:
                parsed = self.patterns.get(pattern)
                if parsed is None:
                    parsed = self.patterns[pattern] = parse_path(pattern)
                patterns.append(parsed)
            except PatternError as error:
                self._pattern_problem(error, (*path, "paths", index))
        for kind in ("headers", "query", "cookies"):
            self._check_tests(getattr(match, kind), (*path, kind))
        if match.when:
            check_expression(self._document, match.when, (*path, "when"))
        return patterns

    def _pattern_problem(self, error: PatternError, path: Path) -> None:
        message = str(error).rpartition(" (column")[0]
        self._document.problem("config.pattern", message, path, column=error.column)

    def _check_tests(self, tests: Mapping[str, Test], path: Path) -> None:
        for name, test in tests.items():
            if test.regex is None:
                continue
            try:
                re.compile(test.regex.encode())
            except re.error as error:
                message = f"not a regular expression over bytes: {error}"
                self._document.problem("config.pattern", message, (*path, name))

    # --- references -----------------------------------------------------------------------------------------------

    def _check_references(self, route: Route, path: Path) -> None:
        listeners = self._names["listeners"]
        for index, name in enumerate(route.listeners):
            if name not in listeners:
                message = f"there is no listener '{name}'"
                hint = suggestion(name, sorted(listeners)) or f"listeners are {', '.join(sorted(listeners)[:12])}"
                self._document.problem("config.unknown_listener", message, (*path, "listeners", index), hint=hint)
        for index, split in enumerate(route.to or ()):
            if split.upstream not in self._names["upstreams"]:
                place = (*path, "to", index, "upstream")
                unknown_upstream(self._document, split.upstream, place, self._names["upstreams"])

    def _check_weights(self, splits: Sequence[Split], path: Path) -> None:
        if not any(split.weight for split in splits):
            message = "every upstream has the weight 0, so none would ever be used"
            self._document.problem("config.weights", message, path, key=True)
        for index, split in enumerate(splits):
            for kind in ("headers", "cookies"):
                self._check_tests(getattr(split, kind), (*path, index, kind))

    # --- actions --------------------------------------------------------------------------------------------------

    def _check_action(self, route: Route, path: Path) -> None:
        given = [key for key in ("to", "redirect", "respond") if key in self._written(path)]
        if not given:
            message = f"the route '{route.name}' does not say what is done"
            self._document.problem("config.action", message, path, hint="give it one of to, redirect and respond")
        for other in given[1:]:
            message = f"a route has one of to, redirect and respond, and this one already has '{given[0]}'"
            self._document.problem("config.action", message, (*path, other), key=True)
        if given and given[0] != "to":
            for key in ("rewrite", "timeout", "timeouts", "retries"):
                if key in self._written(path):
                    message = f"'{key}' has no meaning with '{given[0]}'"
                    self._document.problem("config.conflict", message, (*path, key), key=True)

    def _written(self, path: Path) -> Mapping[str, Any]:
        value: Any = self._document.data
        for part in path:
            value = value[part]
        return {key: item for key, item in value.items() if item is not None}

    def _check_rewrite(self, route: Route, path: Path, patterns: list[PathPattern]) -> None:
        rewrite, place = route.rewrite, (*path, "rewrite")
        if rewrite is None:
            return
        given = sorted(rewrite.model_fields_set - {"host", "replacement"})
        alone = next((key for key in ("path", "regex") if key in given), None)
        for key in given:
            if alone is not None and key != alone:
                message = f"'{key}' and '{alone}' cannot stand together"
                self._document.problem("config.conflict", message, (*place, key), key=True)
        if rewrite.regex is None and "replacement" in rewrite.model_fields_set:
            message = "'replacement' needs 'regex'"
            self._document.problem("config.conflict", message, (*place, "replacement"), key=True)
        if rewrite.path is not None:
            self._check_placeholders(rewrite.path, patterns, (*place, "path"))
        if rewrite.regex is not None:
            self._check_placeholders(rewrite.replacement, patterns, (*place, "replacement"))
            self._check_replacement(rewrite.regex, rewrite.replacement, place)

    def _check_replacement(self, regex: str, replacement: str, place: Path) -> None:
        try:
            compiled = re.compile(regex.encode())
        except re.error as error:
            message = f"not a regular expression over bytes: {error}"
            self._document.problem("config.pattern", message, (*place, "regex"))
            return
        try:
            # Reads the replacement and its groups, whether or not anything matches.
            compiled.sub(replacement.encode(), b"")
        except (re.error, IndexError) as error:
            message = f"not a replacement for this regular expression: {error}"
            self._document.problem("config.pattern", message, (*place, "replacement"))

    def _check_answers(self, route: Route, path: Path, patterns: list[PathPattern]) -> None:
        if route.redirect is not None:
            place = (*path, "redirect", "to")
            self._check_placeholders(route.redirect.to, patterns, place, more=("query",))
            if not re.match(r"/|https?://|\{", route.redirect.to):
                message = "a redirect leads to a path or to an http address"
                self._document.problem("config.value", message, place, hint=f"write /{route.redirect.to}")
        if route.respond is not None:
            place = (*path, "respond")
            if route.respond.status in (204, 304) and route.respond.body:
                message = f"an answer with status {route.respond.status} has no body"
                self._document.problem("config.conflict", message, (*place, "body"), key=True)
            for name in route.respond.headers:
                if name in _OWN_FIELDS:
                    message = f"the header field '{name}' is the gateway's own"
                    self._document.problem("config.value", message, (*place, "headers", name), key=True)

    def _check_placeholders(
        self, text: str, patterns: Iterable[PathPattern], path: Path, more: tuple[str, ...] = ()
    ) -> None:
        for found in _PLACEHOLDER.finditer(text):
            name = found[1]
            if name in more:
                continue
            for pattern in patterns:
                known = [param.decode() for param, _ in pattern.params]
                known += [pattern.tail.decode()] if pattern.tail else []
                if name not in known:
                    message = f"the path {pattern.text} has no {{{name}}}"
                    shown = ", ".join(f"{{{param}}}" for param in [*known, *more])
                    hint = suggestion(name, known) or (f"it has {shown}" if shown else "it has no parameters")
                    self._document.problem("config.placeholder", message, path, hint=hint, column=found.start() + 1)
                    break


def _digest(route: model.Route) -> str:
    """Stands for the whole route, but not for what its upstreams are."""
    return hashlib.sha256(_encode(route)).hexdigest()


def _predicates(tests: Mapping[str, Test]) -> tuple[model.Predicate, ...]:
    return tuple(model.Predicate(name, test.value, test.regex, test.absent) for name, test in tests.items())


def _split(split: Split) -> model.Split:
    return model.Split(split.upstream, split.weight, _predicates(split.headers), _predicates(split.cookies))


def _match(match: Match) -> model.Match:
    return model.Match(
        hosts=tuple(host.lower() for host in match.hosts),
        paths=match.paths,
        methods=match.methods,
        headers=_predicates(match.headers),
        query=_predicates(match.query),
        cookies=_predicates(match.cookies),
        sources=match.sources,
        when=match.when,
    )
