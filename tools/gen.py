"""Writes what is generated from the code; see scripts/gen.

* ``schema/gateway.schema.json``
* the tables between ``<!-- generated: NAME -->`` and ``<!-- end generated -->`` in ``docs/``
* the expected reports in ``tests/golden/*.case``
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gatewright.plugins.registry import Registry
from gatewright.plugins.schema import configuration_schema, render
from gatewright.policies import BUILTIN
from golden import all_cases

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "schema" / "gateway.schema.json"
SECTION = re.compile(r"(<!-- generated: ([\w.]+) -->\n).*?(<!-- end generated -->)", re.DOTALL)


def written(schema: dict[str, Any]) -> str:
    """The type of a value, in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return "" if name == "Placeholder" else "policy" if name == "Policy" else "mapping"
    if "anyOf" in schema:
        parts = [written(member) for member in schema["anyOf"]]
        return " or ".join(dict.fromkeys(part for part in parts if part and part != "nothing"))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join({"boolean": "true or false", "string": "text"}.get(each, str(each)) for each in kind)
    if kind == "array":
        inner = written(schema.get("items", {}))
        return f"list of {inner}" if inner else "list"
    return _scalar(schema, kind)


def _scalar(schema: dict[str, Any], kind: str | None) -> str:
    pattern = schema.get("pattern", "")
    for mark, name in (("(ms|s|m|h|d)$", "duration"), ("MiB", "size"), (")%$", "share"), ("/(", "rate")):
        if mark in pattern:
            return "rate" if "/(" in pattern else name
    names = {"string": "text", "integer": "number", "number": "number", "boolean": "true or false"}
    return {**names, "object": "mapping", "null": "nothing"}.get(kind or "", "")


def default(schema: dict[str, Any], *, required: bool) -> str:
    """The default as it would be written."""
    if required:
        return "**required**"
    value = schema.get("default")
    if value is None or value in ({}, [], ""):
        return ""
    if isinstance(value, list):
        inner = ["-".join(map(str, item)) if isinstance(item, list) else str(item) for item in value]
        return f"`[{', '.join(inner)}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def table(name: str, schema: dict[str, Any]) -> str:
    """The keys of a definition (``Gateway`` is the whole) as a Markdown table."""
    definition = schema if name == "Gateway" else schema["$defs"][name]
    required = definition.get("required", [])
    lines = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for key, inner in definition.get("properties", {}).items():
        if key == "when" and name.startswith("policy."):
            continue
        below = schema["$defs"].get(inner.get("$ref", "").rpartition("/")[2], {})
        text = " ".join((inner.get("description") or below.get("description", "")).split())
        cells = [f"`{key}`", written(inner), default(inner, required=key in required), text]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def outputs() -> Iterator[tuple[Path, str]]:
    """Every generated file with its text."""
    schema = configuration_schema(Registry(policies={policy.name: policy for policy in BUILTIN}))
    yield SCHEMA, render(schema)
    for page in sorted((ROOT / "docs").rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if "<!-- generated: " in text:
            yield page, SECTION.sub(lambda found: f"{found[1]}\n{table(found[2], schema)}\n{found[3]}", text)
    for case in all_cases():
        yield case.path, case.render()


def main() -> int:
    """Write, or with ``--check`` compare. Returns 1 when a comparison fails."""
    check = "--check" in sys.argv[1:]
    stale = 0
    for path, text in outputs():
        old = path.read_text(encoding="utf-8") if path.exists() else None
        if old == text:
            continue
        stale += 1
        print(f"{path.relative_to(ROOT)}{' is out of date: run scripts/gen' if check else ''}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
