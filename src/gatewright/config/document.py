"""A configuration as plain data, with the way back from every value to its place, and what is wrong with it."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any, Final

from gatewright.config.interpolate import CannotInterpolate, Interpolator
from gatewright.config.tree import Mapping, Node, Path, Scalar, Sequence, problem_at, resolve_plain
from gatewright.errors import Problem

MOST_PROBLEMS: Final = 1000

_KEPT_BACK: Final = r"(?:api_key|token|(?:password|secret)(?:_hash|_base64)?|[a-z_]+_(?:secret|password|token))"
_SECRET_VALUE: Final = re.compile(
    rf"""\b({_KEPT_BACK}["']?\s*[:=]\s*)"""
    r"""(?!["']?\$\{|[{\[&*|>])("(?:[^"\\]|\\.)*"|'[^']*'|[^,}\]\#\s]+)"""
)


def suggestion(word: str, choices: list[str]) -> str:
    """``did you mean 'x'?`` for the nearest of the choices, or nothing."""
    lowered = {choice.lower(): choice for choice in choices}
    found = get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.6 if len(word) > 5 else 0.72)
    return f"did you mean '{lowered[found[0]]}'?" if found else ""


def is_secret(path: Path) -> bool:
    """Whether the value there is one that no report shows."""
    return bool(path) and re.fullmatch(_KEPT_BACK, str(path[-1])) is not None


def written_path(path: Path) -> str:
    """``routes[3].match.paths[0]``."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z0-9_-]+", part):
            out += f".{part}" if out else part
        else:
            out += f"[{part!r}]"
    return out


class Document:
    """The merged tree, its data and the problems found so far."""

    def __init__(self, root: Mapping, interpolator: Interpolator) -> None:
        self.root = root
        self.interpolator = interpolator
        self.problems: list[Problem] = []
        self.left_out = 0
        self._unfilled: set[int] = set()  # nodes whose placeholder could not be filled: nothing else counts there
        self.data: dict[str, Any] = self._mapping(root, ())

    # --- places ---------------------------------------------------------------------------------------------------

    def node(self, path: Path, *, key: bool = False) -> Node:
        """The node at ``path``, or the nearest one above it that exists; with ``key`` the last key itself."""
        node: Node = self.root
        for depth, part in enumerate(path):
            if isinstance(node, Mapping) and part in node.entries:
                name, value = node.entries[str(part)]
                if key and depth == len(path) - 1:
                    return name
                node = value
            elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
                node = node.items[part]
            else:
                break
        return node

    def base(self, path: Path) -> FilePath:
        """The folder of the file in which the value at ``path`` stands: what relative paths are relative to."""
        return folder_of(self.node(path))

    # --- problems -------------------------------------------------------------------------------------------------

    def problem(
        self,
        code: str,
        message: str,
        path: Path,
        *,
        key: bool = False,
        hint: str = "",
        severity: str = "error",
        related: list[str] | None = None,
        column: int = 0,
    ) -> None:
        """Report something that is wrong at ``path``; ``column`` counts from 1 within the text that stands there."""
        node = self.node(path, key=key)
        if id(node) in self._unfilled:
            return
        problem = problem_at(node, code, message, hint, related)
        if column and isinstance(node, Scalar) and "\n" not in node.text:
            # Only where the text stands as it is: behind an escape or a placeholder the columns are others.
            start = problem.source.find(node.text, node.column - 1)
            if node.column - 1 <= start <= node.column:
                problem.column = start + column
        self.add(problem, path, severity)

    def add(self, problem: Problem, path: Path = (), severity: str = "error") -> None:
        """Keep a problem, with everything secret taken out of it."""
        if len(self.problems) >= MOST_PROBLEMS:
            self.left_out += 1
            return
        problem.path = written_path(path)
        problem.severity = severity
        problem.source, problem.column = _masked(problem.source, problem.column)
        for value, placeholder in self.interpolator.secrets.items():
            problem.message = problem.message.replace(value, placeholder)
            problem.hint = problem.hint.replace(value, placeholder)
        self.problems.append(problem)

    def all_problems(self) -> list[Problem]:
        """Errors first, then warnings, each in the order of the files; the last says how many were left out."""
        ordered = sorted(self.problems, key=lambda p: (p.severity != "error", p.file, p.line, p.column))
        if self.left_out:
            ordered.append(Problem("config.limits", f"{self.left_out} more problems are not shown"))
        return ordered

    # --- data -----------------------------------------------------------------------------------------------------

    def _value(self, node: Node, path: Path) -> Any:
        if isinstance(node, Scalar):
            if "${" in node.text:
                return self._fill(node, path)
            return resolve_plain(node.text) if node.plain else node.text
        if isinstance(node, Mapping):
            return self._mapping(node, path)
        if isinstance(node, Sequence):
            return [self._value(item, (*path, i)) for i, item in enumerate(node.items)]
        raise TypeError(f"not a value: {node!r}")

    def _mapping(self, node: Mapping, path: Path) -> dict[str, Any]:
        return {name: self._value(value, (*path, name)) for name, (_, value) in node.entries.items()}

    def _fill(self, node: Scalar, path: Path) -> str:
        try:
            return self.interpolator.fill(node.text, folder_of(node))
        except CannotInterpolate as error:
            self.problem("config.interpolation", str(error), path, hint=error.hint)
            self._unfilled.add(id(node))
            return node.text


def _masked(source: str, column: int) -> tuple[str, int]:
    """The line without secret values, and where the column has moved to."""
    out, end, moved = "", 0, column
    for found in _SECRET_VALUE.finditer(source):
        out += f"{source[end : found.start()]}{found[1]}***"
        end = found.end()
        if end < column:
            moved -= len(found[2]) - 3
    return out + source[end:], moved


def folder_of(node: Node) -> FilePath:
    """The folder of the file that the node stands in; the current one for what comes from the environment."""
    return FilePath(node.source.name).parent if node.line else FilePath()
