"""The benchmark's own arithmetic: results survive the disk, tables and goals say what was measured."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import report  # noqa: E402
from benchmarks.macro import procs, wrk  # noqa: E402
from benchmarks.macro.openloop import OpenLoop, percentile  # noqa: E402
from benchmarks.macro.origin import pattern  # noqa: E402
from benchmarks.macro.table import plain  # noqa: E402
from benchmarks.metrics import ALL  # noqa: E402
from benchmarks.results import AT_LEAST, Goal, Outcome, Row, Run, UnreadableRun, load  # noqa: E402


def cpu(subject: str, *values: float) -> Row:
    return Row("64 connections", subject, [{"cpu_us": value, "rps": 1e6 / value} for value in values])


def outcome() -> Outcome:
    return Outcome(
        "plain",
        "a plain proxy",
        metrics=["cpu_us", "rps", "pss_mb"],
        rows=[cpu("nginx", 10, 12, 11), cpu("envoy", 30, 36, 33), cpu("gatewright", 15, 18, 22)],
        goals=[Goal("CPU to Envoy's", 0.5, 0.75, "x"), Goal("CPU to nginx's", 1.7, 1.6, "x")],
        seconds=12.0,
    )


def a_run(*outcomes: Outcome, commit: str = "abc") -> Run:
    return Run("2026-01-01T00:00:00+00:00", commit, {"cores": "2"}, {"nginx": "1.22.1"}, {"quick": True}, [*outcomes])


def test_a_run_comes_back_from_the_disk_as_it_was(tmp_path: Path) -> None:
    run = a_run(outcome())
    run.save(tmp_path / "deep" / "run.json")
    assert load(tmp_path / "deep" / "run.json") == run
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["run.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 99}', '{"schema": 1, "outcomes": [{"name": "x"}]}'])
def test_what_is_no_run_is_refused_with_the_file_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(UnreadableRun, match=r"odd\.json"):
        load(path)


def test_ratios_are_taken_round_by_round_so_that_drift_cancels_out() -> None:
    slow_machine_later = cpu("nginx", 10, 20, 40)
    ours = cpu("gatewright", 15, 30, 60)
    assert ours.ratio("cpu_us", slow_machine_later) == pytest.approx(1.5)
    assert ours.ratio("mb_s", slow_machine_later) is None
    assert ours.ratio("cpu_us", cpu("nginx", 0.1)) == pytest.approx(150)


def test_table_has_medians_spread_and_ratios_to_the_references() -> None:
    (table,) = report.tables(outcome())
    assert table.title == "64 connections"
    assert table.columns == ("", "CPU µs/request", "±", "x envoy", "x nginx", "requests/s")
    assert table.rows[2] == ("gatewright", "18.0", "19%", "0.50", "1.50", "55,556")


def test_metrics_nobody_measured_have_no_column_and_holes_are_dashes() -> None:
    some = outcome()
    some.rows[0].rounds = [{"rps": 5.0}]
    (table,) = report.tables(some)
    assert "memory MB (PSS)" not in table.columns
    assert table.rows[0] == ("nginx", "-", "-", "-", "-", "5")


def test_a_subject_alone_is_not_compared_with_itself() -> None:
    alone = Outcome("idle", "", metrics=["cpu_us"], rows=[cpu("nginx", 10)])
    assert report.tables(alone)[0].columns == ("", "CPU µs/request", "±")


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (Goal("", 1.0, 1.0), True),
        (Goal("", 1.01, 1.0), False),
        (Goal("", 0.5, 0.5, "x", AT_LEAST), True),
        (Goal("", 0.49, 0.5, "x", AT_LEAST), False),
        (Goal("", None, 1.0), None),
    ],
)
def test_goals_are_met_at_their_limit(goal: Goal, met: bool | None) -> None:
    assert goal.met is met


def test_goal_table_says_which_are_missed_and_which_were_not_measured() -> None:
    some = outcome()
    some.goals.append(Goal("memory", None, 100, "MB"))
    some.goals.append(Goal("CPU of one core", 0.0123, 0.01, "%"))
    table = report.goal_table([some])
    assert table is not None
    assert [row[2:] for row in table.rows] == [
        ("0.50 x", "≤ 0.75 x", "yes"),
        ("1.70 x", "≤ 1.60 x", "NO"),
        ("-", "≤ 100 MB", "not measured"),
        ("1.23%", "≤ 1.00%", "NO"),
    ]
    assert report.goal_table([Outcome("x", "y")]) is None


def test_later_runs_replace_scenarios_of_earlier_ones() -> None:
    first, second = a_run(outcome(), Outcome("idle", ""), commit="old"), a_run(outcome(), commit="new")
    merged = report.merge([first, second])
    assert [(run.commit, one.name) for run, one in merged] == [("new", "plain"), ("old", "idle")]


def test_report_names_commit_failures_and_every_table() -> None:
    broken = Outcome("crash", "kill -9", error="no worker", notes=["tried | twice"])
    text = report.markdown([a_run(outcome(), broken)])
    assert "## plain: a plain proxy" in text
    assert "| gatewright | 18.0 | 19% | 0.50 | 1.50 | 55,556 |" in text
    assert "**Ended early:** no worker" in text
    assert "quick run, 3 rounds, commit abc" in text
    assert "- nginx: 1.22.1" in text
    assert not re.search(r"\n\n\n", text)


def test_report_command_prints_markdown_and_explains_bad_files(tmp_path: Path) -> None:
    a_run(outcome()).save(tmp_path / "run.json")
    command = [sys.executable, "-m", "benchmarks.report"]
    good = subprocess.run([*command, str(tmp_path / "run.json")], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout.splitlines()[0]) == (0, "# Benchmark report")
    bad = subprocess.run([*command, str(tmp_path / "none.json")], cwd=ROOT, capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert "none.json" in bad.stderr


def test_plain_tables_line_up() -> None:
    (table,) = report.tables(outcome())
    lines = plain(table).splitlines()
    assert lines[0] == "# 64 connections"
    assert len({len(line) for line in lines[1:]}) == 1


def test_every_metric_has_a_form_that_takes_a_number() -> None:
    assert all(metric.show(1234.5) and metric.show(None) == "-" for metric in ALL.values())


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 50.0), (0.99, 99.0), (0.999, 100.0), (1.0, 100.0), (0.0, 1.0), (0.001, 1.0)]
)
def test_percentile_is_the_nearest_rank(share: float, value: float) -> None:
    assert percentile([float(n) for n in range(1, 101)], share) == value
    assert percentile([], share) == 0.0


class Origin(threading.Thread):
    """Serves one connection: ``stall`` seconds before the first answer, gone after ``answers`` of them."""

    def __init__(self, stall: float = 0.0, answers: int = 1_000_000) -> None:
        super().__init__()
        self.stall, self.answers = stall, answers
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.start()

    def run(self) -> None:
        with self.listener, self.listener.accept()[0] as connection:
            self.listener.close()
            time.sleep(self.stall)
            requests = 0
            while requests < self.answers and (data := connection.recv(65536)):
                for _ in range(data.count(b"\r\n\r\n")):
                    requests += 1
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


def drive(origin: Origin, **options: float) -> dict[str, Any]:
    loop = OpenLoop(origin.port, options["rate"], options["seconds"], 1, "/")
    summary = loop.run()
    loop.close()
    origin.join()
    return summary


def test_open_loop_counts_the_wait_of_requests_that_a_stall_kept_from_leaving() -> None:
    summary = drive(Origin(stall=0.2), rate=100.0, seconds=0.3)
    assert (summary["sent"], summary["answered"], summary["failed"]) == (30, 30, 0)
    assert summary["p50_us"] > 40_000  # a closed loop would have seen one slow request
    assert summary["max_us"] > 150_000


def test_open_loop_counts_requests_whose_connection_ended() -> None:
    summary = drive(Origin(answers=5), rate=200.0, seconds=0.1)
    assert summary["answered"] == 5
    assert summary["failed"] >= 1
    assert summary["failures"]


def test_pattern_has_the_size_and_no_two_equal_lines() -> None:
    data = pattern(1000)
    assert len(data) == 1000
    lines = data.splitlines()
    assert len(set(lines)) == len(lines)


def test_head_block_is_a_lua_string_without_the_left_out_field() -> None:
    assert wrk.head_block({"A": '"1"', "B": "2"}, without="B") == r'"A: \"1\"\r\n"'


def test_process_tree_counts_this_process_and_its_children() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in procs.tree(os.getpid())
        assert procs.pss_bytes(os.getpid()) > procs.pss_bytes(child.pid) > 0
        before = procs.cpu_seconds(os.getpid())
        child.kill()
    assert child.pid not in procs.tree(os.getpid())
    assert procs.cpu_seconds(os.getpid()) >= before  # the child's time stays with its parent
    assert procs.cpu_seconds(child.pid) == 0.0


def test_everything_started_is_stopped_also_grandchildren(tmp_path: Path) -> None:
    script = "import subprocess, sys; subprocess.Popen(['sleep', '60']); print('up', flush=True); sys.stdin.read(); "
    script += "import time; time.sleep(60)"
    with procs.Launcher(tmp_path) as launcher:
        core = min(os.sched_getaffinity(0))
        process = launcher.start("family", [sys.executable, "-c", script], [core])
        procs.wait_until("family", lambda: "up" in process.tail(), process)
        family = process.pids()
        assert len(family) == 2
        assert os.sched_getaffinity(family[1]) == {core}
    assert not [pid for pid in family if procs.fields(pid) and procs.fields(pid)[0] != "Z"]


def test_waiting_for_a_program_that_ended_tells_what_it_printed(tmp_path: Path) -> None:
    with procs.Launcher(tmp_path) as launcher:
        process = launcher.start("liar", ["sh", "-c", "echo bad config; exit 3"], sorted(os.sched_getaffinity(0)))
        with pytest.raises(procs.BenchError, match=r"(?s)ended with 3.*bad config"):
            procs.wait_until("liar", lambda: False, process)
