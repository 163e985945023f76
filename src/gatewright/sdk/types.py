"""The scalar types of the configuration language, for the gateway's own models and for every policy's.

A field declared with one of them is read from its written form (``250ms``, ``64KiB``, ``100/s``, ``50%``), has one
plain Python type inside, and appears in the JSON Schema with its pattern. A number without its unit is refused: whether
``timeout: 500`` means seconds or milliseconds is not for us to guess.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, NamedTuple, TypeAlias

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from gatewright.http.headers import TOKEN_OCTETS, VALUE_OCTETS

DURATION_PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,6})?(ms|s|m|h|d)$"
SIZE_PATTERN = r"^[0-9]{1,15}(\.[0-9]{1,6})?(B|KiB|MiB|GiB)$"
RATE_PATTERN = r"^[0-9]{1,12}/([0-9]{0,9})(s|m|h|d)$"
SHARE_PATTERN = r"^(100(\.0+)?|[0-9]{1,2}(\.[0-9]{1,6})?)%$"
HEADER_NAME_PATTERN = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)(B|KiB|MiB|GiB)")
_RATE = re.compile(r"([0-9]{1,12})/([0-9]{0,9})(s|m|h|d)")
_SHARE = re.compile(SHARE_PATTERN)

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_DECIMAL_SIZE = re.compile(r"([0-9.]+) ?([kKmMgG])(?:[bB]|ib|IB)?")


class RateValue(NamedTuple):
    """So many in so many seconds."""

    limit: int
    window: float


def _wrong(kind: str, message: str, hint: str = "") -> PydanticCustomError:
    # The message is passed as a value, because pydantic would read braces in it as places to fill.
    return PydanticCustomError(kind, "{message}", {"message": message, "hint": hint})


def _shown(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def parse_duration(value: object) -> float:
    """Seconds in ``250ms``, ``5s``, ``2m``, ``1h`` or ``1d``."""
    if isinstance(value, str) and (found := _DURATION.fullmatch(value)):
        return float(found[1]) * _SECONDS[found[2]]
    if _is_number(value) or (isinstance(value, str) and re.fullmatch(r"[0-9.]+", value)):
        raise _wrong("duration", f"the duration {_shown(value)} has no unit", f"write {_shown(value)}s for seconds")
    raise _wrong("duration", f"'{_shown(value)}' is not a duration", "durations look like 250ms, 5s, 2m, 1h or 1d")


def parse_size(value: object) -> int:
    """Bytes in ``512B``, ``64KiB``, ``10MiB`` or ``1GiB``."""
    if isinstance(value, str) and (found := _SIZE.fullmatch(value)):
        return int(float(found[1]) * _BYTES[found[2]]) if "." in found[1] else int(found[1]) * _BYTES[found[2]]
    if _is_number(value) or (isinstance(value, str) and re.fullmatch(r"[0-9.]+", value)):
        raise _wrong("size", f"the size {_shown(value)} has no unit", f"write {_shown(value)}B for bytes")
    if isinstance(value, str) and (found := _DECIMAL_SIZE.fullmatch(value)):
        raise _wrong("size", f"'{_shown(value)}' is not a size", f"did you mean '{found[1]}{found[2].upper()}iB'?")
    raise _wrong("size", f"'{_shown(value)}' is not a size", "sizes look like 512B, 64KiB, 10MiB or 1GiB")


def parse_rate(value: object) -> RateValue:
    """``100/s``, ``1000/m``, ``5/h``, ``1/d`` or with another window, ``20/10s``."""
    if isinstance(value, RateValue):
        return value
    if isinstance(value, str) and (found := _RATE.fullmatch(value)):
        window = int(found[2] or "1") * _SECONDS[found[3]]
        if window > 0 and int(found[1]) > 0:
            return RateValue(int(found[1]), window)
        raise _wrong("rate", f"the rate '{value}' must be above zero")
    if _is_number(value) or (isinstance(value, str) and value.isdigit()):
        raise _wrong("rate", f"the rate {_shown(value)} does not say in what time", f"write {_shown(value)}/s or /m")
    raise _wrong("rate", f"'{_shown(value)}' is not a rate", "rates look like 100/s, 1000/m, 5/h or 20/10s")


def parse_share(value: object) -> float:
    """``0%`` to ``100%`` as 0.0 to 1.0."""
    if isinstance(value, str) and _SHARE.fullmatch(value):
        return float(value[:-1]) / 100.0
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        percent = value * 100 if 0 <= value <= 1 else value
        raise _wrong("share", f"the share {_shown(value)} must be written in percent", f"write {percent:g}%")
    raise _wrong("share", f"'{_shown(value)}' is not a share", "shares look like 50% or 0.5%, from 0% to 100%")


def format_duration(seconds: float) -> str:
    """The written form that :func:`parse_duration` reads back."""
    for unit in ("d", "h", "m", "s"):
        if seconds >= _SECONDS[unit] and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return "0s" if seconds == 0 else f"{round(seconds * 1000, 6):.6f}".rstrip("0").rstrip(".") + "ms"


def format_size(size: int) -> str:
    """The written form that :func:`parse_size` reads back."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"


def format_rate(rate: RateValue) -> str:
    """The written form that :func:`parse_rate` reads back."""
    window = format_duration(rate.window)
    return f"{rate.limit}/{window[1:] if window[0] == '1' and window[1:].isalpha() else window}"


def format_share(share: float) -> str:
    """The written form that :func:`parse_share` reads back."""
    return f"{round(share * 100, 6):.6f}".rstrip("0").rstrip(".") + "%"


def _network(value: object) -> str:
    text = value if isinstance(value, str) else _shown(value)
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        loose = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise _wrong(
            "cidr", f"'{_shown(value)}' is not an address range", "ranges look like 10.0.0.0/8 or 2001:db8::/32"
        ) from None
    raise _wrong("cidr", f"'{text}' has bits set behind its prefix", f"did you mean '{loose}'?")


def _header_name(value: str) -> str:
    name = value.encode("utf-8", "replace")
    if not name or name.translate(None, TOKEN_OCTETS):
        raise _wrong("header_name", f"'{_shown(value)}' is not the name of a header field")
    return value.lower()


def _header_value(value: str) -> str:
    if value.encode("utf-8", "replace").translate(None, VALUE_OCTETS):
        raise _wrong("header_value", "a header value may not hold line breaks or control characters")
    return value


def _regex(value: str) -> str:
    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        raise _wrong("regex", f"'{_shown(value)}' is not a regular expression: {error}") from None
    return value


#: Seconds as float; written ``250ms 5s 2m 1h 1d``.
Duration: TypeAlias = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": DURATION_PATTERN, "description": "A duration: 250ms, 5s, 2m, 1h or 1d."}
    ),
]
#: Bytes as int; written ``512B 64KiB 10MiB 1GiB``.
Size: TypeAlias = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN, "description": "A size: 512B, 64KiB, 10MiB or 1GiB."}),
]
#: :class:`RateValue`; written ``100/s 1000/m 5/h 20/10s``.
Rate: TypeAlias = Annotated[
    RateValue,
    PlainValidator(parse_rate),
    PlainSerializer(format_rate, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": RATE_PATTERN, "description": "A rate: 100/s, 1000/m, 5/h or 20/10s."}),
]
#: 0.0 to 1.0 as float; written ``50%``.
Share: TypeAlias = Annotated[
    float,
    BeforeValidator(parse_share),
    PlainSerializer(format_share, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": SHARE_PATTERN, "description": "A share: 0% to 100%."}),
]
#: An address range as canonical text; a single address is a range of one.
Cidr: TypeAlias = Annotated[
    str,
    BeforeValidator(_network),
    WithJsonSchema(
        {"type": "string", "description": "An address or a range of addresses: 10.0.0.0/8, ::1, 2001:db8::/32."}
    ),
]
#: The name of a header field, in lower case.
HeaderName: TypeAlias = Annotated[
    str,
    AfterValidator(_header_name),
    WithJsonSchema({"type": "string", "pattern": HEADER_NAME_PATTERN, "description": "The name of a header field."}),
]
#: The value of a header field: no line breaks, no control characters.
HeaderValue: TypeAlias = Annotated[str, AfterValidator(_header_value)]
#: A regular expression of Python's :mod:`re`, checked.
Regex: TypeAlias = Annotated[
    str, AfterValidator(_regex), WithJsonSchema({"type": "string", "description": "A regular expression."})
]

#: Patterns of the types whose inner value is not what the user writes, and how to write it.
WRITTEN = {
    DURATION_PATTERN: format_duration,
    SIZE_PATTERN: format_size,
    RATE_PATTERN: format_rate,
    SHARE_PATTERN: format_share,
}
