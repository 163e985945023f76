"""What all configuration models share, and the scalars only the gateway's own configuration has."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from gatewright.sdk.types import Duration

NAME_PATTERN: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.:/@-]{0,127}$"


def wrong(kind: str, message: str, hint: str = "") -> PydanticCustomError:
    """An error with a message of ours; braces in it are taken literally."""
    return PydanticCustomError(kind, "{message}", {"message": message, "hint": hint})


class Model(BaseModel):
    """Base of the models: immutable, unknown keys are errors, a key without a value counts as not written."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if type(value) is dict and None in value.values():
            return {key: item for key, item in value.items() if item is not None}
        return value


T = TypeVar("T")


def _off_is_none(value: object) -> object:
    return None if value == "off" else value


class _OffInSchema:
    """Shows ``off`` in the JSON Schema, where the model has None."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        shown = handler(schema)
        members = [member for member in shown.get("anyOf", [shown]) if member != {"type": "null"}]
        return {"anyOf": [*members, {"const": "off"}]}


#: A value, or the word ``off``. Read as None when off.
OrOff: TypeAlias = Annotated[T | None, BeforeValidator(_off_is_none), _OffInSchema()]


def check_name(value: object) -> str:
    """The name itself. Raises PydanticCustomError when it is none."""
    if not isinstance(value, str):
        raise wrong("name", "a name must be text", "put it in quotes")
    if not re.fullmatch(NAME_PATTERN, value):
        raise wrong(
            "name",
            f"'{value[:60]}' is not a name",
            "names are letters, digits and - _ . : / @, at most 128, and start with a letter or digit",
        )
    return value


#: The name of a listener, an upstream, a route or a consumer.
Name: TypeAlias = Annotated[
    str, BeforeValidator(check_name), WithJsonSchema({"type": "string", "pattern": NAME_PATTERN})
]


def _above_zero(value: float) -> float:
    if value <= 0:
        raise wrong("duration", "a duration above zero is needed here")
    return value


#: A duration that is not zero.
Positive: TypeAlias = Annotated[Duration, AfterValidator(_above_zero)]


def _version(value: object) -> object:
    return str(value) if isinstance(value, float) else value  # 1.2 without quotes is a number


#: A version of TLS.
TlsVersion: TypeAlias = Annotated[
    Literal["1.2", "1.3"], BeforeValidator(_version, json_schema_input_type=Literal["1.2", "1.3"])
]

Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000_000)]


def _path(value: str) -> str:
    if "\0" in value:
        raise wrong("path", "a path may not hold a zero byte")
    return value


#: A path in the file system, or a word that stands in its place.
PathText: TypeAlias = Annotated[str, Field(min_length=1), AfterValidator(_path)]


class Address(NamedTuple):
    """Where to listen or whom to call: a literal address, a name, or the path of a unix socket with port -1."""

    host: str
    port: int


_NUMBERED_HOST: Final = re.compile(r"(?:\[([^\[\]]*)\]|([^\[\]:]*)):([0-9]{1,5})")


def split_bind(text: str) -> Address:
    """The parts of a normalised bind value."""
    if text.startswith("unix:"):
        return Address(text[5:], -1)
    host, _, port = text.rpartition(":")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def _bind(value: object) -> str:
    shape = "write host:port, [v6]:port or unix:/path"
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise wrong("bind", f"'{value}' is not an address to listen on", shape)
    if value.startswith("unix:"):
        if "\0" in value or len(value) < 6 or len(value.encode("utf-8", "replace")) > 5 + 100:
            raise wrong("bind", "the path of a unix socket must have 1 to 100 bytes")
        return value
    if re.fullmatch(r"(\*?:)?[0-9]+", value):
        port = value.lstrip("*:")
        raise wrong(
            "bind",
            f"'{value}' has no address",
            f"write 0.0.0.0:{port} for every address, 127.0.0.1:{port} for this machine",
        )
    found = _NUMBERED_HOST.fullmatch(value)
    if found is None or int(found[3]) > 65535:
        raise wrong("bind", f"'{value[:80]}' is not an address to listen on", shape)
    host = "127.0.0.1" if found[2] == "localhost" else found[1] or found[2] or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise wrong(
            "bind", f"'{host[:80]}' is not an IP address", "listening needs a literal address, not a name"
        ) from None
    if (address.version == 6) != (found[1] is not None):
        raise wrong("bind", f"'{value[:80]}' is not an address to listen on", shape)
    return f"[{address}]:{int(found[3])}" if address.version == 6 else f"{address}:{int(found[3])}"


#: An address to listen on, normalised: ``host:port``, ``[v6]:port`` or ``unix:/path``. Port 0 is any free one.
Bind: TypeAlias = Annotated[
    str,
    BeforeValidator(_bind),
    WithJsonSchema(
        {
            "type": "string",
            "description": "host:port, [v6]:port or unix:/path; port 0 is any free port.",
            "examples": ["0.0.0.0:8000", "[::]:8000", "unix:/run/gatewright.sock"],
        }
    ),
]


class Test(NamedTuple):
    """A test on a named value of the request: equal, matching, present or absent."""

    value: str | None = None
    regex: str | None = None
    absent: bool = False


def _test(value: object) -> Test:
    if value is True:
        return Test()
    if value is False:
        return Test(absent=True)
    if not isinstance(value, str):
        hint = f'write "{value}"' if isinstance(value, (int, float)) else ""
        raise wrong("text", "a test is text to be equal to, ~regex, true (present) or false (absent)", hint)
    if not value.startswith("~"):
        return Test(value=value)
    try:
        re.compile(value[1:])
    except (re.error, RecursionError, OverflowError) as error:
        raise wrong("regex", f"'{value[1:61]}' is not a regular expression: {error}") from None
    return Test(regex=value[1:])


#: Text to be equal to, ``~regex`` to match (unanchored), true for present, false for absent.
TestValue: TypeAlias = Annotated[
    Test,
    PlainValidator(_test),
    WithJsonSchema(
        {
            "type": ["string", "boolean"],
            "description": "Text to be equal to; ~regex to match; true for present, false for absent.",
        }
    ),
]

_METHOD: Final = re.compile(r"[A-Za-z!#$%&'*+.^_`|~0-9-]{1,32}")


def _method(value: object) -> str:
    if not isinstance(value, str) or not _METHOD.fullmatch(value):
        raise wrong("method", f"'{value}' is not a method")
    if value != value.upper():
        raise wrong("method", f"'{value}' is not a method", f"methods are upper case: {value.upper()}")
    return value


#: A request method, in upper case.
Method: TypeAlias = Annotated[
    str,
    BeforeValidator(_method),
    WithJsonSchema({"type": "string", "examples": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]}),
]

Metadata: TypeAlias = dict[str, str]


def single_key(value: object, what: str) -> tuple[str, Any]:
    """The only entry of a mapping such as ``{api_key: …}``."""
    if isinstance(value, str):
        raise wrong("shape", f"{what} is written as a mapping", f"write {value}: {{}}")
    if not isinstance(value, Mapping) or not value:
        raise wrong("shape", f"{what} is written as a mapping with one key")
    if len(value) > 1:
        keys = ", ".join(str(key) for key in value)
        raise wrong("shape", f"{what} is a mapping with one key, not {len(value)} ({keys})", "check the indentation")
    return next(iter(value.items()))
