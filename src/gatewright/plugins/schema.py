"""The JSON Schema of the whole configuration, with every policy that is registered.

Editors complete and check with it. It is a little stricter than the loader (which lets a key stand without a value),
and knows nothing of references: ``gatewright check`` has the last word.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from gatewright.config.gateway import Gateway
from gatewright.plugins.registry import Registry
from gatewright.sdk.policy import Policy
from gatewright.sdk.types import WRITTEN

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
TITLE: Final = "Configuration of Gatewright"

_PLACEHOLDER: Final = {
    "type": "string",
    "pattern": r"\$\{(env|file):[^}]+\}",
    "description": "A value from the environment or from a file: ${env:NAME}, ${env:NAME:-default}, ${file:path}.",
}
_WHEN: Final = {"type": "string", "description": "A CEL expression: the policy runs only where it is true."}
_TO_PLACEHOLDER: Final = {"$ref": "#/$defs/Placeholder"}
_TO_POLICY: Final = {"$ref": "#/$defs/Policy"}
#: What narrows a text down, so that a placeholder would not fit.
_NARROW: Final = frozenset({"pattern", "enum", "format", "minLength", "maxLength"})


class _Generator(GenerateJsonSchema):
    """Shows defaults in their written form and leaves out titles, which only repeat the names."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """``5s`` instead of 5.0."""
        result = super().default_schema(schema)
        if "default" in result:
            result["default"] = _written(result, result["default"])
        return result

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        return False


def _written(schema: JsonSchemaValue, default: Any) -> Any:
    for candidate in (schema, *schema.get("anyOf", ())):
        write = WRITTEN.get(candidate.get("pattern", ""))
        if write is not None and default is not None:
            return write(default)  # type: ignore[operator]
    return default


def configuration_schema(registry: Registry) -> dict[str, Any]:
    """The schema, as JSON values."""
    schema = Gateway.model_json_schema(schema_generator=_Generator, mode="validation")
    definitions = schema.pop("$defs")
    policies = dict(registry.policies)
    for name, policy in policies.items():
        definitions |= _policy_definitions(name, policy)
    definitions["Policy"] = _any_policy(policies)
    schema = _refined(schema)
    definitions = {name: _refined(definition) for name, definition in definitions.items()}
    definitions["Placeholder"] = _PLACEHOLDER
    description = schema.pop("description", "")
    schema.pop("title", None)
    head = {"$schema": DIALECT, "title": TITLE, "description": description}
    return {**head, **schema, "$defs": dict(sorted(definitions.items()))}


def render(schema: dict[str, Any]) -> str:
    """The schema as text: the same one for the same schema."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _policy_definitions(name: str, policy: type[Policy[Any]]) -> dict[str, Any]:
    """The settings of a policy, and all definitions they need, under names of its own."""
    # The generator puts the name of the definition in place of the braces.
    template = f"#/$defs/{name}.{{model}}"
    schema = policy.config.model_json_schema(schema_generator=_Generator, ref_template=template, mode="validation")
    definitions = {f"{name}.{inner}": definition for inner, definition in schema.pop("$defs", {}).items()}
    if "properties" not in schema and "$ref" not in schema:
        schema["properties"] = {}
    if "properties" in schema:
        schema["properties"]["when"] = _WHEN
    schema.pop("title", None)
    summary = (policy.__doc__ or "").strip().split("\n\n")[0]
    schema["description"] = " ".join(summary.split())
    return {f"policy.{name}": schema, **definitions}


def _any_policy(names: Iterable[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": "A policy: one key, its type, with its settings.",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": {
            name: {"anyOf": [{"$ref": f"#/$defs/policy.{name}"}, {"const": "off"}, {"type": "null"}]} for name in names
        },
    }


def _refined(schema: Any) -> Any:
    """The schema with our references, and with room for a placeholder wherever a scalar is narrowed down."""
    if isinstance(schema, list):
        return [_refined(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-gatewright") == "policy":
        return dict(_TO_POLICY)
    refined: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "patternProperties", "$defs"):
            refined[key] = {name: _refined(item) for name, item in value.items()}
        elif key in ("items", "additionalProperties", "anyOf", "oneOf", "allOf", "prefixItems", "not"):
            refined[key] = _refined(value)
        elif key != "title" and not (key == "default" and (value is None or isinstance(value, dict))):
            refined[key] = value
    return _with_placeholder(refined)


def _with_placeholder(schema: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in schema:
        # Each member has got room already; once is enough.
        members: list[Any] = []
        for member in schema["anyOf"]:
            inner = member["anyOf"] if set(member) == {"anyOf"} else [member]
            members += [item for item in inner if item not in members]
        return {**schema, "anyOf": members}
    if not _is_narrow(schema):
        return schema
    outside: dict[str, Any] = {key: schema[key] for key in ("description", "default", "examples") if key in schema}
    inside = {key: value for key, value in schema.items() if key not in outside}
    return {**outside, "anyOf": [inside, _TO_PLACEHOLDER]}


def _is_narrow(schema: dict[str, Any]) -> bool:
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "string" in kinds:
        return not _NARROW.isdisjoint(schema)
    return not {"integer", "number", "boolean"}.isdisjoint(kinds) or "enum" in schema
