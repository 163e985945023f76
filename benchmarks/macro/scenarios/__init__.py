"""The scenarios, in the order in which they run. A scenario is a module with NAME, TITLE and ``run(bench)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.macro.bench import Bench
from benchmarks.macro.scenarios import plain
from benchmarks.results import Outcome


@dataclass(frozen=True)
class Scenario:
    """One question and the function that answers it."""

    name: str
    title: str
    run: Callable[[Bench], Outcome]


SCENARIOS = {module.NAME: Scenario(module.NAME, module.TITLE, module.run) for module in (plain,)}
