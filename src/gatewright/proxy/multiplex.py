"""The HTTP/2 connections to one endpoint: each carries many exchanges."""

from __future__ import annotations


class MultiplexPool:
    """Pool."""
