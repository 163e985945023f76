"""The reference pages name everything that there is."""

import re
from pathlib import Path

from gatewright.proxy.families import FAMILIES
from gatewright.worker.log_lines import JsonLines
from gatewright.worker.redact import ENDINGS, NAMES

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "docs" / "reference"


def named(page: str) -> set[str]:
    return set(re.findall(r"`([a-z_-]+)`", (REFERENCE / page).read_text(encoding="utf-8")))


def test_every_metric_has_its_row() -> None:
    text = (REFERENCE / "metrics.md").read_text(encoding="utf-8")
    for family in FAMILIES.values():
        labels = ", ".join(f"`{label}`" for label in family.labels)
        assert f"| `{family.name}` | {family.kind} | {labels} | {family.help} |" in text
    figures = (ROOT / "src/gatewright/controller/admin/figures.py").read_text(encoding="utf-8")
    assert set(re.findall(r'"(gatewright_[a-z_]+)"', figures)) <= named("metrics.md")


def test_every_field_of_the_access_log_is_explained() -> None:
    template = (
        JsonLines.line + JsonLines.peer + JsonLines().repeating((200, "", b"", "", "", "", "", 1, "", "", ""))
    ).decode()
    fields = set(re.findall(r'"([a-z_]+)":', template))
    assert len(fields) == 23
    assert fields <= named("access-log.md")


def test_every_masked_parameter_is_listed() -> None:
    assert {*ENDINGS, *NAMES} <= named("access-log.md")
