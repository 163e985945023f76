"""Identify the consumer by a secret key in a header field, a query parameter or a cookie.

Keys belong to the `consumers` of the configuration. The gateway keeps only their SHA-256 digests and looks a key up by
its digest, so that neither memory nor timing tells a key. By default the key is taken out of what goes upstream.
"""

from __future__ import annotations

from hashlib import sha256

from pydantic import Field

from gatewright.sdk import CREDENTIAL, Env, ExchangeView, InvalidPolicy, Outcome, Policy, PolicyConfig, Reply
from gatewright.sdk.lookup import cookies, drop_cookie, drop_query, query_values
from gatewright.sdk.types import HeaderName

_MOST_OCTETS = 4096


class ApiKeyConfig(PolicyConfig):
    """Configuration of `api_key`."""

    header: HeaderName | None = "x-api-key"
    """Request header field that carries the key; `null` for none."""
    query: str | None = Field(default=None, min_length=1)
    """Query parameter that may carry the key. Addresses end up in logs and histories: a header is better."""
    cookie: str | None = Field(default=None, min_length=1)
    """Cookie that may carry the key."""
    hide: bool = True
    """Take the key out of the request before it goes upstream."""
    optional: bool = False
    """Let requests without any key pass, with no consumer. A wrong key is refused all the same."""
    realm: str = Field(default="api", pattern=r'^[^"\\\x00-\x1f\x7f-\U0010ffff]*$')
    """Shown in `WWW-Authenticate`."""


class ApiKey(Policy[ApiKeyConfig]):
    """Identify the consumer by a secret key in a header field, a query parameter or a cookie."""

    __slots__ = (
        "_cookie",
        "_header",
        "_hidden",
        "_hide",
        "_keys",
        "_missing",
        "_only",
        "_optional",
        "_query",
        "_unknown",
    )
    name, stage, config, status = "api_key", "identify", ApiKeyConfig, "stable"

    def __init__(self, config: ApiKeyConfig, env: Env) -> None:
        if config.header is None and config.query is None and config.cookie is None:
            raise InvalidPolicy("one of header, query and cookie must be given")
        self._header = config.header.encode() if config.header is not None else b""
        self._query = config.query.encode() if config.query is not None else b""
        self._cookie = config.cookie.encode() if config.cookie is not None else b""
        self._only = bool(self._header) and not self._query and not self._cookie
        self._hide = config.hide
        self._hidden = frozenset({self._header})
        self._optional = config.optional
        self._keys = env.credentials("api_key")
        challenge = ((b"www-authenticate", f'ApiKey realm="{config.realm}"'.encode()),)
        self._missing = Reply(401, "api_key.missing", challenge, detail="An API key is needed")
        self._unknown = Reply(401, "api_key.unknown", challenge, detail="The API key is not known")

    def on_request(self, ex: ExchangeView) -> Outcome:
        """Find the consumer."""
        headers = ex.request.headers
        fields = headers.fields
        added = headers.added
        alone = self._only and fields.distinct and not (added and _added(added, self._header))
        if alone:
            key = fields.index.get(self._header)
            if key is None or self._header in headers.dropped:
                return None if self._optional else self._missing
            digest = fields.digest(key)
        else:
            found = self._collect(ex)
            if len(found) != 1:
                if found:
                    return REPEATED
                return None if self._optional else self._missing
            key = found[0]
            digest = sha256(key).digest()
        consumer = self._keys.get(digest)
        if consumer is None or len(key) > _MOST_OCTETS:
            return self._unknown
        ex.consumer = consumer
        ex.vars[CREDENTIAL] = digest
        if not self._hide:
            return None
        if alone:
            # One set for all requests: its hash is known, and what depends on it is found at once.
            headers.dropped = headers.dropped | self._hidden if headers.dropped else self._hidden
            return None
        self._remove(ex)
        return None

    def _collect(self, ex: ExchangeView) -> list[bytes]:
        """Every key in the request. Cold."""
        found: list[bytes] = []
        if self._header:
            found += ex.request.headers.all(self._header)
        if self._query:
            found += query_values(ex.request.query, self._query)
        if self._cookie:
            found += cookies(ex.request.headers, self._cookie)
        return found

    def _remove(self, ex: ExchangeView) -> None:
        request = ex.request
        if self._header:
            request.headers.drop(self._header)
        if self._query and request.query is not None:
            request.query = drop_query(request.query, self._query)
        if self._cookie and b"cookie" in request.headers:
            drop_cookie(request.headers, self._cookie)


REPEATED = Reply(400, "api_key.repeated", detail="The request holds more than one API key")


def _added(added: list[tuple[bytes, bytes]], name: bytes) -> bool:
    for other, _ in added:  # noqa: SIM110 - any() makes a generator for every request
        if other == name:
            return True
    return False
