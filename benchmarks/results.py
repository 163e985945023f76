"""What a benchmark run leaves behind: plain data, written as JSON and read back by the report."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

#: Raised when a field changes its meaning; readers refuse other versions.
SCHEMA = 1

AT_MOST: Literal["<="] = "<="
AT_LEAST: Literal[">="] = ">="


@dataclass
class Row:
    """One subject in one case: a number per metric and round. Metrics are explained in :mod:`benchmarks.metrics`."""

    case: str
    subject: str
    rounds: list[dict[str, float]] = field(default_factory=list)

    def median(self, metric: str) -> float | None:
        """The median over the rounds that have the metric."""
        values = [values[metric] for values in self.rounds if metric in values]
        return median(values) if values else None

    def ratio(self, metric: str, base: Row) -> float | None:
        """Median of the ratios round by round: rounds stand side by side in time, so slow drift cancels out."""
        pairs = [
            (own[metric], other[metric])
            for own, other in zip(self.rounds, base.rounds, strict=False)
            if metric in own and other.get(metric)
        ]
        return median(own / other for own, other in pairs) if pairs else None

    def spread(self, metric: str) -> float:
        """Half the distance between the smallest and the largest round, as a share of the median."""
        values = [values[metric] for values in self.rounds if metric in values]
        middle = median(values) if values else 0.0
        return (max(values) - min(values)) / 2 / middle if middle else 0.0


@dataclass
class Goal:
    """A figure the product promises: ``value`` measured, ``limit`` promised."""

    text: str
    value: float | None
    limit: float
    unit: str = ""
    relation: Literal["<=", ">="] = AT_MOST

    @property
    def met(self) -> bool | None:
        """Whether the promise was kept; None when it could not be measured."""
        if self.value is None:
            return None
        return self.value <= self.limit if self.relation == AT_MOST else self.value >= self.limit


@dataclass
class Outcome:
    """What one scenario found out. Rows of one case make one table; ``error`` says why it ended early."""

    name: str
    title: str
    about: str = ""
    metrics: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""

    def row(self, case: str, subject: str) -> Row | None:
        """The row of a subject in a case."""
        return next((row for row in self.rows if row.case == case and row.subject == subject), None)

    def ratio(self, metric: str, over: tuple[str, str], under: tuple[str, str]) -> float | None:
        """How ``over`` (case, subject) compares with ``under``, round by round; None when one is missing."""
        a, b = self.row(*over), self.row(*under)
        return a.ratio(metric, b) if a and b else None


@dataclass
class Run:
    """One start of the benchmark: where, with what, and what came out."""

    started: str
    commit: str
    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, Any]
    outcomes: list[Outcome] = field(default_factory=list)
    schema: int = SCHEMA

    def save(self, path: Path) -> None:
        """Write the run as JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(asdict(self), indent=1) + "\n")
        part.replace(path)


class UnreadableRun(ValueError):
    """The file is no run of this version."""


def load(path: Path) -> Run:
    """Read a run back. Raises :class:`UnreadableRun` when it is something else."""
    try:
        data = json.loads(path.read_text())
        if data.get("schema") != SCHEMA:
            raise UnreadableRun(f"{path}: schema {data.get('schema')!r}, this program reads {SCHEMA}")
        outcomes = [
            Outcome(
                **{
                    **outcome,
                    "rows": [Row(**row) for row in outcome["rows"]],
                    "goals": [Goal(**goal) for goal in outcome["goals"]],
                }
            )
            for outcome in data.pop("outcomes")
        ]
        return Run(**data, outcomes=outcomes)
    except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise UnreadableRun(f"{path}: not a benchmark run: {error}") from error
