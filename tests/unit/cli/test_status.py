from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from gatewright.cli import exits, status
from gatewright.cli.admin import Admin, Unreachable
from gatewright.cli.main import dispatch

WORKER = {
    "name": "worker 0", "pid": 12, "cpu": 0.1, "rss": 30 * 1024 * 1024, "descriptors": 9, "slot": 0, "version": 3,
    "uptime": 61.0, "heartbeat_age": 0.2, "lag": 0.0, "connections": 5, "exchanges": 2, "compile_seconds": 0.0,
    "restarts": 1, "rejection": "",
}  # fmt: skip
STATUS: dict[str, Any] = {
    "version": "0.1.0", "started": "2026-01-01T00:00:00.000Z", "uptime": 93784.0, "ready": True, "reason": "",
    "draining": False, "admin": "127.0.0.1:9900", "restarts": 1, "routes": 4,
    "config": {"version": 3, "digest": "ab", "applied": "2026-01-01T00:00:01.000Z", "files": ["gateway.yaml"],
               "reloads": 2, "refused": 0, "rounds": 2, "last_error": "", "last_error_at": None, "warnings": []},
    "listeners": [{"name": "public", "bind": "127.0.0.1:0", "address": "127.0.0.1:8000", "protocols": ["http1"],
                   "connections": 5, "certificates": [
                       {"certificate": "certs/a.pem", "names": ["a.example"], "key": "ecdsa", "fingerprint": "f0",
                        "expires": "2026-03-01T00:00:00Z", "days_left": 59}]}],
    "processes": [{"name": "supervisor", "pid": 10, "cpu": 0.1, "rss": None, "descriptors": 9}],
    "workers": [WORKER],
    "upstreams": [{"name": "orders", "protocol": "http1", "balance": "round_robin", "breaker": "open", "tls": None, "endpoints": [
        {"key": "http://127.0.0.1:9001", "name": "", "zone": "", "weight": 2, "health": "ejected",
         "check": "status 500", "checked_ago": 1.0, "ejected_until": None, "breaker": None, "in_flight": 7, "tls": "verified as a"}]}],
}  # fmt: skip


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    content = copy.deepcopy(STATUS)
    monkeypatch.setattr(Admin, "status", lambda self: content)
    return content


def run(*arguments: str) -> int:
    return dispatch(["status", "--admin", "127.0.0.1:1", *arguments])


def test_everything_stands_there(answer: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == exits.OK
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "gatewright 0.1.0 ready up 1d 2h configuration 3 of 2026-01-01T00:00:01.000Z, 4 routes"
    assert "supervisor 10 - - - - - -" in lines
    assert "worker 0 12 30.0 MiB 1m 1s 1 3 5 2" in lines
    assert "public 127.0.0.1:8000 http1 5" in lines
    assert "public certs/a.pem a.example 2026-03-01T00:00:00Z 59" in lines
    assert "orders http://127.0.0.1:9001 http1, verified as a ejected open 2 7 status 500" in lines


def test_a_gateway_that_is_not_ready_is_a_failure(answer: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    answer |= {"ready": False, "reason": "no worker serves"}
    assert run() == exits.FAILED
    assert "not ready: no worker serves" in capsys.readouterr().out


def test_a_refused_configuration_is_shown(answer: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    answer["config"] |= {"last_error": "gateway.yaml:1:1: error", "warnings": ["odd"]}
    assert run() == exits.OK
    out = capsys.readouterr().out
    assert "refused\ngateway.yaml:1:1: error" in out
    assert "warning: odd" in out


def test_json_is_what_the_gateway_says(answer: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json") == exits.OK
    assert json.loads(capsys.readouterr().out) == STATUS


def test_nobody_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def nobody(self: Admin) -> dict[str, Any]:
        raise Unreachable("no gateway answers")

    monkeypatch.setattr(Admin, "status", nobody)
    assert run() == exits.FAILED
    assert "--admin" in capsys.readouterr().err


def test_watching_goes_on_when_nobody_answers_for_a_while(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([STATUS, Unreachable("gone"), STATUS])

    def next_answer(self: Admin) -> dict[str, Any]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sleep(seconds: float, left: list[int] = [2]) -> None:  # noqa: B006 - counts the calls
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1

    monkeypatch.setattr(Admin, "status", next_answer)
    monkeypatch.setattr("gatewright.cli.status.time.sleep", sleep)
    assert run("--watch", "--json") == exits.OK
    first, second, third = (json.loads(line) for line in capsys.readouterr().out.splitlines() if line)
    assert first == third == STATUS
    assert second == {"error": "gone"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (61, "1m 1s"), (3600, "1h"), (90_061, "1d 1h"), (86_401, "1d 1s")]
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert status.duration(seconds) == text
