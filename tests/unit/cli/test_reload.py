from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from gatewright.cli import exits
from gatewright.cli.admin import Admin
from gatewright.cli.main import dispatch


class Gateway:
    """A gateway that reads its configuration on the second question after the signal."""

    def __init__(self, version: int = 2, error: str = "") -> None:
        self.after = {"rounds": 1, "version": version, "last_error": error}
        self.signals: list[tuple[int, int]] = []
        self.asked = 0
        self.refuses = False

    def status(self) -> dict[str, Any]:
        config: dict[str, Any] = {"rounds": 0, "version": 1, "last_error": ""}
        if self.signals:
            self.asked += 1
            if self.asked > 1:
                config = self.after
        return {"started": "then", "config": config, "processes": [{"name": "supervisor", "pid": 77}]}

    def kill(self, pid: int, number: int) -> None:
        if self.refuses:
            raise PermissionError("not yours")
        self.signals.append((pid, number))


def run(monkeypatch: pytest.MonkeyPatch, gateway: Gateway, *arguments: str) -> int:
    monkeypatch.setattr("gatewright.cli.reload.os.kill", gateway.kill)
    monkeypatch.setattr("gatewright.cli.reload._POLL", 0.001)
    monkeypatch.setattr(Admin, "status", gateway.status)
    return dispatch(["reload", "--admin", "127.0.0.1:1", *arguments])


def test_the_supervisor_is_told_and_the_outcome_awaited(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = Gateway()
    assert run(monkeypatch, gateway) == exits.OK
    assert gateway.signals == [(77, signal.SIGHUP)]
    assert capsys.readouterr().out == "applied: version 2\n"


def test_nothing_new_is_said_to_be_unchanged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, Gateway(version=1), "--pid", "5", "--json") == exits.OK
    assert json.loads(capsys.readouterr().out) == {"outcome": "unchanged", "version": 1, "error": ""}


def test_a_refusal_is_a_failure_with_its_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, Gateway(version=1, error="gateway.yaml:1:1: error")) == exits.FAILED
    err = capsys.readouterr().err
    assert "version 1 serves on" in err
    assert "gateway.yaml:1:1: error" in err


def test_someone_elses_gateway_cannot_be_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = Gateway()
    gateway.refuses = True
    assert run(monkeypatch, gateway) == exits.FAILED
    assert "not yours" in capsys.readouterr().err


def test_a_gateway_that_never_reads_it_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = Gateway()
    gateway.after = {"rounds": 0, "version": 1, "last_error": ""}
    monkeypatch.setattr("gatewright.cli.reload.PATIENCE", 0.01)
    assert run(monkeypatch, gateway) == exits.FAILED
    assert "has not read its configuration" in capsys.readouterr().err
