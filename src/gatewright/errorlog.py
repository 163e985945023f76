"""The error log: what an operator should read, one line each on standard error.

A terminal gets text, everything else gets JSON. Every process writes its own lines; a line is one ``write`` so that
lines of different processes do not mix.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime

from gatewright.clock import Clock, SystemClock

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), 127)}


class ErrorLog:
    """Writes lines with a stable event name, a sentence for people, and fields for machines.

    Args:
        process: Who is speaking: ``supervisor``, ``controller`` or ``worker 0``.
        clock: Where the time of each line comes from.
        fd: The file descriptor written to.
        text: Text (True) or JSON (False); None decides by whether ``fd`` is a terminal.
    """

    __slots__ = ("_clock", "_fd", "_process", "_text", "dropped")

    def __init__(self, process: str, clock: Clock | None = None, fd: int = 2, text: bool | None = None) -> None:
        self._process = process
        self._clock = clock or SystemClock()
        self._fd = fd
        self._text = os.isatty(fd) if text is None else text
        #: Lines that could not be written.
        self.dropped = 0

    def named(self, process: str) -> ErrorLog:
        """The same log for another process."""
        return ErrorLog(process, self._clock, self._fd, self._text)

    def debug(self, event: str, message: str, **fields: object) -> None:
        """Something only a developer wants to know."""
        self.write("debug", event, message, fields)

    def info(self, event: str, message: str, **fields: object) -> None:
        """Something expected happened."""
        self.write("info", event, message, fields)

    def warning(self, event: str, message: str, **fields: object) -> None:
        """Something works, but should be looked at."""
        self.write("warning", event, message, fields)

    def error(self, event: str, message: str, **fields: object) -> None:
        """Something does not work."""
        self.write("error", event, message, fields)

    def write(self, level: str, event: str, message: str, fields: dict[str, object]) -> None:
        """Write one line of any level."""
        moment = datetime.fromtimestamp(self._clock.wall(), UTC)
        line = self._as_text(moment, level, event, message, fields) if self._text else ""
        if not line:
            record = {
                "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "level": level,
                "process": self._process,
                "pid": os.getpid(),
                "event": event,
                "message": message,
            }
            line = json.dumps(record | fields, default=str, ensure_ascii=False)
        try:
            os.write(self._fd, line.encode("utf-8", "backslashreplace") + b"\n")
        except OSError:  # nobody reads standard error, or it is full: serving goes on
            self.dropped += 1

    def _as_text(self, moment: datetime, level: str, event: str, message: str, fields: dict[str, object]) -> str:
        extra = "".join(f" {key}={value}" for key, value in fields.items())
        when = moment.astimezone().strftime("%H:%M:%S")
        text = f"{when} {level:<7} {self._process}: {message} [{event}{extra}]"
        return text.translate(_CONTROL)  # a name from a configuration must not steer the terminal


def flush_standard_streams() -> None:
    """Empty Python's buffers, so that a forked child does not write them a second time."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # closed or broken: nothing to lose
            continue
