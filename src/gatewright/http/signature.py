"""HTTP message signatures of requests (RFC 9421): what was signed, from the request as it came.

The value of a component is taken from what the client has sent, whatever policies have changed since.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote_plus

from gatewright.http.head import RequestHead
from gatewright.http.structured import InnerList, Item, Malformed, parse_dictionary, write_bare

MOST_COMPONENTS: Final = 64

_FIELD = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_DEFAULT_PORT: Final = {b"http": b":80", b"https": b":443"}
#: What a signature over the whole target URI covers as well.
_WITHIN_TARGET: Final = (b'"@scheme"', b'"@authority"', b'"@path"', b'"@query"', b'"@request-target"')


class Signature:
    """One signature of a request.

    Attributes:
        octets: The signature itself.
        parameters: As they were given: ``created`` and ``expires`` are whole numbers, all others known are text.
    """

    __slots__ = ("_components", "octets", "parameters")

    def __init__(self, components: InnerList, octets: bytes) -> None:
        self._components = components
        self.octets = octets
        self.parameters = components.parameters

    def covered(self) -> set[bytes]:
        """The identifiers of all components that are signed, with what lies within them."""
        found = {item.write() for item in self._components.items}
        if b'"@target-uri"' in found:
            found.update(_WITHIN_TARGET)
        return found

    def base(self, request: RequestHead) -> bytes:
        """What was signed (section 2.5). Raises :class:`Malformed` when the request does not have it."""
        lines = [b"%b: %b" % (item.write(), _value(item, request)) for item in self._components.items]
        lines.append(b'"@signature-params": ' + self._components.write())
        return b"\n".join(lines)


def read_signatures(inputs: bytes, signatures: bytes) -> dict[str, Signature]:
    """Label → signature (section 4). Raises :class:`Malformed`.

    Args:
        inputs: Value of ``Signature-Input``, its lines joined by commas.
        signatures: Value of ``Signature``, likewise.
    """
    octets = parse_dictionary(signatures)
    found: dict[str, Signature] = {}
    for label, components in parse_dictionary(inputs).items():
        signature = octets.get(label)
        if not isinstance(components, InnerList):
            raise Malformed(f"'{label}' is no list of components")
        if not isinstance(signature, Item) or not isinstance(signature.value, bytes):
            raise Malformed(f"'{label}' has no signature")
        _check(components)
        found[label] = Signature(components, signature.value)
    return found


def _check(components: InnerList) -> None:
    if len(components.items) > MOST_COMPONENTS:
        raise Malformed("too many components")
    seen = set()
    for item in components.items:
        identifier = item.write()
        if type(item.value) is not str or identifier in seen:
            raise Malformed("a component is none, or is there twice")
        seen.add(identifier)
    for name, value in components.parameters.items():
        wanted = int if name in {"created", "expires"} else str
        if name in {"created", "expires", "nonce", "alg", "keyid", "tag"} and type(value) is not wanted:
            raise Malformed(f"the parameter '{name}' is of another type")


def identifier_of(written: str) -> bytes:
    """``@method`` or ``@query-param;name="id"`` as the identifier of a component. Raises :class:`Malformed`."""
    name, semicolon, parameters = written.partition(";")
    name = name.lower()
    members = parse_dictionary(b"a=(%b%b)" % (write_bare(name), (semicolon + parameters).encode()))
    components = members["a"]
    if len(members) != 1 or not isinstance(components, InnerList) or len(components.items) != 1:
        raise Malformed(f"'{written}' is no component")
    item = components.items[0]
    name = str(item.value)
    known = name in _DERIVED and not item.parameters
    if not known and not (name == "@query-param" and _only_text(item, "name")) and not _is_field(item):
        raise Malformed(f"'{written}' is no component that can be signed")
    return item.write()


# --- values of components -----------------------------------------------------------------------------------------


def _value(item: Item, request: RequestHead) -> bytes:
    name = str(item.value)
    if name[:1] != "@":
        return _field(item, request)
    if name == "@query-param":
        return _query_param(item, request)
    derived = _DERIVED.get(name)
    if derived is None or item.parameters:
        raise Malformed(f"{name} with these parameters is no component of a request")
    return derived(request)


def _field(item: Item, request: RequestHead) -> bytes:
    """A header field: all its lines, or one member of the dictionary in it (sections 2.1 to 2.1.3)."""
    if not _is_field(item):
        raise Malformed("a component that is not known here")
    values = request.headers.fields.all(str(item.value).encode())
    if not values:
        raise Malformed("a field that was signed is not there")
    if "bs" in item.parameters:
        return b", ".join([write_bare(value.strip(b" \t")) for value in values])
    joined = b", ".join([value.strip(b" \t") for value in values])
    key = item.parameters.get("key")
    if key is None:
        return joined
    member = parse_dictionary(joined).get(str(key))
    if member is None:
        raise Malformed("a member that was signed is not there")
    return member.write()


def _is_field(item: Item) -> bool:
    if _FIELD.fullmatch(str(item.value)) is None:
        return False
    parameters = item.parameters
    return not parameters or _only_text(item, "key") or (len(parameters) == 1 and parameters.get("bs") is True)


def _only_text(item: Item, name: str) -> bool:
    return len(item.parameters) == 1 and type(item.parameters.get(name)) is str


def _target(request: RequestHead) -> bytes:
    """The target in origin form, as it was sent."""
    target = request.target
    if target[:1] == b"/" or b"://" not in target:
        return target
    rest = target.partition(b"://")[2]
    cut = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
    origin = rest[cut:]
    return origin if origin[:1] == b"/" else b"/" + origin


def _method(request: RequestHead) -> bytes:
    return request.method


def _scheme(request: RequestHead) -> bytes:
    return request.scheme.lower()


def _authority(request: RequestHead) -> bytes:
    return request.authority.lower().removesuffix(_DEFAULT_PORT.get(request.scheme, b"\0"))


def _path(request: RequestHead) -> bytes:
    return _target(request).partition(b"?")[0] or b"/"


def _query(request: RequestHead) -> bytes:
    return b"?" + _target(request).partition(b"?")[2]


def _target_uri(request: RequestHead) -> bytes:
    return b"%b://%b%b" % (_scheme(request), _authority(request), _target(request))


def _request_target(request: RequestHead) -> bytes:
    return request.target


def _query_param(item: Item, request: RequestHead) -> bytes:
    """A query parameter, decoded and encoded again (section 2.2.8)."""
    if not _only_text(item, "name"):
        raise Malformed("@query-param needs a name")
    wanted = item.parameters["name"]
    found = None
    for pair in _query(request)[1:].split(b"&"):
        name, _, value = pair.partition(b"=")
        if pair and _recoded(name) == wanted:
            if found is not None:
                raise Malformed("a parameter that was signed is there twice")
            found = _recoded(value)
    if found is None:
        raise Malformed("a parameter that was signed is not there")
    return found.encode()


def _recoded(text: bytes) -> str:
    plain = unquote_plus(text.decode("utf-8", "replace"), encoding="utf-8", errors="replace")
    return quote(plain, safe="*-._").replace("~", "%7E")


_DERIVED: Final = {
    "@authority": _authority,
    "@method": _method,
    "@path": _path,
    "@query": _query,
    "@request-target": _request_target,
    "@scheme": _scheme,
    "@target-uri": _target_uri,
}
