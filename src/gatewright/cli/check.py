"""``gatewright check``: everything that is wrong with a configuration, without starting anything."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gatewright.cli import exits, output, problems
from gatewright.cli.files import config_files
from gatewright.cli.load import load
from gatewright.errors import ConfigError
from gatewright.snapshot.model import SERVICE


def check(given: Sequence[Path], *, as_json: bool) -> int:
    """Check and print. Returns the exit code."""
    files = config_files(given)
    try:
        loaded = load(files, os.environ)
    except ConfigError as error:
        if as_json:
            output.emit_json({"ok": False, "problems": problems.as_data(error.problems)})
        else:
            problems.show(error.problems, sys.stderr)
        return exits.FAILED
    snapshot, found = loaded.built.snapshot, loaded.built.problems
    if as_json:
        read = [str(file) for file in loaded.built.files]
        output.emit_json({"ok": True, "problems": problems.as_data(found), "files": read, "digest": snapshot.digest})
        return exits.OK
    problems.show(found, sys.stderr)
    counts = (
        (len(snapshot.listeners), "listener"),
        (len(snapshot.routes), "route"),
        (sum(not each.name.startswith(SERVICE) for each in snapshot.upstreams), "upstream"),
        (len(snapshot.consumers), "consumer"),
    )
    held = ", ".join(f"{number} {word}{'' if number == 1 else 's'}" for number, word in counts)
    print(f"{output.paint('ok', 'green')}: {', '.join(map(str, files))}: {held}")
    return exits.OK
