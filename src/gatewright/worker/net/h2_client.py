"""HTTP/2 towards an endpoint."""

from __future__ import annotations

import asyncio


class H2Client(asyncio.Protocol):
    """A connection to an endpoint."""
