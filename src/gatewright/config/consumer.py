"""Consumers: who may call."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema

from gatewright.config.base import Metadata, Model, Name


class Credential(Model):
    """One way in which a consumer proves who it is: exactly one of the keys is given."""

    api_key: (
        Annotated[str, Field(min_length=1, max_length=4096), WithJsonSchema({"type": "string", "minLength": 1})] | None
    ) = None
    """The key in clear; only its digest is kept."""
    api_key_sha256: (
        Annotated[
            str,
            Field(pattern=r"^[0-9a-fA-F]{64}$"),
            WithJsonSchema({"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}),
        ]
        | None
    ) = None
    """SHA-256 of the key, in hexadecimal."""


class Consumer(Model):
    """An application or a person that may call."""

    name: Name
    """Name of the consumer, in policies, metrics and logs."""
    groups: tuple[Name, ...] = ()
    """Groups it belongs to."""
    metadata: Metadata = Field(default_factory=dict)
    """Free text for your own use."""
    credentials: tuple[Credential, ...] = ()
    """How it proves who it is; several may be in use at one time."""
