"""The part of CEL that most conditions are written in, without the library.

::

    or       = and { "||" and }
    and      = unary { "&&" unary }
    unary    = "!" unary | relation
    relation = text ("==" | "!=") text | text "in" "[" literals "]" | literal "in" map
             | text "." ("startsWith" | "endsWith" | "contains") "(" literal ")"
             | status ("==" | "!=" | "<" | "<=" | ">" | ">=") number
             | "has(" map "." name ")" | "true" | "false" | "(" or ")"

where one of two texts is a literal. Whatever else is written makes :func:`parse_simple` return None, and the library
takes the whole expression. Values are compared as octets: a literal without U+FFFD is equal to (begins, ends, is in) a
value read as UTF-8 exactly when its octets are.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from gatewright.proxy.conditions import (
    MAPS,
    TEXTS,
    And,
    Constant,
    Equal,
    Has,
    InGroups,
    Item,
    Not,
    OneOf,
    Or,
    Part,
    Status,
    Unequal,
)

if TYPE_CHECKING:
    from gatewright.proxy.conditions import Condition, Text

_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:"""
    r"""(?P<text>'[^'"\\\r\n\ufffd]*'|"[^'"\\\r\n\ufffd]*")"""
    r"""|(?P<number>(?:0|[1-9][0-9]{0,8})(?![0-9.a-zA-Z_]))"""
    r"""|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"""
    r"""|(?P<sign>&&|\|\||[=!<>]=|[!<>()\[\],.]))"""
)
_SIGNS: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TESTS: dict[str, Callable[[bytes, bytes], bool]] = {
    "startsWith": bytes.startswith,
    "endsWith": bytes.endswith,
    "contains": operator.contains,
}
_CLOSER = {("sign", "!"), ("sign", "("), ("name", "has"), ("name", "true"), ("name", "false")}
#: Words that CEL keeps for itself; the library says whether they may be a key.
_RESERVED = frozenset(
    (
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "null",
        "package",
        "return",
        "true",
        "var",
        "void",
        "while",
    )
)
_SETTLED = ("==", "!=", "<", "<=", ">", ">=", ".", "[", "(")  # after a relation: something this grammar has not


class _TooMuchError(Exception):
    """The expression needs the library."""


def parse_simple(source: str) -> Condition | None:
    """Compile an expression of this part of CEL; None when it needs the library."""
    try:
        return _Parser(source).parse()
    except _TooMuchError:
        return None


class _Parser:
    """Recursive descent over the tokens; the caller bounds the nesting."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, source: str) -> None:
        self._at = 0
        #: (kind, text); an empty kind ends the list.
        self._tokens: list[tuple[str, str]] = []
        at, end = 0, len(source.rstrip(" \t\r\n"))
        while at < end:
            found = _TOKEN.match(source, at)
            if found is None or found.lastgroup is None:
                raise _TooMuchError
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        self._tokens.append(("", ""))

    def parse(self) -> Condition:
        """The whole expression."""
        condition = self._or()
        self._want("", "")
        return condition

    def _take(self, sign: str) -> bool:
        if self._tokens[self._at] == ("sign", sign):
            self._at += 1
            return True
        return False

    def _want(self, kind: str, text: str | None = None) -> str:
        found = self._tokens[self._at]
        if found[0] != kind or text not in (None, found[1]):
            raise _TooMuchError
        self._at += bool(kind)
        return found[1]

    def _or(self) -> Condition:
        condition = self._and()
        while self._take("||"):
            condition = Or(condition, self._and())
        return condition

    def _and(self) -> Condition:
        condition = self._unary()
        while self._take("&&"):
            condition = And(condition, self._unary())
        return condition

    def _unary(self) -> Condition:
        if self._take("!"):
            # "!a == b" is "(!a) == b": only what binds closer than "!" may stand here.
            closer = self._tokens[self._at] in _CLOSER
            condition = self._unary()
            if not closer and not isinstance(condition, Part):
                raise _TooMuchError
            return Not(condition)
        condition = self._relation()
        kind, sign = self._tokens[self._at]
        if (kind == "sign" and sign in _SETTLED) or (kind, sign) == ("name", "in"):
            raise _TooMuchError
        return condition

    def _relation(self) -> Condition:
        if self._take("("):
            condition = self._or()
            self._want("sign", ")")
            return condition
        kind, text = self._tokens[self._at]
        if kind == "text":
            self._at += 1
            return self._after_literal(text[1:-1])
        if kind != "name":
            raise _TooMuchError
        if text in ("true", "false"):
            self._at += 1
            return Constant(text == "true")
        if text == "has":
            return self._has()
        return self._after_name(self._name())

    def _name(self) -> str:
        name = self._want("name")
        self._want("sign", ".")
        return f"{name}.{self._want('name')}"

    def _has(self) -> Condition:
        self._at += 1
        self._want("sign", "(")
        name = self._name()
        self._want("sign", ".")
        key = self._key()
        self._want("sign", ")")
        return self._has_key(name, key)

    def _has_key(self, name: str, key: str) -> Condition:
        if name not in MAPS:
            raise _TooMuchError
        return Has(MAPS[name], key.encode())

    def _after_literal(self, literal: str) -> Condition:
        """``'x' == text``, ``'x' in map``."""
        if self._tokens[self._at] == ("name", "in"):
            self._at += 1
            name = self._name()
            if name == "consumer.groups":
                return InGroups(literal)
            return self._has_key(name, literal)
        sign = self._want("sign")
        if sign not in ("==", "!="):
            raise _TooMuchError
        return (Equal if sign == "==" else Unequal)(self._text(self._name()), literal.encode())

    def _after_name(self, name: str) -> Condition:
        if name == "response.status":
            sign = self._want("sign")
            if sign not in _SIGNS:
                raise _TooMuchError
            return Status(_SIGNS[sign], int(self._want("number")))
        read = self._text(name)
        if self._take("."):
            test = _TESTS.get(self._want("name"))
            if test is None:
                raise _TooMuchError
            self._want("sign", "(")
            value = self._literal()
            self._want("sign", ")")
            return Part(read, test, value)
        if self._tokens[self._at] == ("name", "in"):
            self._at += 1
            return OneOf(read, self._literals())
        sign = self._want("sign")
        if sign not in ("==", "!="):
            raise _TooMuchError
        return (Equal if sign == "==" else Unequal)(read, self._literal())

    def _text(self, name: str) -> Text:
        if name in TEXTS:
            return TEXTS[name]
        if name not in MAPS:
            raise _TooMuchError
        if self._take("["):
            key = self._want("text")[1:-1]
            self._want("sign", "]")
        else:
            self._want("sign", ".")
            key = self._key()
        return Item(MAPS[name], key.encode())

    def _key(self) -> str:
        key = self._want("name")
        if key in _RESERVED:
            raise _TooMuchError
        return key

    def _literal(self) -> bytes:
        return self._want("text")[1:-1].encode()

    def _literals(self) -> frozenset[bytes]:
        self._want("sign", "[")
        values = set()
        if not self._take("]"):
            values.add(self._literal())
            while self._take(","):
                values.add(self._literal())
            self._want("sign", "]")
        return frozenset(values)
