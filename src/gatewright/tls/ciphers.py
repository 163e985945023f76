"""Cipher suites of TLS 1.2, as OpenSSL knows them."""

from __future__ import annotations

import ssl
from functools import cache
from typing import Any, Final

#: What may be asked for: encrypted, with an authenticated server; no DHE, whose parameters nobody configures.
_CANDIDATES: Final = "ALL:!aNULL:!eNULL:!PSK:!SRP:!EXPORT:!RC4:!3DES:!MD5:!CAMELLIA:!ARIA:!SEED:!IDEA:!aDSS:!kDHE"


@cache
def _suites() -> dict[str, Any]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(_CANDIDATES)
    return {suite["name"]: suite for suite in context.get_ciphers() if suite["protocol"] != "TLSv1.3"}


def known_ciphers() -> set[str]:
    """The suites that may be configured."""
    return set(_suites())


def weakness(name: str) -> str:
    """What is weak about a suite, as the end of a sentence; empty for a good one."""
    suite = _suites()[name]
    if "dhe" not in str(suite["kea"]):
        return "has no forward secrecy: whoever gets the key reads what was recorded"
    if not suite["aead"]:
        return "does not authenticate what it encrypts in one step (CBC)"
    return ""
