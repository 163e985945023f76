"""Hashes of passwords: made, read and verified.

A hash is text in the modular crypt format, so that hashes of other systems can be brought along:

* ``$argon2id$v=19$m=65536,t=3,p=4$SALT$HASH`` (RFC 9106)
* ``$scrypt$ln=14,r=8,p=1$SALT$HASH`` (RFC 7914)
* ``$pbkdf2-sha256$600000$SALT$HASH``, and ``pbkdf2_sha256$600000$SALT$HASH`` with a salt that is plain text

Verifying costs tens of milliseconds by design: it is nothing for an event loop. Costs are bounded, so that no hash
takes a worker's memory.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import unicodedata
from base64 import b64decode, b64encode
from binascii import Error
from typing import Final

_MOST_MEMORY: Final = 256 * 1024 * 1024
_MOST_PASSES: Final = 64
_ROUNDS: Final = (1000, 10_000_000)
_LOG2_COST: Final = 14  # 16 MiB, 30 to 50 ms

_ARGON2 = re.compile(
    r"\$argon2id\$v=19\$m=([0-9]{1,9}),t=([0-9]{1,4}),p=([0-9]{1,3})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)
_SCRYPT = re.compile(r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,3}),p=([0-9]{1,3})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")
_PBKDF2 = re.compile(r"\$pbkdf2-sha256\$([0-9]{1,9})\$([A-Za-z0-9./]+)\$([A-Za-z0-9./]+)")
_PBKDF2_PLAIN = re.compile(r"pbkdf2_sha256\$([0-9]{1,9})\$([^$]{1,256})\$([A-Za-z0-9+/]+=*)")


class PasswordHash:
    """A hash that was read.

    Args:
        text: One of the forms above.

    Raises:
        ValueError: It is none of them, or costs more than a gateway should spend; the message holds nothing of it.
    """

    __slots__ = ("_digest", "_kind", "_numbers", "_salt")

    def __init__(self, text: str) -> None:
        if found := _ARGON2.fullmatch(text):
            self._kind, self._numbers = "argon2id", (int(found[1]), int(found[2]), int(found[3]))
            memory, passes, lanes = self._numbers
            good = 8 * lanes <= memory <= _MOST_MEMORY >> 10 and 0 < passes <= _MOST_PASSES and 0 < lanes <= 16
            self._salt, self._digest = _decoded(found[4]), _decoded(found[5])
        elif found := _SCRYPT.fullmatch(text):
            self._kind, self._numbers = "scrypt", (int(found[1]), int(found[2]), int(found[3]))
            log2_cost, block, lanes = self._numbers
            good = 0 < log2_cost < 32 and block > 0 and (128 * block << log2_cost) <= _MOST_MEMORY and 0 < lanes <= 16
            self._salt, self._digest = _decoded(found[4]), _decoded(found[5])
        elif found := _PBKDF2.fullmatch(text) or _PBKDF2_PLAIN.fullmatch(text):
            self._kind, self._numbers = "pbkdf2", (int(found[1]), 0, 0)
            good = _ROUNDS[0] <= self._numbers[0] <= _ROUNDS[1]
            plain = text[0] != "$"
            self._salt = found[2].encode() if plain else _decoded(found[2].replace(".", "+"))
            self._digest = _decoded(found[3].rstrip("=") if plain else found[3].replace(".", "+"))
        else:
            raise ValueError("not the hash of a password; known are $argon2id$, $scrypt$ and $pbkdf2-sha256$")
        if not good:
            raise ValueError("this hash costs too much or too little to verify")
        if len(self._salt) < 8 or not 16 <= len(self._digest) <= 64:
            raise ValueError("the salt of this hash needs 8 bytes or more, and the hash 16 to 64")

    def verify(self, password: bytes) -> bool:
        """Whether the password has this hash. Slow; lets other threads run."""
        one, two, three = self._numbers
        size = len(self._digest)
        if self._kind == "argon2id":
            from cryptography.hazmat.primitives.kdf.argon2 import Argon2id  # noqa: PLC0415 - few need its megabytes

            made = Argon2id(salt=self._salt, length=size, iterations=two, lanes=three, memory_cost=one).derive(password)
        elif self._kind == "scrypt":
            made = _scrypt(password, self._salt, one, two, three, size)
        else:
            made = hashlib.pbkdf2_hmac("sha256", password, self._salt, one, size)
        return hmac.compare_digest(made, self._digest)


def hash_password(password: str, salt: bytes | None = None) -> str:
    """The scrypt hash of a password, with a salt of 16 random bytes when none is given."""
    salt = os.urandom(16) if salt is None else salt
    made = _scrypt(normalized(password), salt, _LOG2_COST, 8, 1, 32)
    return f"$scrypt$ln={_LOG2_COST},r=8,p=1${_encoded(salt)}${_encoded(made)}"


def normalized(text: str) -> bytes:
    """UTF-8 of the composed form: what is typed on different keyboards is the same (RFC 8265 section 4.2)."""
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).encode("utf-8", "surrogatepass")


def _scrypt(password: bytes, salt: bytes, log2_cost: int, block: int, lanes: int, size: int) -> bytes:
    memory = (128 * block << log2_cost) + 128 * block * lanes + (1 << 20)
    return hashlib.scrypt(password, salt=salt, n=1 << log2_cost, r=block, p=lanes, maxmem=memory, dklen=size)


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except Error:
        raise ValueError("a part of this hash is not Base64") from None


def _encoded(data: bytes) -> str:
    return b64encode(data).rstrip(b"=").decode()
