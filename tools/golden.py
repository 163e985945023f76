r"""Golden cases: a configuration, a line of dashes, and the report it must give.

``tests/golden/*.case``; ``scripts/gen`` rewrites the reports, the test compares them. Comments at the top may set the
environment (``# env: NAME=value``) and add files (``# file: NAME: text``, with ``\\n`` for line breaks).
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gatewright.config.report import format_problems
from gatewright.errors import ConfigError
from gatewright.snapshot.build import build_snapshot

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "golden"
RULE = "-----\n"


@dataclass(slots=True, frozen=True)
class Case:
    """One file."""

    path: Path

    @property
    def configuration(self) -> str:
        """What stands above the rule."""
        return self.path.read_text(encoding="utf-8").partition(RULE)[0]

    @property
    def expected(self) -> str:
        """What stands below it."""
        return self.path.read_text(encoding="utf-8").partition(RULE)[2]

    def report(self) -> str:
        """What the configuration gives now."""
        text = self.configuration
        environ = dict(re.findall(r"^# env: (\w+)=(.*)$", text, re.MULTILINE))
        with tempfile.TemporaryDirectory() as folder:
            for name, content in re.findall(r"^# file: ([\w./-]+): (.*)$", text, re.MULTILINE):
                (Path(folder) / name).write_text(content.replace("\\n", "\n"), encoding="utf-8")
            file = Path(folder) / "gateway.yaml"
            file.write_text(text, encoding="utf-8")
            try:
                problems = build_snapshot([file], environ=environ).problems
            except ConfigError as error:
                problems = error.problems
            report = format_problems(problems).replace(f"{Path(folder).resolve()}/", "").replace(f"{folder}/", "")
        return report or "no problems\n"

    def render(self) -> str:
        """The file with the report of now."""
        return f"{self.configuration}{RULE}{self.report()}"


def all_cases() -> list[Case]:
    """All of them, by name."""
    return [Case(path) for path in sorted(FOLDER.glob("*.case"))]
