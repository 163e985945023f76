"""The commands, run as a person runs them: as processes, against a gateway that serves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.processes

GATEWAY = [sys.executable, "-m", "gatewright"]
CONFIG = """version: 1
workers: 1
listeners: [{{name: public, bind: 127.0.0.1:0}}]
admin: {{bind: 127.0.0.1:0}}
telemetry: {{access_log: {{to: "off"}}}}
routes: [{{name: hello, match: {{paths: [/hello]}}, respond: {{status: 200, body: {body}}}}}]
"""


def gatewright(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GATEWAY, *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, **environ},
    )


@pytest.fixture
def running(tmp_path: Path) -> Any:
    """A gateway started by ``run``, its configuration file and its admin address."""
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIG.format(body="one"), encoding="utf-8")
    process = subprocess.Popen(
        [*GATEWAY, "run", "-c", str(file), "--no-watch", "--log-format", "json"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            event = json.loads(line)
            if event["event"] == "gateway.ready":
                yield file, event["admin"]
                break
        else:
            pytest.fail("it never became ready")
    finally:
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        process.stderr.close()
        assert process.wait(20) == 0


def test_status_and_reload_of_a_running_gateway(running: Any) -> None:
    file, admin = running
    done = gatewright("status", "--admin", admin, "--json")
    assert done.returncode == 0, done.stderr
    assert [each["name"] for each in json.loads(done.stdout)["processes"]] == ["supervisor", "controller"]
    done = gatewright("status", GATEWRIGHT_ADMIN=admin)
    assert "worker 0" in done.stdout
    assert "public    127.0.0.1:" in done.stdout

    assert gatewright("reload", "--admin", admin).stdout == "unchanged: version 1\n"
    file.write_text(CONFIG.format(body="two"), encoding="utf-8")
    assert gatewright("reload", "--admin", admin).stdout == "applied: version 2\n"
    file.write_text("nonsense: 1\n", encoding="utf-8")
    refused = gatewright("reload", "--admin", admin)
    assert refused.returncode == 1
    assert "nonsense" in refused.stderr


def test_a_bad_configuration_cannot_start(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("version: 1\nnonsense: 1\n", encoding="utf-8")
    done = gatewright("run", "-c", str(file))
    assert done.returncode == 3
    assert "nonsense" in done.stderr


def test_the_demo_gives_the_answers_it_promises() -> None:
    done = gatewright("demo", "--check", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [answer["status"] for answer in json.loads(done.stdout)["answers"]] == [200, 200, 401, 200, 308]


def test_the_demo_says_what_to_try_and_ends_with_ctrl_c() -> None:
    process = subprocess.Popen([*GATEWAY, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if "Ctrl-C" in line:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert sum("curl -i" in line for line in seen) == 5
