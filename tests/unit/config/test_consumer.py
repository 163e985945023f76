"""Consumers as they are written."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gatewright.config.consumer import Consumer, Credential

DIGEST = "4C1B21F3B5E1E28D0C7F0A2F6D3D9B8D1F9A0B6B2C3D4E5F60718293A4B5C6D7"


def test_credentials() -> None:
    consumer = Consumer.model_validate({"name": "a", "credentials": [{"api_key": "k"}, {"api_key_sha256": DIGEST}]})
    assert consumer.credentials == (Credential(api_key="k"), Credential(api_key_sha256=DIGEST.lower()))


def test_a_digest_has_its_length() -> None:
    with pytest.raises(ValidationError, match="64 hexadecimal digits, not 3 characters"):
        Credential(api_key_sha256="abc")


def test_a_key_is_not_empty() -> None:
    with pytest.raises(ValidationError, match="at least 1 character"):
        Credential(api_key="")


def test_secrets_are_not_printed() -> None:
    written = [
        {"basic": {"username": "ann", "password": "never-show-this"}},
        {"hmac": {"key_id": "k", "secret": "never-show-this-one"}},
        {"hmac": {"key_id": "k", "secret_base64": "never-show-this-one"}},
    ]
    assert "never" not in repr(Consumer.model_validate({"name": "a", "credentials": written}))
