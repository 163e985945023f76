from __future__ import annotations

import json
import os

from gatewright.clock import ManualClock
from gatewright.errorlog import ErrorLog


def lines(text: bool, *calls: tuple[str, str, dict[str, object]]) -> list[str]:
    reader, writer = os.pipe()
    log = ErrorLog("controller", ManualClock(start=1_700_000_000.0), fd=writer, text=text)
    for event, message, fields in calls:
        log.warning(event, message, **fields)
    os.close(writer)
    with os.fdopen(reader) as file:
        return file.read().splitlines()


def test_json_has_stable_names() -> None:
    (line,) = lines(False, ("config.refused", "line one\nline two", {"version": 3, "file": b"x"}))
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.000Z",
        "level": "warning",
        "process": "controller",
        "pid": os.getpid(),
        "event": "config.refused",
        "message": "line one\nline two",
        "version": 3,
        "file": "b'x'",
    }


def test_text_cannot_steer_the_terminal() -> None:
    (line,) = lines(True, ("worker.exited", "red \x1b[31m", {"slot": 1}))
    assert line.endswith("warning controller: red \\x1b[31m [worker.exited slot=1]")


def test_a_reader_that_is_gone_is_counted_not_raised() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = ErrorLog("supervisor", fd=writer)
    log.warning("a", "b", why="c")
    log.named("worker 0").info("a", "b")
    assert log.dropped == 1
    os.close(writer)
