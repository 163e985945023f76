"""Validation errors in plain words."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gatewright.config.document import Document, is_secret, suggestion
from gatewright.config.tree import Mapping, Node, Path, Scalar, Sequence

_KINDS: Final = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "bytes_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "dataclass_type": "a mapping (key: value)",
}
_BOUNDS: Final = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_LENGTHS: Final = {
    "too_short": ("at least", "min_length", "members"),
    "too_long": ("at most", "max_length", "members"),
    "string_too_short": ("at least", "min_length", "characters"),
    "string_too_long": ("at most", "max_length", "characters"),
}


def report(
    document: Document,
    error: ValidationError,
    model: type[BaseModel],
    prefix: Path,
    code: str = "config",
) -> None:
    """Turn every error of a validation into a problem at its place below ``prefix``."""
    seen: set[tuple[Path, str]] = set()
    for details in error.errors(include_url=False):
        loc = tuple(part for part in details["loc"] if part != "[key]")
        path = _existing(document, prefix, loc)
        kind = details["type"]
        if (path, kind) in seen and kind not in ("missing", "extra_forbidden"):
            continue  # the other branch of a union says the same about the same place
        seen.add((path, kind))
        if kind == "too_short" and getattr(document.node(path), "items", None):
            continue  # it has members; they are wrong, and reported themselves
        _one(document, details, model, prefix, path, code)


def _one(
    document: Document, details: ErrorDetails, model: type[BaseModel], prefix: Path, path: Path, code: str
) -> None:
    kind, loc = details["type"], details["loc"]
    context = details.get("ctx", {})
    last = str(loc[-1]) if loc else ""
    if kind == "extra_forbidden":
        known = keys_of(model, loc[:-1])
        written = (*prefix, *loc)
        document.problem(
            f"{code}.unknown_key", f"unknown key '{last}'", written, key=True, hint=_keys_hint(last, known)
        )
    elif kind == "missing":
        document.problem(f"{code}.missing_key", f"the key '{last}' is missing", path)
    elif details["loc"] and details["loc"][-1] == "[key]":
        document.problem(f"{code}.value", _text(kind, details, path), path, key=True, hint=str(context.get("hint", "")))
    else:
        hint = str(context.get("hint", "")) or _hint(document, kind, context, details["input"], path)
        document.problem(f"{code}.{_group(kind)}", _text(kind, details, path), path, hint=hint)


def _group(kind: str) -> str:
    return "type" if kind in _KINDS else "value"


def _keys_hint(word: str, known: list[str]) -> str:
    if word == "<<":
        return "merge keys are not part of the language; an alias (*name) may stand for a whole value"
    found = suggestion(word, known)
    if found or not known or len(known) > 24:
        return found
    return f"known keys are {', '.join(known)}"


def _text(kind: str, details: ErrorDetails, path: Path) -> str:
    context = details.get("ctx", {})
    if "message" in context:
        return str(context["message"])
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    name = f"'{name}'" if name else "the configuration"
    if path and isinstance(path[-1], int):
        name = f"a member of {name}"
    if kind in _KINDS:
        return f"{name} must be {_KINDS[kind]}"
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"{name} must be {word} {context[key]}"
    if kind in _LENGTHS:
        return f"{name} must {_length(kind, context)}"
    if kind in ("literal_error", "enum"):
        return f"{name} must be {context['expected']}, not {_shown(details['input'])}"
    if kind == "string_pattern_mismatch":
        pattern = context["pattern"]
        return f"{name} must start with a slash" if pattern == "^/" else f"{name} must match {pattern}"
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", details["msg"]))
    message = details["msg"].replace("Input should be", "must be")
    return f"{name} {message[0].lower()}{message[1:]}"


def _length(kind: str, context: dict[str, Any]) -> str:
    word, key, unit = _LENGTHS[kind]
    amount = context[key]
    return "not be empty" if word == "at least" and amount == 1 else f"have {word} {amount} {unit}"


def _shown(value: object) -> str:
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"'{text[:60]}'"


def _hint(document: Document, kind: str, context: dict[str, Any], value: object, path: Path) -> str:
    if kind in ("literal_error", "enum"):
        choices = [part.strip("'") for part in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return suggestion(str(value), choices)
    node = document.node(path)
    if kind == "string_type" and isinstance(node, Scalar):
        return "put it in quotes" if is_secret(path) else f'put it in quotes: "{node.text}"'
    if kind in ("list_type", "tuple_type", "set_type", "frozen_set_type"):
        if isinstance(node, Scalar) and len(node.text) <= 40:
            return f"write [{node.text}]"
        if isinstance(node, Mapping):
            in_line = _starts_with(node, "{")
            return "put it in brackets: [{…}]" if in_line else "put '- ' in front of each member"
    if kind in ("dict_type", "model_type") and isinstance(node, Sequence) and _starts_with(node, "-"):
        return "take the '- ' away"
    return ""


def _starts_with(node: Node, mark: str) -> bool:
    return node.source.line(node.line)[node.column - 1 :].startswith(mark)


def _existing(document: Document, prefix: Path, loc: Iterable[str | int]) -> Path:
    """The part of the path that stands in the document: branches of unions and unfolded short forms do not."""
    path = prefix
    node = document.node(prefix)
    for part in loc:
        if isinstance(node, Mapping) and part in node.entries:
            node = node.entries[str(part)][1]
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
        elif isinstance(node, (Mapping, Sequence)):
            continue  # a name that pydantic gave to a branch; what follows may stand here
        else:
            break
        path = (*path, part)
    return path


def keys_of(model: type[BaseModel], loc: Iterable[str | int]) -> list[str]:
    """The keys that the model at ``loc`` knows, sorted."""
    candidates: list[Any] = [model]
    for part in loc:
        candidates = [found for candidate in candidates for found in _below(candidate, part)]
    known: set[str] = set()
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            known.update(field.alias or name for name, field in candidate.model_fields.items())
    return sorted(known)


def _below(annotation: Any, part: str | int) -> list[Any]:
    """The types that may stand at ``part`` below a value of this type."""
    if not isinstance(annotation, type) or not issubclass(annotation, BaseModel):
        members = [member for member in typing.get_args(annotation) if member is not ...]
        return [inner for member in members for inner in _unwrap(member)] or [annotation]
    for name, field in annotation.model_fields.items():
        if part in (name, field.alias):
            return _unwrap(field.annotation)
    return [annotation]


def _unwrap(annotation: Any) -> list[Any]:
    """The types behind Annotated and unions; containers stay."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _unwrap(typing.get_args(annotation)[0])
    if origin is typing.Union or origin is types.UnionType:
        return [inner for member in typing.get_args(annotation) for inner in _unwrap(member)]
    return [annotation]
