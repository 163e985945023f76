"""Identify the consumer by a user name and a password (RFC 7617).

Users belong to the `consumers` of the configuration; of their passwords only hashes are kept. Verifying one takes tens
of milliseconds by design, so it is done beside the requests, two at once in each worker, and what came out is
remembered: a request that repeats what was verified costs microseconds.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from binascii import Error
from hashlib import blake2b, sha256
from typing import Final

from pydantic import Field

from gatewright.sdk import CREDENTIAL, Env, ExchangeView, Outcome, Policy, PolicyConfig, Reply, Secret
from gatewright.sdk.offload import BENCH, Overloaded
from gatewright.sdk.passwords import PasswordHash, normalized
from gatewright.sdk.types import Duration

_MOST_OCTETS: Final = 4096
_MOST_REMEMBERED: Final = 8192
_FIELD: Final = frozenset({b"authorization"})
_CONTROLS: Final = bytes([*range(32), 127])

#: What is remembered is found by digests with this key, which no other process knows.
_KEY: Final = os.urandom(32)
#: Where there are no users at all.
_NOBODY: Final = f"$scrypt$ln=14,r=8,p=1${b64encode(_KEY[:15]).decode()}${b64encode(_KEY[2:]).decode()}"


class BasicConfig(PolicyConfig):
    """Configuration of `basic`."""

    realm: str = Field(default="api", pattern=r'^[^"\\\x00-\x1f\x7f-\U0010ffff]*$')
    """What the password is for, as browsers show it."""
    forward: bool = False
    """Leave the user name and the password in the request that goes upstream."""
    optional: bool = False
    """Let requests without a password pass, with no consumer. A wrong one is refused all the same."""
    remember: Duration = Field(default=600.0, ge=0, le=86400)
    """How long a verified password is not verified again. Changed and removed users are refused at once."""
    remember_refused: Duration = Field(default=10.0, ge=0, le=3600)
    """How long a refused password is not verified again."""


class Basic(Policy[BasicConfig]):
    """Identify the consumer by a user name and a password (RFC 7617)."""

    __slots__ = (
        "_bad", "_busy", "_decoys", "_env", "_forward", "_good", "_keep_bad", "_keep_good", "_malformed", "_missing",
        "_optional", "_refused", "_users",
    )  # fmt: skip
    name, stage, config = "basic", "identify", BasicConfig

    def __init__(self, config: BasicConfig, env: Env) -> None:
        self._env = env
        self._forward = config.forward
        self._optional = config.optional
        self._keep_good, self._keep_bad = config.remember, config.remember_refused
        self._users = env.secrets("basic")
        #: Hashes that stand for those of unknown users: to refuse one costs what it costs to refuse another.
        self._decoys = tuple(secret.value for secret in self._users.values()) or (_NOBODY,)
        # Apart, so that no flood of guesses drives out what is good.
        self._good = env.memory("basic", _MOST_REMEMBERED)
        self._bad = env.memory("basic_refused", _MOST_REMEMBERED)
        challenge = ((b"www-authenticate", f'Basic realm="{config.realm}", charset="UTF-8"'.encode()),)
        self._missing = Reply(401, "basic.missing", challenge, detail="A user name and a password are needed")
        self._malformed = Reply(401, "basic.malformed", challenge, detail="The credentials are not well formed")
        self._refused = Reply(401, "basic.refused", challenge, detail="The user name or the password is wrong")
        self._busy = Reply(
            503, "basic.busy", ((b"retry-after", b"1"),), detail="Too many passwords wait to be verified"
        )

    def on_request(self, ex: ExchangeView) -> Outcome:
        """Find the consumer."""
        headers = ex.request.headers
        if headers.fields.distinct and not headers.added:
            value = headers.get(b"authorization")
        else:
            values = headers.all(b"authorization")
            if len(values) > 1:
                return REPEATED
            value = values[0] if values else None
        if value is None:
            return None if self._optional else self._missing
        scheme, _, token = value.partition(b" ")
        if scheme.lower() != b"basic":
            return None if self._optional else self._missing
        pair = _pair(token.strip(b" "))
        if pair is None:
            return self._malformed
        user, password = pair
        secret = self._users.get(user)
        decoy = self._decoy(user)  # for known users too: it takes a microsecond, and nobody shall see who costs it
        hashed = decoy if secret is None else secret.value
        key = _digest(hashed, user, password)
        now = self._env.clock.monotonic()
        if self._good.get(key, now) is not None and secret is not None:
            self._accept(ex, secret)
            return None
        if self._bad.get(key, now) is not None:
            return self._refused
        return self._verify(ex, key, secret, PasswordHash(hashed), password)

    def _decoy(self, user: str) -> str:
        """The hash that an unknown user's password is verified against, always the same for one name."""
        at = blake2b(user.encode(), key=_KEY, digest_size=8).digest()
        return self._decoys[int.from_bytes(at, "big") % len(self._decoys)]

    # cold: a password that was not seen for a while
    async def _verify(
        self, ex: ExchangeView, key: bytes, secret: Secret | None, hashed: PasswordHash, password: bytes
    ) -> Reply | None:
        try:
            good = await BENCH.run(key, hashed.verify, password)
        except Overloaded:
            return self._busy
        now = self._env.clock.monotonic()
        if not good or secret is None:
            self._bad.put(key, True, now + self._keep_bad)
            return self._refused
        self._good.put(key, True, now + self._keep_good)
        self._accept(ex, secret)
        return None

    def _accept(self, ex: ExchangeView, secret: Secret) -> None:
        ex.consumer = secret.consumer
        ex.vars[CREDENTIAL] = sha256(b"basic:" + secret.id.encode()).digest()
        if not self._forward:
            headers = ex.request.headers
            if headers.added:
                headers.drop(b"authorization")
            else:
                headers.dropped = headers.dropped | _FIELD if headers.dropped else _FIELD


REPEATED = Reply(400, "basic.repeated", detail="The request holds more than one Authorization field")


def _pair(token: bytes) -> tuple[str, bytes] | None:
    """User name and password, or None when the token is none of RFC 7617 section 2."""
    if not 0 < len(token) <= _MOST_OCTETS:
        return None
    try:
        decoded = b64decode(token, validate=True)
        user, colon, password = decoded.decode().partition(":")
    except (Error, ValueError):
        return None
    if not colon or len(decoded.translate(None, _CONTROLS)) != len(decoded):
        return None
    return normalized(user).decode(), normalized(password)


def _digest(hashed: str, user: str, password: bytes) -> bytes:
    """Stands for the password of a user with this hash: another hash, another digest: nothing must be forgotten."""
    # No user name holds a colon, and no hash a zero byte.
    return blake2b(b"%b\0%b:%b" % (hashed.encode(), user.encode(), password), key=_KEY, digest_size=32).digest()
