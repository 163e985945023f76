"""Let another service decide: it is shown the head of each request, and its answer lets the request pass or not.

An answer with a status of 2xx lets the request pass, and fields of the answer may go upstream with it. Any other answer
below 500 is the client's, as it is. The service is asked with GET and never gets the request's body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from gatewright.http.forwarding import NOT_FORWARDED
from gatewright.http.headers import Pair, check_field
from gatewright.sdk import (
    Answer,
    Env,
    ExchangeView,
    Headers,
    InvalidPolicy,
    Outcome,
    Policy,
    PolicyConfig,
    Reply,
    ServiceError,
    ServiceSpec,
    ServiceUrl,
)
from gatewright.sdk.files import CertificatesFile
from gatewright.sdk.types import Duration, HeaderName, HeaderValue, Size

_COPIES: Final = "forward_auth.copies"
_FRAMING: Final = frozenset({b"content-length"})
#: What the gateway itself says of the request.
_OURS: Final = frozenset({b"x-forwarded-method", b"x-forwarded-uri"})
#: Fields that would change what the service answers with, not what it decides; they are for the upstream.
_NOT_IN_ALL: Final = frozenset(
    {
        b"accept-encoding", b"content-encoding", b"content-length", b"expect", b"if-match", b"if-modified-since",
        b"if-none-match", b"if-range", b"if-unmodified-since", b"range", b"trailer",
    }
)  # fmt: skip
#: Fields of a refusal that the client needs to make something of it; its content type goes separately.
_REFUSAL: Final = frozenset(
    {
        b"www-authenticate", b"location", b"set-cookie", b"retry-after", b"cache-control", b"content-encoding",
        b"content-language",
    }
)  # fmt: skip


class ForwardAuthConfig(PolicyConfig):
    """Configuration of `forward_auth`."""

    url: ServiceUrl
    """Whom to ask: `http://host:port/path` or `https://…`, then with a verified certificate."""
    send: Literal["all"] | tuple[HeaderName, ...] = ("authorization", "cookie")
    """Request header fields that the service is shown: a list, or `all`."""
    add: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Fields that it is sent besides, with fixed values."""
    copy_to_upstream: tuple[HeaderName, ...] = ()
    """Fields of an answer of 2xx that go upstream. What the client has sent under these names never does."""
    copy_to_client: tuple[HeaderName, ...] = ()
    """Fields of any answer that go back to the client, such as `set-cookie`."""
    ca: CertificatesFile = ""
    """Authorities that certify the service, instead of those that the system trusts: a PEM file."""
    timeout: Annotated[Duration, Field(gt=0)] = 2.0
    """How long the answer may take."""
    max_body: Size = 64 * 1024
    """Bytes of the largest answer."""
    on_error: Literal["deny", "allow"] = "deny"
    """What happens to requests when the service does not answer, or with a status of 500 or more."""


class ForwardAuth(Policy[ForwardAuthConfig]):
    """Ask another service whether the request may pass."""

    __slots__ = (
        "_added",
        "_allow",
        "_asked",
        "_denied",
        "_service",
        "_shown",
        "_to_client",
        "_to_upstream",
        "unused_hooks",
    )
    name, stage, config = "forward_auth", "identify", ForwardAuthConfig

    def __init__(self, config: ForwardAuthConfig, env: Env) -> None:
        self._shown = None if config.send == "all" else _names(config.send, "send", NOT_FORWARDED | _FRAMING | _OURS)
        self._to_upstream = _names(config.copy_to_upstream, "copy_to_upstream", NOT_FORWARDED | _FRAMING)
        self._to_client = frozenset(_names(config.copy_to_client, "copy_to_client", NOT_FORWARDED | _FRAMING))
        _names(tuple(config.add), "add", NOT_FORWARDED | _FRAMING | _OURS)
        self._added = tuple((name.encode(), value.encode("latin-1")) for name, value in config.add.items())
        self._denied = self._to_client | _REFUSAL
        self._allow = config.on_error == "allow"
        self._asked = env.counter("forward_auth_answers_total", "Answers of services that decide.", ("result",))
        self._service = env.service(*self.services(config))
        self.unused_hooks = () if self._to_client else ("on_response",)

    @classmethod
    def services(cls, config: ForwardAuthConfig) -> Sequence[ServiceSpec]:
        """The one that decides."""
        return (ServiceSpec(config.url, config.timeout, config.max_body, ca=config.ca),)

    def on_request(self, ex: ExchangeView) -> Outcome:
        """Ask, and wait for the answer."""
        return self._ask(ex)

    # cold: what waits for another service costs a hundred times what a coroutine does
    async def _ask(self, ex: ExchangeView) -> Reply | None:
        question = self._question(ex)
        headers = ex.request.headers
        if self._to_upstream:
            _forget(headers, self._to_upstream)
        try:
            answer = await self._service.ask(b"GET", b"", question)
        except ServiceError:
            answer = None
        if answer is None or answer.status >= 500:
            self._asked.inc("error")
            return None if self._allow else UNAVAILABLE
        if answer.status >= 300:
            self._asked.inc("denied")
            return self._refusal(answer)
        self._asked.inc("allowed")
        for name in self._to_upstream:
            for value in answer.all(name):
                headers.add(name, value)
        if self._to_client:
            ex.vars[_COPIES] = [pair for pair in answer.headers if pair[0] in self._to_client]
        return None

    def on_response(self, ex: ExchangeView) -> Outcome:
        """Give the client what is meant for it."""
        if ex.response is not None:
            for name, value in ex.vars.get(_COPIES, ()):
                ex.response.headers.add(name, value)
        return None

    def _question(self, ex: ExchangeView) -> list[Pair]:
        """What the service is shown."""
        request = ex.request
        query = b"" if request.query is None else b"?" + request.query
        found = [
            (b"x-forwarded-method", request.method),
            (b"x-forwarded-proto", request.scheme),
            (b"x-forwarded-host", request.authority),
            (b"x-forwarded-uri", request.path + query),
        ]
        if ex.client_addr:  # a client on a unix socket has none
            found.append((b"x-forwarded-for", ex.client_addr.encode()))
        found += self._added
        return found + (_all(request.headers) if self._shown is None else _chosen(request.headers, self._shown))

    def _refusal(self, answer: Answer) -> Reply:
        fields = tuple(pair for pair in answer.headers if pair[0] in self._denied)
        content_type = answer.get(b"content-type") or b"application/octet-stream"
        detail = "The request was refused"
        return Reply(answer.status, "forward_auth.denied", fields, answer.body, content_type, detail)


def _names(given: Sequence[str], option: str, refused: frozenset[bytes]) -> tuple[bytes, ...]:
    """Names of fields. Raises InvalidPolicy for one that is the gateway's own."""
    names = tuple(name.encode() for name in given)
    for index, name in enumerate(names):
        if name in refused:
            place = f"{option}.{given[index]}" if option == "add" else f"{option}[{index}]"
            raise InvalidPolicy(f"the gateway itself says what stands in '{given[index]}'", place)
        check_field(name, b"")
    return names


def _forget(headers: Headers, names: Sequence[bytes]) -> None:
    """Drop the client's own, also under names that CGI, and so many an upstream, takes for the same: ``x_user``."""
    for name in {name for name, _ in headers if name.replace(b"_", b"-") in names}:
        headers.drop(name)


def _chosen(headers: Headers, names: Sequence[bytes]) -> list[Pair]:
    """Fields by name. Cookies that came in pieces are one field (RFC 9113 section 8.2.3)."""
    found: list[Pair] = []
    for name in names:
        values = headers.all(name)
        if name == b"cookie" and len(values) > 1:
            values = [b"; ".join(values)]
        found += [(name, value) for value in values]
    return found


def _all(headers: Headers) -> list[Pair]:
    """Every field that is meant for whoever gets the request, and not for this connection or for the upstream alone."""
    refused = NOT_FORWARDED | headers.fields.not_forwarded | _OURS | _NOT_IN_ALL
    names = dict.fromkeys(name for name, _ in headers if name not in refused)
    return _chosen(headers, tuple(names))


UNAVAILABLE = Reply(503, "forward_auth.unavailable", detail="Whether the request may pass cannot be found out now")
