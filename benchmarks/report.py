"""Render benchmark results: the same tables for the terminal and for ``REPORT.md``.

``python -m benchmarks.report results/a.json results/b.json > REPORT.md``: a later file replaces the scenarios of an
earlier one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.metrics import ALL, Metric
from benchmarks.results import Goal, Outcome, Row, Run, UnreadableRun, load

#: Peers whose figures the others are divided by.
REFERENCES = ("envoy", "nginx")


@dataclass(frozen=True)
class Table:
    """A table of texts; the first ``left`` columns are aligned to the left, the others are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1


def tables(outcome: Outcome) -> list[Table]:
    """One table per case, with ratios to the reference peers measured in the same case."""
    cases = list(dict.fromkeys(row.case for row in outcome.rows))
    return [_table(outcome, case) for case in cases]


def _table(outcome: Outcome, case: str) -> Table:
    rows = [row for row in outcome.rows if row.case == case]
    shown = [ALL[key] for key in outcome.metrics if any(row.median(key) is not None for row in rows)]
    columns = ["", *_titles(shown, rows)]
    lines = [(row.subject, *_cells(shown, row, rows)) for row in rows]
    return Table(case, tuple(columns), tuple(lines))


def _titles(shown: Sequence[Metric], rows: Sequence[Row]) -> Iterable[str]:
    for metric in shown:
        yield metric.title
        if metric.compared:
            yield "±"
            yield from (f"x {row.subject}" for row in _references(rows))


def _cells(shown: Sequence[Metric], row: Row, rows: Sequence[Row]) -> Iterable[str]:
    for metric in shown:
        value = row.median(metric.key)
        yield metric.show(value)
        if metric.compared:
            yield "-" if value is None else f"{row.spread(metric.key):.0%}"
            for reference in _references(rows):
                ratio = row.ratio(metric.key, reference)
                yield "-" if ratio is None else f"{ratio:.2f}"


def _references(rows: Sequence[Row]) -> list[Row]:
    return [row for name in REFERENCES for row in rows if row.subject == name] if len(rows) > 1 else []


def goal_table(outcomes: Iterable[Outcome]) -> Table | None:
    """Promises and what was measured; None when the scenarios promise nothing."""
    rows = [(outcome.name, goal.text, *_goal(goal)) for outcome in outcomes for goal in outcome.goals]
    return Table("Goals", ("scenario", "goal", "measured", "limit", "met"), tuple(rows), left=2) if rows else None


def _goal(goal: Goal) -> tuple[str, str, str]:
    verdict = {True: "yes", False: "NO", None: "not measured"}[goal.met]
    sign = "≤" if goal.relation == "<=" else "≥"
    return (_figure(goal.value, goal.unit), f"{sign} {_figure(goal.limit, goal.unit)}", verdict)


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "%":
        return f"{value:.2%}"
    if unit == "x":
        return f"{value:.2f} x"
    return f"{value:,.0f}{f' {unit}' if unit else ''}" if float(value).is_integer() else f"{value:,.1f} {unit}".rstrip()


def merge(runs: Sequence[Run]) -> list[tuple[Run, Outcome]]:
    """Every scenario once, from the last run that has it, in the order of first appearance."""
    latest: dict[str, tuple[Run, Outcome]] = {}
    for run in runs:
        for outcome in run.outcomes:
            latest[outcome.name] = (run, outcome)
    return list(latest.values())


def markdown(runs: Sequence[Run]) -> str:
    """The whole report."""
    merged = merge(runs)
    out = [
        "# Benchmark report",
        "",
        "Rendered by `python -m benchmarks.report` from the results of `scripts/bench`; do not edit.",
        "How each figure is measured: [docs/reference/benchmarks.md](../docs/reference/benchmarks.md).",
        "Medians of interleaved rounds; ± is half the span of the rounds. Compare inside a table only.",
        "",
    ]
    goals = goal_table(outcome for _, outcome in merged)
    if goals:
        out += ["## Goals", "", *_markdown(goals), ""]
    for run, outcome in merged:
        out += [f"## {outcome.name}: {outcome.title}", ""]
        if outcome.about:
            out += [outcome.about, ""]
        if outcome.error:
            out += [f"**Ended early:** {outcome.error}", ""]
        for table in tables(outcome):
            out += [f"**{table.title}**", "", *_markdown(table), ""] if table.title else [*_markdown(table), ""]
        out += [f"- {note}" for note in outcome.notes]
        if outcome.notes:
            out.append("")
        out += [f"_{_origin(run, outcome)}_", ""]
    out += ["## Machine and versions", "", *_surroundings(runs)]
    return "\n".join(out).rstrip() + "\n"


def _origin(run: Run, outcome: Outcome) -> str:
    rounds = max((len(row.rounds) for row in outcome.rows), default=0)
    kind = "quick run" if run.settings.get("quick") else "full run"
    return f"{kind}, {rounds} rounds, commit {run.commit}, {run.started}"


def _surroundings(runs: Sequence[Run]) -> Iterable[str]:
    for run in runs[-1:]:
        yield from (f"- {key}: {value}" for key, value in run.machine.items())
        yield from (f"- {key}: {value}" for key, value in run.versions.items())


def _markdown(table: Table) -> Iterable[str]:
    yield "| " + " | ".join(table.columns) + " |"
    yield "|" + "|".join(" --- " if i < table.left else " ---: " for i in range(len(table.columns))) + "|"
    for row in table.rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def main(arguments: Sequence[str]) -> int:
    """Print the report of the given result files."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(__doc__)
        return 0 if arguments else 2
    try:
        runs = [load(Path(argument)) for argument in arguments]
    except (OSError, UnreadableRun) as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    sys.stdout.write(markdown(runs))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
