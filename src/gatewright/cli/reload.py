"""``gatewright reload``: make a running gateway read its configuration again, and say what came of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gatewright.cli import exits, output
from gatewright.cli.admin import Admin, Unreachable, find

PATIENCE = 30.0
_POLL = 0.05


def reload(url: str | None, config: Sequence[Path], pid: int | None, *, as_json: bool) -> int:
    """Send SIGHUP to the supervisor and wait for the outcome. Returns the exit code: 1 when it is refused."""
    try:
        admin = find(url, config)
        before = admin.status()
        supervisor = pid or _supervisor(before)
        os.kill(supervisor, signal.SIGHUP)
        after = _wait(admin, before)
    except Unreachable as error:
        return output.fail(str(error), "is it running? --admin URL says where")
    except OSError as error:
        return output.fail(f"the supervisor cannot be told: {error}", "only its own user and root may; see --pid")
    return _report(before["config"], after["config"], as_json=as_json)


def _supervisor(status: dict[str, Any]) -> int:
    for process in status["processes"]:
        if process["name"] == "supervisor":
            return int(process["pid"])
    raise Unreachable("the gateway does not say which process its supervisor is")


def _wait(admin: Admin, before: dict[str, Any]) -> dict[str, Any]:
    """Ask until the configuration has been read once more."""
    seen = before["started"], before["config"]["rounds"]
    for _ in range(int(PATIENCE / _POLL)):
        after = admin.status()
        if (after["started"], after["config"]["rounds"]) != seen:
            return after
        time.sleep(_POLL)
    raise Unreachable(f"the gateway has not read its configuration within {PATIENCE:g} s")


def _report(before: dict[str, Any], after: dict[str, Any], *, as_json: bool) -> int:
    outcome = "unchanged" if after["version"] == before["version"] else "applied"
    if after["last_error"]:
        outcome = "refused"
    if as_json:
        output.emit_json({"outcome": outcome, "version": after["version"], "error": after["last_error"]})
    elif outcome == "refused":
        output.fail(f"refused; version {after['version']} serves on\n{after['last_error']}")
    else:
        print(f"{outcome}: version {after['version']}")
    return exits.FAILED if outcome == "refused" else exits.OK
