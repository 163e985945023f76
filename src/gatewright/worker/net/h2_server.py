"""HTTP/2 from clients."""

from __future__ import annotations

import asyncio


class H2Server(asyncio.Protocol):
    """A client's connection."""
