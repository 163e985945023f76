"""The rules of the request path that a script can check (CONTRIBUTING.md, "Hot code").

Refused in http/, wire/, proxy/, worker/net/ and the built-in policies: ``async def``, functions and lambdas made
inside functions, ``suppress``, ``@property`` on classes with slots, frozen dataclasses, logging that is not under an
``if``, classes without ``__slots__``, and functions of more than 50 statements. ``# cold: reason`` on a ``def`` or
``class`` line, or on the line above, says that a request does not come here and lifts the rules for that block.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SRC = Path(__file__).resolve().parents[1] / "src" / "gatewright"
HOT = ("http", "wire", "proxy", "worker/net", "policies")
MOST_STATEMENTS = 50
SLOTLESS_BASES = ("Protocol", "Struct", "PolicyConfig", "BaseModel", "Exception", "Error", "NamedTuple", "TypedDict")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def statements(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many statements a function has, its docstring not counted."""
    found = sum(isinstance(inner, ast.stmt) for inner in ast.walk(node)) - 1
    return found - 1 if ast.get_docstring(node) else found


def has_slots(node: ast.ClassDef) -> bool:
    """Whether the class is small in memory, or is of a kind that cannot have or does not need slots."""
    bases = [ast.unparse(base) for base in node.bases]
    if any(base.split("[")[0].endswith(SLOTLESS_BASES) for base in bases):
        return True
    decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
    names = [t.id for s in node.body if isinstance(s, ast.Assign) for t in s.targets if isinstance(t, ast.Name)]
    return "slots=True" in decorators or "__slots__" in names


class Checker(ast.NodeVisitor):
    """Walks one file and collects what it finds."""

    def __init__(self, source: str) -> None:
        self.source = source.splitlines()
        self.found: list[tuple[int, str]] = []
        self.inside: list[ast.AST] = []

    def say(self, node: ast.AST, text: str) -> None:
        """Note a finding at the line of ``node``."""
        self.found.append((getattr(node, "lineno", 0), text))

    def visit(self, node: ast.AST) -> None:
        """Check one node, then what is in it."""
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            first = min(part.lineno for part in [node, *node.decorator_list])
            head = "\n".join(self.source[max(0, first - 2) : node.body[0].lineno - 1])
            if "# cold:" in head:
                return
        self.check(node)
        self.inside.append(node)
        self.generic_visit(node)
        self.inside.pop()

    def check(self, node: ast.AST) -> None:
        """All rules."""
        in_function = any(isinstance(outer, FUNCTIONS) for outer in self.inside)
        if isinstance(node, ast.AsyncFunctionDef):
            self.say(node, f"async def {node.name}: a coroutine costs more than the hook")
        if in_function and isinstance(node, (*FUNCTIONS, ast.Lambda)):
            self.say(node, "a function made inside a function, once a call")
        if isinstance(node, FUNCTIONS):
            self.check_function(node)
        if isinstance(node, ast.ClassDef):
            if not has_slots(node):
                self.say(node, f"class {node.name} has no __slots__")
            if any("frozen=True" in ast.unparse(decorator) for decorator in node.decorator_list):
                self.say(node, f"class {node.name}: a frozen dataclass costs three times a plain object")
        if isinstance(node, ast.Call):
            self.check_call(node)

    def check_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Size, and properties on hot objects."""
        number = statements(node)
        if number > MOST_STATEMENTS and node.name != "__init__":  # which sets every slot, one a line
            self.say(node, f"{node.name} has {number} statements, at most {MOST_STATEMENTS}: cold code goes elsewhere")
        owner = self.inside[-1] if self.inside else None
        interface = isinstance(owner, ast.ClassDef) and "Protocol" in [ast.unparse(base) for base in owner.bases]
        if not interface and any(ast.unparse(decorator) == "property" for decorator in node.decorator_list):
            self.say(node, f"property {node.name}: costs twice an attribute")

    def check_call(self, node: ast.Call) -> None:
        """Calls that have a cheaper form."""
        called = ast.unparse(node.func)
        if called.split(".")[-1] == "suppress":
            self.say(node, "suppress() costs twelve times a try")
        if called.startswith(("logger.", "log.")) and not any(isinstance(outer, ast.If) for outer in self.inside):
            self.say(node, "logging that is not under an if")


def findings(source: str) -> Iterator[tuple[int, str]]:
    """What is wrong in this source, in line order."""
    checker = Checker(source)
    checker.visit(ast.parse(source))
    yield from sorted(checker.found)


def main() -> int:
    """Check all hot files; 1 when something was found."""
    count = 0
    for folder in HOT:
        for path in sorted((SRC / folder).rglob("*.py")):
            for line, text in findings(path.read_text(encoding="utf-8")):
                count += 1
                print(f"{path.relative_to(SRC.parents[1])}:{line}: {text}")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
