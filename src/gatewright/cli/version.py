"""``gatewright version``."""

from __future__ import annotations

import platform

from gatewright import __version__
from gatewright.cli import exits, output


def version(*, as_json: bool) -> int:
    """Print our version; as JSON with that of Python and the system."""
    if as_json:
        output.emit_json(
            {"gatewright": __version__, "python": platform.python_version(), "system": platform.platform()},
        )
    else:
        print(f"gatewright {__version__}")
    return exits.OK
