"""Consumers and their credentials: checked, and turned into what the workers get.

API keys become digests and passwords hashes. Shared secrets of signatures are needed as they are: nothing prints them.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64decode, b64encode
from binascii import Error
from typing import Final

from gatewright.config.consumer import BasicCredential, Consumer, Credential, HmacCredential, SignatureKey
from gatewright.config.document import Document
from gatewright.config.tree import Path
from gatewright.sdk.passwords import hash_password
from gatewright.sdk.signing import algorithm_of
from gatewright.snapshot import model

_KINDS: Final = tuple(Credential.model_fields)
_KIND_LIST: Final = f"{', '.join(_KINDS[:-1])} and {_KINDS[-1]}"
_LEAST_SECRET: Final = 16

#: Hashes that were made, by a keyed digest of name and password. The salt of a password in clear comes from a key of
#: this process: what is loaded again unchanged is the same snapshot, and costs no second hash.
_PROCESS_KEY: Final = os.urandom(32)
_MOST_HASHES: Final = 10_000
_hashes: dict[bytes, str] = {}


class Consumers:
    """Resolves consumers one after the other; two cannot have one credential."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._seen: dict[tuple[str, str], Path] = {}

    def resolve(self, consumer: Consumer, path: Path) -> model.Consumer:
        """One consumer. Problems go to the document."""
        credentials = []
        for index, credential in enumerate(consumer.credentials):
            place = (*path, "credentials", index)
            resolved = self._credential(credential, place)
            if resolved is not None:
                self._only_once(resolved, place)
                credentials.append(resolved)
        return model.Consumer(consumer.name, consumer.groups, consumer.metadata, tuple(credentials))

    def _only_once(self, credential: model.Credential, path: Path) -> None:
        first = self._seen.setdefault((credential.kind, credential.id or credential.digest), path)
        if first is not path:
            what = {"basic": "this user name", "hmac": "this key_id"}.get(credential.kind, "this credential")
            where = self._document.node(first).place()
            self._document.problem(
                "config.duplicate", f"{what} is given twice", path, related=[f"the first is at {where}"]
            )

    def _credential(self, credential: Credential, path: Path) -> model.Credential | None:
        if len(credential.model_fields_set) != 1:
            self._document.problem("config.credential", f"a credential has exactly one of {_KIND_LIST}", path)
            return None
        if credential.basic is not None:
            return self._basic(credential.basic, (*path, "basic"))
        if credential.hmac is not None:
            return self._hmac(credential.hmac, (*path, "hmac"))
        if credential.signature_key is not None:
            return self._signature_key(credential.signature_key, (*path, "signature_key"))
        if credential.api_key is not None:
            return model.Credential("api_key", hashlib.sha256(credential.api_key.encode()).hexdigest())
        return model.Credential("api_key", credential.api_key_sha256 or "")

    def _basic(self, basic: BasicCredential, path: Path) -> model.Credential | None:
        if (basic.password is None) is (basic.password_hash is None):
            self._document.problem("config.credential", "a user has exactly one of password and password_hash", path)
            return None
        hashed = basic.password_hash or _hashed(basic.username, basic.password or "")
        return model.Credential("basic", id=basic.username, value=hashed)

    def _hmac(self, hmac: HmacCredential, path: Path) -> model.Credential | None:
        if (hmac.secret is None) is (hmac.secret_base64 is None):
            self._document.problem("config.credential", "a key has exactly one of secret and secret_base64", path)
            return None
        try:
            secret = hmac.secret.encode() if hmac.secret else b64decode(hmac.secret_base64 or "", validate=True)
        except (Error, ValueError):
            self._document.problem("config.value", "this is not Base64", (*path, "secret_base64"))
            return None
        if len(secret) < _LEAST_SECRET:
            message = f"a shared secret needs {_LEAST_SECRET} bytes or more, not {len(secret)}"
            self._document.problem("config.value", message, (*path, "secret_base64"))
            return None
        return model.Credential("hmac", id=hmac.key_id, value=b64encode(secret).decode(), algorithm="hmac-sha256")

    def _signature_key(self, key: SignatureKey, path: Path) -> model.Credential | None:
        try:
            algorithm = algorithm_of(key.public_key, key.algorithm or "")
        except ValueError as error:
            place = "algorithm" if key.algorithm and str(error).startswith("this key") else "public_key"
            self._document.problem("config.value", str(error), (*path, place))
            return None
        return model.Credential("hmac", id=key.key_id, value=key.public_key, algorithm=algorithm)


def _hashed(name: str, password: str) -> str:
    key = hashlib.blake2b(f"{name}:{password}".encode("utf-8", "surrogatepass"), key=_PROCESS_KEY).digest()
    hashed = _hashes.get(key)
    if hashed is None:
        if len(_hashes) >= _MOST_HASHES:
            _hashes.clear()
        hashed = _hashes[key] = hash_password(password, key[:16])
    return hashed
