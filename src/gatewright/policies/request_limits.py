"""Narrower limits for single routes than the listener's: sizes, number of fields, content types.

The listener's `limits` hold for every request before any route is looked for; this policy can only be stricter. Bodies
without a length are counted while they pass, and cut off at the limit.
"""

from __future__ import annotations

from pydantic import Field, field_validator

from gatewright.http.headers import NONE
from gatewright.sdk import Env, ExchangeView, Outcome, Policy, PolicyConfig, Reply
from gatewright.sdk.types import Size


class RequestLimitsConfig(PolicyConfig):
    """Configuration of `request_limits`. What is not given is not limited here."""

    body: Size | None = None
    """Largest request body. Larger ones get 413."""
    headers: int | None = Field(default=None, ge=1)
    """Most header fields. More get 431."""
    header_bytes: Size | None = None
    """Largest header section. Larger ones get 431."""
    target_bytes: Size | None = None
    """Longest request target (path and query). Longer ones get 414."""
    content_types: tuple[str, ...] = ()
    """Media types that a body may have: `application/json`, `image/*`, `application/*+json`. Others get 415."""
    require_length: bool = False
    """Refuse bodies without `Content-Length` with 411."""

    @field_validator("content_types")
    @classmethod
    def _media_types(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            main, slash, sub = value.partition("/")
            if not slash or not main or not sub or "*" in main or sub.removeprefix("*+").count("*") > (sub == "*"):
                raise ValueError(f"'{value}' is not a media type; they look like application/json, image/*")
        return tuple(value.lower() for value in values)


class RequestLimits(Policy[RequestLimitsConfig]):
    """Narrower limits for single routes: sizes, number of fields, content types."""

    __slots__ = ("_body", "_exact", "_header_bytes", "_headers", "_length", "_patterns", "_target", "_types", "_wrong")
    name, stage, config, status = "request_limits", "admission", RequestLimitsConfig, "stable"

    def __init__(self, config: RequestLimitsConfig, env: Env) -> None:
        self._body = config.body
        self._headers = config.headers
        self._header_bytes = config.header_bytes
        self._target = config.target_bytes
        self._length = config.require_length
        self._types = bool(config.content_types)
        self._exact = frozenset(value.encode() for value in config.content_types if "*" not in value)
        #: (beginning, end) of types with a star.
        self._patterns = tuple(
            (head.encode(), tail.encode())
            for head, star, tail in (value.partition("*") for value in config.content_types)
            if star
        )
        accept = ", ".join(config.content_types).encode()
        self._wrong = Reply(
            415, "request_limits.content_type", ((b"accept", accept),), detail="The content type is not accepted here"
        )

    def on_request(self, ex: ExchangeView) -> Outcome:
        """Refuse what is too large or not wanted."""
        request = ex.request
        fields = request.headers.fields
        if self._target is not None and len(request.target) > self._target:
            return TARGET
        if self._headers is not None and len(fields.pairs) > self._headers:
            return HEADERS
        if self._header_bytes is not None and len(fields.block(NONE)) > self._header_bytes:
            return HEADER_BYTES
        if self._body is None and not self._types and not self._length:
            return None
        return self._judge_body(ex)

    def _judge_body(self, ex: ExchangeView) -> Outcome:
        headers = ex.request.headers
        length = headers.get(b"content-length")
        if length is None and b"transfer-encoding" not in headers:
            return None
        if length == b"0":
            return None
        if self._length and length is None:
            return LENGTH
        if self._body is not None:
            if length is not None and int(length) > self._body:  # digits only: the parser has seen to it
                return BODY
            ex.max_body = min(ex.max_body, self._body)
        if self._types and not self._accepts(headers.get(b"content-type") or b""):
            return self._wrong
        return None

    def _accepts(self, content_type: bytes) -> bool:
        media = content_type.split(b";", 1)[0].strip().lower()
        if media in self._exact:
            return True
        for head, tail in self._patterns:
            if media.startswith(head) and media.endswith(tail) and len(media) > len(head) + len(tail):
                return True
        return False


TARGET = Reply(414, "request_limits.target_bytes", detail="The request target is too long")
HEADERS = Reply(431, "request_limits.headers", detail="There are too many header fields")
HEADER_BYTES = Reply(431, "request_limits.header_bytes", detail="The header section is too large")
LENGTH = Reply(411, "request_limits.length", detail="Content-Length is needed")
BODY = Reply(413, "request_limits.body", detail="The request body is too large")
