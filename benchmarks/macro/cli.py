"""The command ``scripts/bench``."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from rich.console import Console

import gatewright
from benchmarks.macro import table
from benchmarks.macro.bench import ROOT, Bench, Settings, opened
from benchmarks.macro.install import install
from benchmarks.macro.peers import PEERS, Peer
from benchmarks.macro.procs import BenchError
from benchmarks.macro.scenarios import SCENARIOS, Scenario
from benchmarks.report import goal_table, markdown, tables
from benchmarks.results import Outcome, Run

VENV = ROOT / ".tools" / ".bench-venv"

_EPILOG = """\
Traffic stays on 127.0.0.1, every load is bounded in count and time, and everything that is started is stopped at the
end. Compare the figures of one run with each other; figures of different machines or days say little.
Exit codes: 0 done, 1 a goal was missed or a scenario failed, 2 wrong usage or missing programs, 130 interrupted.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure the gateway beside other proxies: CPU per request, throughput, latency, memory.",
        epilog=_EPILOG,
    )
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help="which to run (default: all); see --list")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument("--quick", action="store_true", help="3 short rounds; a first look, not a result")
    parser.add_argument("--rounds", type=int, metavar="N", help="interleaved rounds (default 5, quick 3)")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of one load (default 5, quick 2)")
    parser.add_argument("--rate", type=int, metavar="R", default=2000, help="requests/s for latency (default 2000)")
    parser.add_argument("--peers", metavar="A,B", default=",".join(PEERS), help=f"of {','.join(PEERS)}; '' for none")
    parser.add_argument("--before", type=Path, metavar="DIR", help="measure another checkout beside, in plain and tls")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results with all raw rounds")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the results as Markdown")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        rounds=max(1, options.rounds or (3 if options.quick else 5)),
        seconds=min(60.0, max(1.0, options.seconds or (2.0 if options.quick else 5.0))),
        rate=max(100, options.rate),
        quick=options.quick,
        before=options.before.resolve() if options.before else None,
    )


def _chosen(parser: argparse.ArgumentParser, options: argparse.Namespace) -> tuple[list[Scenario], list[str]]:
    peers = [name for name in options.peers.split(",") if name]
    for kind, names, known in (("scenario", options.scenarios, SCENARIOS), ("peer", peers, PEERS)):
        for name in names:
            if name not in known:
                parser.error(f"no {kind} {name!r}; there are: {', '.join(known)}")
    if options.before and not (options.before / "src" / "gatewright").is_dir():
        parser.error(f"{options.before} is no checkout of the gateway")
    return [SCENARIOS[name] for name in options.scenarios or SCENARIOS], peers


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _commit() -> str:
    commit = _git("rev-parse", "--short=12", "HEAD") or "unknown"
    return f"{commit} with local changes" if _git("status", "--porcelain", "--", "src", "benchmarks/macro") else commit


def _machine() -> dict[str, str]:
    info = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory) / 1024 / 1024:.0f} GiB",
        "load before the run": f"{os.getloadavg()[0]:.1f}",  # others at work: the figures are worth little
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
    }


def _versions(peers: Sequence[Peer]) -> dict[str, str]:
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    h2load = subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=False)
    own = {
        "gatewright": gatewright.__version__,
        "python": platform.python_version(),
        "wrk": wrk.stdout.split("[")[0].removeprefix("wrk").strip(),
        "h2load": h2load.stdout.removeprefix("h2load").strip(),
    }
    return {**own, **{peer.name: peer.version() for peer in peers}}


class Progress:
    """What is going on: one line that is written over in a terminal, lines on the error stream in a pipe."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def __call__(self, message: str) -> None:
        """Say it."""
        if self.console.is_terminal:
            width = max(20, self.console.width - 1)
            print(f"\r\x1b[2K{message.splitlines()[0][:width]}", end="", file=sys.stderr, flush=True)
            if "\n" in message:
                print("\r\x1b[2K" + message, file=sys.stderr)
        else:
            print(message, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Remove the line."""
        if self.console.is_terminal:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def _one(scenario: Scenario, bench: Bench) -> Outcome:
    started = time.monotonic()
    outcome = Outcome(scenario.name, scenario.title)
    try:
        scenario.run(bench, outcome)
    except BenchError as error:
        outcome.error = str(error)
    outcome.seconds = round(time.monotonic() - started, 1)
    return outcome


def _print(outcome: Outcome, console: Console) -> None:
    console.print(
        f"\n{outcome.name}: {outcome.title} ({outcome.seconds:.0f} s)", style="bold", highlight=False, soft_wrap=True
    )
    if outcome.error:
        console.print(f"ended early: {outcome.error}", style="red", highlight=False, markup=False, soft_wrap=True)
    for one in tables(outcome):
        table.show(one, console)
    for note in outcome.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    console = Console()
    if options.list:
        for scenario in SCENARIOS.values():
            console.print(f"{scenario.name:<18} {scenario.title}", highlight=False, soft_wrap=True)
        return 0
    scenarios, names = _chosen(parser, options)
    settings = _settings(options)
    signal.signal(signal.SIGTERM, _terminated)
    say = Progress(console)
    run = Run(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_commit(),
        machine=_machine(),
        versions={},
        settings={"rounds": settings.rounds, "seconds": settings.seconds, "quick": settings.quick},
    )
    try:
        peers = install(names, VENV, say)
        run.versions = _versions(peers)
        with opened(settings, peers, say) as bench:
            for scenario in scenarios:
                outcome = _one(scenario, bench)
                say.clear()
                run.outcomes.append(outcome)
                _print(outcome, console)
                _save(run, options)
    except BenchError as error:
        say.clear()
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say.clear()
        print("bench: interrupted; everything that was started has been stopped", file=sys.stderr)
        return 130
    goals = goal_table(run.outcomes)
    if goals:
        table.show(goals, console)
    missed = any(outcome.error or any(goal.met is False for goal in outcome.goals) for outcome in run.outcomes)
    return 1 if missed else 0


def _save(run: Run, options: argparse.Namespace) -> None:
    if options.json:
        run.save(options.json)
    if options.report:
        options.report.write_text(markdown([run]))
