"""Expressions of ``when:`` and of policies: CEL (https://cel.dev) over an exchange.

Most expressions in use are comparisons joined by ``&&`` and ``||``. Those are compiled to small Python objects that
read the bytes of the exchange (:mod:`gatewright.proxy.conditions`), about 50 times as fast as the library. All others
go to the library, which gets only the values that the expression names. A property test holds the two to the same
results.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any, TypeAlias

from gatewright.proxy.simple import parse_simple
from gatewright.proxy.values import BUILD, FIELDS

if TYPE_CHECKING:
    from types import ModuleType

    from gatewright.sdk.exchange import ExchangeView

#: Longer ones are a mistake; very deep ones would exhaust the stack of the parser.
MOST_CHARACTERS = 4096
MOST_NESTING = 64

_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)")
#: String literals and comments: what stands there is no name.
_TEXT = re.compile(
    r"""[rR]?(?:\'{3}.*?\'{3}|"{3}.*?"{3})|[rR](?:'[^'\n]*'|"[^"\n]*")|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|//[^\n]*""",
    re.DOTALL,
)
_FIELD = re.compile(r"\s*\.\s*([A-Za-z_][A-Za-z0-9_]*)")
#: Names that a macro binds within its own brackets: ``list.exists(x, ...)``.
_BOUND = re.compile(r"\.\s*(?:all|exists|exists_one|existsOne|map|filter)\s*\(\s*([A-Za-z_][A-Za-z0-9_]*)\s*,")
#: What an evaluation may raise; the library translates its errors to these.
_FAILURES = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


class ExpressionError(ValueError):
    """An expression that cannot be read. ``line`` and ``column`` count from 1 within the expression."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        place = f"column {column}" if line == 1 else f"line {line}, column {column}"
        super().__init__(f"{message} ({place} of the expression)")
        self.line = line
        self.column = column


class Expression:
    """A compiled expression. Call it with an exchange.

    Attributes:
        source: The expression as it was written.
        simple: Whether it needs no library.
    """

    __slots__ = ("_evaluate", "simple", "source")

    def __init__(self, source: str, evaluate: Callable[[ExchangeView], Any], *, simple: bool) -> None:
        self.source = source
        self.simple = simple
        self._evaluate = evaluate

    def __call__(self, ex: object) -> Any:
        """The value for an exchange. Raises ValueError when it cannot be evaluated (a key that is not there)."""
        return self._evaluate(ex)  # type: ignore[arg-type]  # the SDK leaves open what an exchange is

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"


Builder: TypeAlias = "tuple[str, Callable[[ExchangeView, frozenset[str]], dict[str, Any] | None], frozenset[str]]"


class _Program:
    """An expression evaluated by the library."""

    __slots__ = ("_builders", "_program")

    def __init__(self, program: Any, builders: tuple[Builder, ...]) -> None:
        self._program = program
        self._builders = builders

    def __call__(self, ex: ExchangeView) -> Any:
        """Evaluate."""
        try:
            values = {name: build(ex, fields) for name, build, fields in self._builders}
            return self._program.execute({name: value for name, value in values.items() if value is not None})
        except _FAILURES as error:
            raise ValueError(str(error)) from None


@lru_cache(maxsize=1024)
def compile_expression(source: str) -> Expression:
    """Compile an expression.

    Raises:
        ExpressionError: a ValueError with the place of the mistake, for what is not CEL and for unknown names.
    """
    _check_size(source)
    simple = parse_simple(source)
    return compile_by_library(source) if simple is None else Expression(source, simple, simple=True)


def compile_by_library(source: str) -> Expression:
    """The same, always with the library: what the quick way is held to. Raises ExpressionError."""
    _check_size(source)
    try:
        program = _library().compile(source)
    except ValueError as error:
        raise _explain(str(error)) from None
    code = _TEXT.sub(_blank, source)
    bound = set(_BOUND.findall(code))
    names = [name for name in program.variables() if name not in bound or name in BUILD]
    for name in names:
        if name not in BUILD:
            raise ExpressionError(f"unknown name {name!r}; there are {', '.join(BUILD)}", *_place(code, name))
    builders = tuple((name, BUILD[name], _fields(code, name)) for name in names)
    return Expression(source, _Program(program, builders), simple=False)


def _blank(found: re.Match[str]) -> str:
    return "".join(char if char == "\n" else " " for char in found[0])


def _check_size(source: str) -> None:
    if not source.strip():
        raise ExpressionError("the expression is empty")
    if len(source) > MOST_CHARACTERS:
        raise ExpressionError(f"longer than {MOST_CHARACTERS} characters", 1, MOST_CHARACTERS)
    depth = 0
    for column, char in enumerate(source, 1):
        depth += (char in "([{!-?") - (char in ")]}")
        if depth > MOST_NESTING:
            raise ExpressionError(f"nested deeper than {MOST_NESTING}", 1, column)


def _fields(source: str, name: str) -> frozenset[str]:
    """Which fields of a name are used; all of them when one use does not say which."""
    known = FIELDS[name]
    used = set()
    for found in re.finditer(rf"(?<![.\w]){name}\b", source):
        field = _FIELD.match(source, found.end())
        if field is None:
            return known
        if known and field.group(1) not in known:
            message = f"{name} has no {field.group(1)!r}; it has {', '.join(sorted(known))}"
            raise ExpressionError(message, *_line_column(source, field.start(1)))
        used.add(field.group(1))
    return frozenset(used) if known else known


def _place(source: str, name: str) -> tuple[int, int]:
    found = re.search(rf"(?<![.\w]){re.escape(name)}\b", source)
    return _line_column(source, found.start() if found else 0)


def _line_column(source: str, at: int) -> tuple[int, int]:
    return source.count("\n", 0, at) + 1, at - source.rfind("\n", 0, at)


def _explain(message: str) -> ExpressionError:
    """Put the library's message into one line."""
    found = _ERROR.search(message)
    if found is None:
        return ExpressionError(message.partition("\n")[0])
    text = found[3].partition(" expecting ")[0]
    text = "the expression ends too early" if "<EOF>" in text else text.replace("extraneous input", "unexpected")
    return ExpressionError(text, int(found[1]), int(found[2]))


def _library() -> ModuleType:
    """The extension module of the package ``cel``, without the package.

    ``import cel`` also brings in its command line with rich, typer and prompt_toolkit: 440 modules, 27 MB and 0.9 s
    in every process. The extension alone is 4 MB and 30 ms.
    """
    module = sys.modules.get("cel.cel")
    if module is None:
        package = importlib.util.find_spec("cel")
        spec = PathFinder.find_spec("cel.cel", package.submodule_search_locations) if package else None
        if spec is None or spec.loader is None:
            raise ExpressionError("the package common-expression-language is not installed")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules["cel.cel"] = module  # who imports the whole package later gets the same
    return module
