"""Let browsers of other origins use the API, as the Fetch standard asks for.

Preflight requests are answered by the gateway; the upstream never sees them. The policy is in charge alone: what the
upstream says about CORS is replaced. CORS protects browsers' users, it does not keep anybody out: requests of other
origins are still forwarded, only without permission to read the answer.
"""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from gatewright.http.headers import TOKEN_OCTETS, Headers, Pair
from gatewright.sdk import Env, ExchangeView, InvalidPolicy, Outcome, Policy, PolicyConfig, Reply
from gatewright.sdk.types import Duration, HeaderName

_ORIGIN = re.compile(
    r"(null|[a-z][a-z0-9+.-]*://(\*\.)?[a-z0-9._~-]+(:(\*|[0-9]{1,5}))?|[a-z]+://\[[0-9a-f:.]+\](:[0-9]+)?)"
)
_LIST_OCTETS = TOKEN_OCTETS + b", \t"
_MOST_REFLECTED = 4096
#: What scripts that speak gRPC-Web send and read.
_GRPC_WEB_SENDS = ("content-type", "x-grpc-web", "x-user-agent", "grpc-timeout")
_GRPC_WEB_READS = ("grpc-status", "grpc-message", "grpc-status-details-bin")


class CorsConfig(PolicyConfig):
    """Configuration of `cors`."""

    origins: tuple[str, ...] = Field(min_length=1)
    """Origins that are let in: exact (`https://app.example.com`), with any subdomain (`https://*.example.org`), with
    any port (`http://localhost:*`), `*` for all, or a regular expression after `~` that must match the whole origin."""
    methods: tuple[str, ...] = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    """Methods that may be used."""
    headers: tuple[str, ...] = ("*",)
    """Request header fields that may be sent; `*` allows whatever the browser asks for."""
    expose: tuple[HeaderName, ...] = ()
    """Response header fields that scripts may read."""
    credentials: bool = False
    """Let browsers send cookies and HTTP authentication. Not with the origin `*`."""
    max_age: Duration = 600.0
    """How long a browser may remember the answer to a preflight request."""
    private_network: bool = False
    """Let public sites reach this private one (Private Network Access)."""
    grpc_web: bool = False
    """Allow and expose, besides what is listed, the header fields that gRPC-Web needs."""

    @field_validator("origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin.startswith("~"):
                try:
                    re.compile(origin[1:])
                except re.error as error:
                    raise ValueError(f"'{origin}' is not a regular expression: {error}") from None
            elif origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"'{origin}' is not an origin; origins look like https://app.example.com, without path"
                )
        return origins

    @field_validator("methods", "headers")
    @classmethod
    def _tokens(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not value or value.encode().translate(None, TOKEN_OCTETS):
                raise ValueError(f"'{value}' is not a token")
        return values


class Cors(Policy[CorsConfig]):
    """Let browsers of other origins use the API, and answer their preflight requests."""

    __slots__ = ("_allow", "_any", "_common", "_exact", "_headers", "_max_age", "_patterns", "_private", "_reflect")
    name, stage, config, status = "cors", "admission", CorsConfig, "stable"
    allows_preflight = True

    def __init__(self, config: CorsConfig, env: Env) -> None:
        if "*" in config.origins and config.credentials:
            raise InvalidPolicy("the origin '*' does not go with credentials: browsers refuse it", "origins")
        self._any = "*" in config.origins
        self._exact = frozenset(origin.encode() for origin in config.origins)
        self._patterns = tuple(_pattern(origin) for origin in config.origins if origin.startswith("~") or "*" in origin)
        common: list[Pair] = []
        if config.credentials:
            common.append((b"access-control-allow-credentials", b"true"))
        self._common = tuple(common)
        self._reflect = "*" in config.headers
        extra = _GRPC_WEB_SENDS if config.grpc_web else ()
        self._headers = ", ".join(_joined(config.headers, extra)).encode()
        self._allow: tuple[Pair, ...] = (
            (b"access-control-allow-methods", ", ".join(config.methods).encode()),
            (b"access-control-max-age", b"%d" % config.max_age),
        )
        expose = _joined(config.expose, _GRPC_WEB_READS if config.grpc_web else ())
        if expose:
            self._common += ((b"access-control-expose-headers", ", ".join(expose).encode()),)
        self._private = config.private_network

    def on_request(self, ex: ExchangeView) -> Outcome:
        """Answer preflight requests."""
        request = ex.request
        if request.method != b"OPTIONS":
            return None
        headers = request.headers
        origin = headers.get(b"origin")
        if origin is None or headers.get(b"access-control-request-method") is None:
            return None
        if not self._allows(origin):
            return DENIED
        out: list[Pair] = [*self._allow]
        wanted = headers.get(b"access-control-request-headers")
        if wanted and len(wanted) <= _MOST_REFLECTED and not wanted.translate(None, _LIST_OCTETS):
            out.append((b"access-control-allow-headers", wanted if self._reflect else self._headers))
        if self._private and headers.get(b"access-control-request-private-network") == b"true":
            out.append((b"access-control-allow-private-network", b"true"))
        out.append((b"vary", b"Access-Control-Request-Method, Access-Control-Request-Headers"))
        return Reply(204, "cors.preflight", tuple(out))

    def on_response(self, ex: ExchangeView) -> Outcome:
        """Say who may read the answer."""
        response = ex.response
        if response is None:
            return None
        headers = response.headers
        index = headers.fields.index
        for name in _OURS:
            if name in index or headers.added:
                headers.drop(name)
        if not self._any:
            _vary(headers)
        origin = ex.request.headers.get(b"origin")
        if origin is None or not self._allows(origin):
            return None
        headers.added.append((b"access-control-allow-origin", b"*" if self._any else origin))
        headers.added += self._common
        return None

    def _allows(self, origin: bytes) -> bool:
        if self._any or origin in self._exact:
            return True
        for pattern in self._patterns:  # noqa: SIM110 - any() makes a generator for every request
            if pattern.fullmatch(origin):
                return True
        return False


DENIED = Reply(403, "cors.denied", detail="The origin is not let in")
_OURS = (b"access-control-allow-origin", b"access-control-allow-credentials", b"access-control-expose-headers")


def _joined(names: tuple[str, ...], more: tuple[str, ...]) -> list[str]:
    """Both, each name once."""
    return list(dict.fromkeys([*names, *more]))


def _pattern(origin: str) -> re.Pattern[bytes]:
    if origin.startswith("~"):
        return re.compile(origin[1:].encode())
    text = re.escape(origin).replace(r"\*\.", r"(?:[a-z0-9_-]+\.)+").replace(r":\*", r"(?::[0-9]{1,5})?")
    return re.compile(text.encode())


def _vary(headers: Headers) -> None:
    """The answer depends on the Origin, also when there was none (RFC 9110 section 12.5.5)."""
    if b"vary" not in headers or b"origin" not in b",".join(headers.all(b"vary")).lower():
        headers.added.append((b"vary", b"Origin"))
