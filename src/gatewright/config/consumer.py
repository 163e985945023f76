"""Consumers: who may call."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from gatewright.config.base import Metadata, Model, Name, wrong
from gatewright.sdk.passwords import PasswordHash


def _digest(value: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        hint = "printf %s KEY | sha256sum"
        raise wrong("digest", f"a SHA-256 digest has 64 hexadecimal digits, not {len(value)} characters", hint)
    return value.lower()


def _user_name(value: str) -> str:
    if ":" in value or not value.isprintable():
        raise wrong("user_name", "a user name may hold neither ':' nor control characters")
    return unicodedata.normalize("NFC", value)


def _password(value: str) -> str:
    if any(unicodedata.category(letter) == "Cc" for letter in value):
        raise wrong("password", "a password may not hold control characters: no client can send them")
    return value


def _password_hash(value: str) -> str:
    try:
        PasswordHash(value)
    except ValueError as error:
        hint = "hashes of bcrypt cannot be verified here" if value.startswith("$2") else "see docs/policies/basic.md"
        raise wrong("password_hash", str(error), hint) from None
    return value


class BasicCredential(Model):
    """A user name with a password, for the policy `basic`."""

    username: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_user_name)]
    """Name of the user."""
    password: Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_password)] | None = Field(
        default=None, repr=False
    )
    """The password in clear; only a hash of it is kept."""
    password_hash: Annotated[str, Field(max_length=512), AfterValidator(_password_hash)] | None = None
    """Hash of the password: `$argon2id$…`, `$scrypt$…` or `$pbkdf2-sha256$…`."""


#: Names of keys stand in quoted strings of structured fields: printable ASCII (RFC 9651 section 3.3.3).
KeyId = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[\x20-\x7e]+$")]


class HmacCredential(Model):
    """A secret shared with the caller, for the policy `hmac`: requests are signed with hmac-sha256."""

    key_id: KeyId
    """Name of the key, as signatures say it in `keyid`."""
    secret: Annotated[str, Field(min_length=16, max_length=4096)] | None = Field(default=None, repr=False)
    """The secret, as text; 32 random characters or more are good."""
    secret_base64: Annotated[str, Field(max_length=8192)] | None = Field(default=None, repr=False)
    """The secret, in Base64."""


class SignatureKey(Model):
    """A public key of the caller, for the policy `hmac`: requests are signed with the private key."""

    key_id: KeyId
    """Name of the key, as signatures say it in `keyid`."""
    public_key: Annotated[str, Field(max_length=16_384)]
    """The public key, as PEM text: RSA with 2048 bits or more, P-256 or Ed25519."""
    algorithm: Literal["rsa-v1_5-sha256", "rsa-pss-sha512", "ecdsa-p256-sha256", "ed25519"] | None = None
    """What it signs with. Only RSA keys have a choice; theirs is `rsa-v1_5-sha256` when nothing is said."""


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
    basic: BasicCredential | None = None
    """A user name with a password."""
    hmac: HmacCredential | None = None
    """A shared secret that requests are signed with."""
    signature_key: SignatureKey | None = None
    """A public key that the signatures of requests are verified with."""


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
