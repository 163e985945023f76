"""Masks the values of query parameters that hold secrets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

#: Any parameter whose name ends with one of these, in any case.
ENDINGS = (
    *("token", "secret", "password", "passwd", "passphrase", "signature", "credential"),
    *("api_key", "api-key", "apikey", "access_key", "private_key"),
)
#: Parameters of exactly this name, in any case.
NAMES = (
    "auth",
    "authorization",
    "code",
    "jwt",
    "key",
    "pass",
    "pwd",
    "session",
    "session_id",
    "sessionid",
    "sid",
    "sig",
)

_MASK = b"***"
_CACHED, _LONGEST = 1_024, 64  # verdicts kept, and the longest name of one


class Redactor:
    """Compiled once for a configuration."""

    __slots__ = ("_sensitive", "_verdicts")

    def __init__(self, more: Sequence[str] = ()) -> None:
        exact = "|".join(re.escape(name) for name in (*NAMES, *more))
        pattern = rf"(?:.*(?:{'|'.join(ENDINGS)})|{exact})(?:\[.*\])?"
        self._sensitive = re.compile(pattern.encode(), re.IGNORECASE | re.DOTALL)
        #: Parameter name as it came → whether it is sensitive. Names repeat: 100 ns a parameter instead of 1 us.
        self._verdicts: dict[bytes, bool] = {}

    def query(self, query: bytes) -> bytes:
        """The query with ``***`` in the place of every secret value."""
        verdicts = self._verdicts
        if b";" in query:  # some upstreams take it for a separator
            return self._mask(query)
        for part in query.split(b"&"):
            name = part.partition(b"=")[0]
            verdict = verdicts.get(name)
            if verdict is None:
                verdict = self._judge(name)
            if verdict:
                return self._mask(query)
        return query

    def _mask(self, query: bytes) -> bytes:
        parts = re.split(rb"([&;])", query)
        for i in range(0, len(parts), 2):
            name, equals, _ = parts[i].partition(b"=")
            if equals and self._judge(name):
                parts[i] = name + b"=" + _MASK
        return b"".join(parts)

    def _judge(self, name: bytes) -> bool:
        """Names may be percent-encoded: ``%74oken`` means ``token`` to an upstream."""
        plain = unquote_to_bytes(name.replace(b"+", b" ")).strip()
        verdict = self._sensitive.fullmatch(plain) is not None
        if len(name) <= _LONGEST:
            if len(self._verdicts) >= _CACHED:
                self._verdicts.clear()
            self._verdicts[name] = verdict
        return verdict
