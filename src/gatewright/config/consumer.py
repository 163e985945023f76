"""Consumers: who may call."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from gatewright.config.base import Metadata, Model, Name, wrong


def _digest(value: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        hint = "printf %s KEY | sha256sum"
        raise wrong("digest", f"a SHA-256 digest has 64 hexadecimal digits, not {len(value)} characters", hint)
    return value.lower()


class Credential(Model):
    """One way in which a consumer proves who it is: exactly one of the keys is given."""

    api_key: (
        Annotated[str, Field(min_length=1, max_length=4096), WithJsonSchema({"type": "string", "minLength": 1})] | None
    ) = None
    """The key in clear; only its digest is kept."""
    api_key_sha256: (
        Annotated[
            str,
            AfterValidator(_digest),
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
