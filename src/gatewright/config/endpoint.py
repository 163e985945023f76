"""The written form of an endpoint's address."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final, NamedTuple, TypeAlias

from pydantic import PlainValidator, WithJsonSchema

from gatewright.config.base import wrong

_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_URL: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*)://(?:\[([^\[\]/?#]*)\]|([^\[\]/?#:@]*))(?::([0-9]*))?(.*)", re.DOTALL
)
_PORTS: Final = {"http": 80, "https": 443}


class EndpointUrl(NamedTuple):
    """The parts of an endpoint's URL.

    ``host`` is a literal address, a name in lower case, or the path of a unix socket (``port`` is then 0).
    ``authority`` is the host and port as a Host header field shows them.
    """

    scheme: str
    host: str
    port: int
    literal: bool
    authority: str

    @property
    def unix(self) -> bool:
        """Whether it is a unix socket."""
        return self.port == 0


def parse_url(value: object) -> EndpointUrl:
    """The parts of ``http://host:port``, ``https://host:port`` or ``unix:/path``."""
    if isinstance(value, EndpointUrl):
        return value
    if not isinstance(value, str):
        raise wrong("url", f"'{value}' is not a URL", "write http://host:port")
    if value.startswith("unix:"):
        path = value[5:].removeprefix("//")
        if not path or "\0" in path or len(path.encode("utf-8", "replace")) > 100:
            raise wrong("url", "the path of a unix socket must have 1 to 100 bytes")
        return EndpointUrl("http", path, 0, literal=True, authority="localhost")
    found = _URL.fullmatch(value)
    if found is None:
        raise wrong("url", f"'{value[:80]}' is not a URL", _missing_scheme(value))
    scheme, v6, name, port, rest = found[1].lower(), found[2], found[3], found[4], found[5]
    if scheme not in _PORTS:
        raise wrong("url", f"the scheme '{scheme}' is not known", "write http://, https:// or unix:/path")
    if rest not in ("", "/"):
        if "@" in value:
            raise wrong("url", "an endpoint's URL holds no user name or password", "set a header field instead")
        raise wrong("url", "an endpoint's URL ends after the port", "set a path with the route's rewrite.add_prefix")
    if port is not None and not 1 <= int(port or "0") <= 65535:
        raise wrong("url", f"'{port}' is not a port", "ports are 1 to 65535")
    number = int(port) if port else _PORTS[scheme]
    host, literal = _host(v6, name)
    shown = f"[{host}]" if v6 is not None else host
    return EndpointUrl(scheme, host, number, literal, shown if number == _PORTS[scheme] else f"{shown}:{number}")


def _missing_scheme(value: str) -> str:
    return (
        f"did you mean 'http://{value}'?" if re.fullmatch(r"[A-Za-z0-9.:\[\]-]+", value) else "write http://host:port"
    )


def _host(v6: str | None, name: str | None) -> tuple[str, bool]:
    """The host, normalised, and whether it is a literal address."""
    try:
        return str(ipaddress.IPv6Address(v6) if v6 is not None else ipaddress.IPv4Address(name or "")), True
    except ValueError:
        pass
    if v6 is not None:
        raise wrong("url", f"'{v6}' is not an IPv6 address")
    host = (name or "").lower().removesuffix(".")
    labels = host.split(".")
    # A last label of digits only would make it an address to some resolvers (RFC 1123 section 2.1).
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise wrong("url", f"'{host[:80]}' is neither an address nor a host name")
    return host, False


#: The URL of an endpoint, read into its parts.
Url: TypeAlias = Annotated[
    EndpointUrl,
    PlainValidator(parse_url),
    WithJsonSchema(
        {
            "type": "string",
            "description": "http://host:port, https://host:port or unix:/path.",
            "pattern": r"^(https?://[^/?#@]+/?|unix:.+)$",
        }
    ),
]


def _server_name(value: object) -> str:
    if not isinstance(value, str):
        raise wrong("server_name", f"'{value}' is not a name", "write a host name or an address")
    bare = value.removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    try:
        return _host(None, value)[0]
    except ValueError:
        hint = "write the name alone" if ":" in value or "/" in value else "write a host name or an address"
        raise wrong("server_name", f"'{value[:80]}' is neither an address nor a host name", hint) from None


#: The name or the address that a certificate must have.
ServerName: TypeAlias = Annotated[str, PlainValidator(_server_name), WithJsonSchema({"type": "string"})]
