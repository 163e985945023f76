"""Send the response header fields that make browsers careful, and hide what tells attackers about the software.

What the upstream sets itself is left as it is, unless `overwrite` is on. Each field can be given another value, or
switched off with `null`. `Strict-Transport-Security` is only sent over https.
"""

from __future__ import annotations

from gatewright.http.headers import Pair
from gatewright.sdk import Env, ExchangeView, Outcome, Policy, PolicyConfig
from gatewright.sdk.types import HeaderName, HeaderValue


class SecurityHeadersConfig(PolicyConfig):
    """Configuration of `security_headers`."""

    content_type_options: HeaderValue | None = "nosniff"
    """`X-Content-Type-Options`: browsers do not guess types."""
    frame_options: HeaderValue | None = "SAMEORIGIN"
    """`X-Frame-Options`: who may show the page in a frame."""
    hsts: HeaderValue | None = "max-age=31536000; includeSubDomains"
    """`Strict-Transport-Security`, over https only: browsers come back over https only."""
    referrer_policy: HeaderValue | None = "strict-origin-when-cross-origin"
    """`Referrer-Policy`: how much of the address other sites learn."""
    permissions_policy: HeaderValue | None = "camera=(), geolocation=(), microphone=()"
    """`Permissions-Policy`: what pages may use of the device."""
    content_security_policy: HeaderValue | None = None
    """`Content-Security-Policy`; there is no value that suits everybody."""
    cross_origin_opener_policy: HeaderValue | None = None
    """`Cross-Origin-Opener-Policy`."""
    cross_origin_resource_policy: HeaderValue | None = None
    """`Cross-Origin-Resource-Policy`."""
    hide: tuple[HeaderName, ...] = ("server", "x-powered-by")
    """Response fields to remove."""
    overwrite: bool = False
    """Replace what the upstream has set."""


_FIELDS = {
    "content_type_options": b"x-content-type-options",
    "frame_options": b"x-frame-options",
    "referrer_policy": b"referrer-policy",
    "permissions_policy": b"permissions-policy",
    "content_security_policy": b"content-security-policy",
    "cross_origin_opener_policy": b"cross-origin-opener-policy",
    "cross_origin_resource_policy": b"cross-origin-resource-policy",
}


class SecurityHeaders(Policy[SecurityHeadersConfig]):
    """Send the response header fields that make browsers careful, and hide what tells about the software."""

    __slots__ = ("_dropped", "_hidden", "_names", "_overwrite", "_plain", "_secure")
    name, stage, config, status = "security_headers", "admission", SecurityHeadersConfig, "stable"

    def __init__(self, config: SecurityHeadersConfig, env: Env) -> None:
        pairs: list[Pair] = []
        for field, name in _FIELDS.items():
            value = getattr(config, field)
            if value is not None:
                pairs.append((name, value.encode()))
        self._plain = tuple(pairs)
        hsts = config.hsts
        self._secure = (*pairs, (b"strict-transport-security", hsts.encode())) if hsts is not None else self._plain
        self._names = frozenset(name for name, _ in self._secure)
        self._hidden = frozenset(name.encode() for name in config.hide)
        self._overwrite = config.overwrite

    def on_response(self, ex: ExchangeView) -> Outcome:
        """Add and hide."""
        response = ex.response
        if response is None:
            return None
        headers = response.headers
        pairs = self._secure if ex.request.scheme == b"https" else self._plain
        index = headers.fields.index
        if not self._hidden.isdisjoint(index):
            headers.dropped |= self._hidden
        if headers.added or not self._names.isdisjoint(index):
            return self._merge(ex, pairs)
        headers.added += pairs  # checked when the configuration was read
        return None

    def _merge(self, ex: ExchangeView, pairs: tuple[Pair, ...]) -> Outcome:
        """Some field may be there already. Cold."""
        headers = ex.response.headers  # type: ignore[union-attr]  # the caller has looked
        for name in self._hidden:
            headers.drop(name)
        for name, value in pairs:
            if self._overwrite:
                headers.drop(name)
            elif name in headers:
                continue
            headers.added.append((name, value))
        return None
