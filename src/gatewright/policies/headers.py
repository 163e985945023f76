"""Change header fields of the request before it goes upstream, and of the response before it goes back.

Values are templates: `{consumer.name}`, `{client.address}`, `{param.id}`, `{request.header.x}`, `{route.name}`,
`{request.id}` and more. The steps of one direction are taken in this order: remove, rename, set, default, add, append.
A field whose value comes out empty is not sent.
"""

from __future__ import annotations

from pydantic import Field

from gatewright.http.headers import Headers
from gatewright.sdk import Env, ExchangeView, InvalidPolicy, Outcome, Policy, PolicyConfig
from gatewright.sdk.template import Template
from gatewright.sdk.types import HeaderName, HeaderValue

#: Fields that frame or address a message or belong to one connection; changing them here would break it.
_FORBIDDEN = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
#: Written by the gateway itself when it forwards.
_OURS = frozenset({"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"})


class Changes(PolicyConfig):
    """Changes to one header section."""

    remove: tuple[HeaderName, ...] = ()
    """Fields to remove."""
    rename: dict[HeaderName, HeaderName] = Field(default_factory=dict)
    """Old name: new name. The values stay; what stood under the new name goes."""
    set: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Fields with the only value they shall have."""
    default: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Fields to set when they are not there."""
    add: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Fields to add, whatever stands there already."""
    append: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Elements to put at the end of list fields, after a comma."""


class HeadersConfig(PolicyConfig):
    """Configuration of `headers`."""

    request: Changes = Changes()
    """Changes to the request."""
    response: Changes = Changes()
    """Changes to the response."""


class Editor:
    """The compiled changes of one direction."""

    __slots__ = ("_add", "_append", "_default", "_remove", "_rename", "_set")

    def __init__(self, changes: Changes, direction: str) -> None:
        forbidden = _FORBIDDEN | _OURS if direction == "request" else _FORBIDDEN
        for step in Changes.model_fields:
            for name in getattr(changes, step):
                if name in forbidden:
                    raise InvalidPolicy(f"the gateway itself is in charge of '{name}'", f"{direction}.{step}")
        for name in changes.rename.values():
            if name in forbidden:
                raise InvalidPolicy(f"the gateway itself is in charge of '{name}'", f"{direction}.rename")
        self._remove = tuple(name.encode() for name in changes.remove)
        self._rename = tuple((old.encode(), new.encode()) for old, new in changes.rename.items())
        self._set = _templates(changes.set, direction, "set")
        self._default = _templates(changes.default, direction, "default")
        self._add = _templates(changes.add, direction, "add")
        self._append = _templates(changes.append, direction, "append")

    def edit(self, headers: Headers, ex: ExchangeView) -> None:
        """Make the changes. Hot."""
        for name in self._remove:
            headers.drop(name)
        for old, new in self._rename:
            _rename(headers, old, new)
        for name, template in self._set:
            value = template.render(ex)
            headers.drop(name)
            if value:
                headers.added.append((name, value))  # checked by the template
        for name, template in self._default:
            if name not in headers and (value := template.render(ex)):
                headers.added.append((name, value))
        for name, template in self._add:
            if value := template.render(ex):
                headers.added.append((name, value))
        for name, template in self._append:
            _append(headers, name, template.render(ex))


def _templates(values: dict[str, str], direction: str, step: str) -> tuple[tuple[bytes, Template], ...]:
    out = []
    for name, source in values.items():
        try:
            out.append((name.encode(), Template(source, response=direction == "response")))
        except ValueError as error:
            raise InvalidPolicy(str(error), f"{direction}.{step}.{name}") from None
    return tuple(out)


def _rename(headers: Headers, old: bytes, new: bytes) -> None:
    values = headers.all(old)
    if values:
        headers.drop(old)
        headers.drop(new)
        headers.added += [(new, value) for value in values]


def _append(headers: Headers, name: bytes, value: bytes) -> None:
    if value:
        values = [*headers.all(name), value]
        headers.drop(name)
        headers.added.append((name, b", ".join(values)))


class HeadersPolicy(Policy[HeadersConfig]):
    """Change header fields of the request and of the response."""

    __slots__ = ("_request", "_response")
    name, stage, config, status = "headers", "transform", HeadersConfig, "stable"

    def __init__(self, config: HeadersConfig, env: Env) -> None:
        self._request = Editor(config.request, "request")
        self._response = Editor(config.response, "response")

    def on_request(self, ex: ExchangeView) -> Outcome:
        """Change the request."""
        self._request.edit(ex.request.headers, ex)
        return None

    def on_response(self, ex: ExchangeView) -> Outcome:
        """Change the response."""
        if ex.response is not None:
            self._response.edit(ex.response.headers, ex)
        return None
