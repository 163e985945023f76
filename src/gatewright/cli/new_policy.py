"""``gatewright new-policy``: a policy of one's own to start from."""

from __future__ import annotations

from pathlib import Path

from gatewright.cli import exits, output
from gatewright.plugins.template import write_policy


def new_policy(name: str, into: Path, *, as_json: bool) -> int:
    """Write the files and say what to do with them. Returns the exit code."""
    try:
        written = write_policy(name, into)
    except ValueError as error:
        return output.fail(str(error), code=exits.USAGE)
    except OSError as error:
        return output.fail(str(error), "nothing has been written", exits.FAILED)
    if as_json:
        output.emit_json({"written": [str(path) for path in written]})
        return exits.OK
    for path in written:
        print(f"wrote {path}")
    policy = written[0]
    print(
        f"\nNow:\n  python -m pytest {policy.with_name(f'test_{policy.name}')}\n\nand in your configuration:\n"
        f"  plugins: [./{policy.name}]\n  policies:\n    - {name}: {{}}",
    )
    return exits.OK
