"""Request targets: their forms, the path in its normal form, and the authority.

A gateway decides by path, and an upstream decides again. Whatever the two could read differently is either brought
into one form here or refused, and the form that was routed is the form that is forwarded. The table of
``docs/concepts/routing.md`` says what becomes of what; a test runs it.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from urllib.parse import unquote_to_bytes

from gatewright.errors import ProtocolError

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
#: What may stand in a path as it is (RFC 3986 section 3.3: pchar and the slash, without "%").
_PATH_OCTETS = _UNRESERVED + b"!$&'()*+,;=:@/"
#: Not allowed in a path, but sent by browsers: written as percent-encodings.
_ENCODED_OCTETS = b'"<>[]^`{|}'
#: Queries go upstream as they came: every visible octet but the fragment's "#".
_QUERY_OCTETS = bytes(octet for octet in range(0x21, 0x7F) if octet != 0x23)
#: Narrower than RFC 3986: no percent-encodings and no sub-delims, which no host name in use has.
_HOST_OCTETS = _UNRESERVED
_DIGITS = b"0123456789"
#: Leaves the octets of a path alone and changes every other one.
_AS_IS = bytes(octet if octet in _PATH_OCTETS else octet ^ 1 for octet in range(256))
_LONGEST_HOST = 255

_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_TO_REWRITE = re.compile(rb'%[0-9A-Fa-f]{2}|["<>\[\]^`{|}]')
_SLASHES = re.compile(rb"//+")
#: A dot segment to those who decode %2F, or who cut path parameters off (";" and what follows it).
_HIDDEN_DOTS = re.compile(rb"(?:^|/|%2F)\.\.?(?=%2F|;|%3B)|%2F\.\.?(?=$|/)")

_OCTET_OF = {b"%%%02X" % octet: bytes((octet,)) for octet in _UNRESERVED}
_OCTET_OF.update({bytes((octet,)): b"%%%02X" % octet for octet in _ENCODED_OCTETS})


def split_target(method: bytes, target: bytes) -> tuple[bytes, bytes | None, bytes, bytes]:
    """Take a request target apart: normalised path, query, authority, scheme. RFC 9112 section 3.2. Hot.

    The query is None without a question mark. Authority and scheme (lower case) are empty but for the absolute form.
    ``*`` is a path only for OPTIONS. The authority form belongs to CONNECT and is refused here.

    Raises:
        ProtocolError: ``request.target``, when the target has a form or an octet it may not have, or a percent sign
            without two hexadecimal digits.
    """
    if target[:1] != b"/":
        return _other_form(method, target)
    path, mark, query = target.partition(b"?")
    if not mark:
        return normalise_path(path), None, b"", b""
    check_query(query)
    return normalise_path(path), query, b"", b""


def check_query(query: bytes) -> None:
    """Raise ProtocolError for octets that a query may not hold and for broken percent-encodings."""
    if query.translate(None, _QUERY_OCTETS):
        raise ProtocolError("request.target", detail="the query holds an octet that must be percent-encoded")
    if b"%" in query and _BAD_PERCENT.search(query):
        raise ProtocolError("request.target", detail="the query holds a broken percent-encoding")


def _other_form(method: bytes, target: bytes) -> tuple[bytes, bytes | None, bytes, bytes]:
    if target == b"*" and method == b"OPTIONS":
        return b"*", None, b"", b""
    scheme, mark, rest = target.partition(b"://")
    scheme = scheme.lower()
    if not mark or scheme not in (b"http", b"https"):
        raise ProtocolError("request.target", detail="neither a path nor an http address")
    slash, question = rest.find(b"/"), rest.find(b"?")
    end = min((at for at in (slash, question) if at >= 0), default=len(rest))
    authority, rest = rest[:end], rest[end:]
    if not authority:
        raise ProtocolError("request.target", detail="an address without a host")
    if rest[:1] != b"/":  # "http://host" and "http://host?query" mean the root
        rest = b"/" + rest
    path, query, _, _ = split_target(method, rest)
    return path, query, authority, scheme


def normalise_path(path: bytes) -> bytes:
    """Bring a path into its normal form. RFC 3986 sections 6.2.2 and 5.2.4. Hot.

    Raises:
        ProtocolError: ``request.target``, for what is malformed, leads above the root or hides a separator.
    """
    # Normal already, nearly always. bytes.translate and bytes.replace hand the same object back when nothing changes:
    # 0.2 us for 28 octets, against 0.35 us with translate(None, ...) and "in" (benchmarks/micro/bench_router.py).
    # Where they should make a copy instead, only time is lost.
    if (
        path[:1] == b"/"
        and path.translate(_AS_IS) is path
        and path.replace(b"//", b"") is path
        and path.replace(b"/.", b"") is path
    ):
        return path
    return _normalise(path)


def _normalise(path: bytes) -> bytes:
    if path[:1] != b"/":
        raise ProtocolError("request.target", detail="the path does not start with a slash")
    if path.translate(None, _PATH_OCTETS + _ENCODED_OCTETS + b"%"):
        raise ProtocolError("request.target", detail="the path holds an octet that must be percent-encoded")
    if _BAD_PERCENT.search(path):
        raise ProtocolError("request.target", detail="the path holds a broken percent-encoding")
    path = _SLASHES.sub(b"/", _TO_REWRITE.sub(_rewrite, path))
    if _HIDDEN_DOTS.search(path):
        raise ProtocolError("request.target", detail="the path hides a dot segment")
    if b"/." in path:
        path = _remove_dots(path)
    return path


def _rewrite(found: re.Match[bytes]) -> bytes:
    text = found.group().upper()
    if text in (b"%00", b"%5C"):
        raise ProtocolError("request.target", detail="the path holds an encoded NUL or backslash")
    return _OCTET_OF.get(text, text)


def _remove_dots(path: bytes) -> bytes:
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            if not kept:
                raise ProtocolError("request.target", detail="the path leads above the root")
            kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")  # a dot segment at the end names a folder: /a/b/.. is /a/
    return b"/" + b"/".join(kept)


def parse_authority(value: bytes) -> bytes:
    """The host of a Host field or of an absolute target: lower case, without port. RFC 9110 section 7.2.

    IPv6 addresses keep their brackets and take their shortest form. One dot at the end of a name is dropped, so that
    ``example.com.`` cannot miss the routes of ``example.com``.

    Raises:
        ProtocolError: ``request.host``, for an empty host, user information, a zone, percent-encodings, octets that
            no host name has, or a port that is not a number up to 65535.
    """
    if value[:1] == b"[":
        return _parse_ipv6(value)
    host, _, port = value.partition(b":")
    if port:
        _check_port(port)
    if host.translate(None, _HOST_OCTETS) or len(host) > _LONGEST_HOST:
        raise ProtocolError("request.host", detail="not a host name")
    if host[-1:] == b".":
        host = host[:-1]
    if not host or host[:1] == b"." or host[-1:] == b"." or b".." in host:
        raise ProtocolError("request.host", detail="an empty host name or label")
    return host.lower()


def _check_port(port: bytes) -> None:
    if port.translate(None, _DIGITS) or len(port) > 5 or int(port) > 65535:
        raise ProtocolError("request.host", detail="not a port")


def _parse_ipv6(value: bytes) -> bytes:
    text, bracket, port = value[1:].partition(b"]")
    if port:
        if port[:1] != b":":
            raise ProtocolError("request.host", detail="not an IPv6 address")
        if port != b":":
            _check_port(port[1:])
    try:
        # Octets above 127 and zones are no part of an address in a Host field (RFC 3986 section 3.2.2).
        address = IPv6Address(text.decode("ascii"))
    except ValueError:
        raise ProtocolError("request.host", detail="not an IPv6 address") from None
    if not bracket or b"%" in text:
        raise ProtocolError("request.host", detail="not an IPv6 address")
    return b"[" + address.compressed.encode() + b"]"


def parse_query(query: bytes | None) -> dict[bytes, list[bytes]]:
    """The parameters of a query as forms write them, decoded, with all their values in order."""
    found: dict[bytes, list[bytes]] = {}
    if not query:
        return found
    for piece in query.split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            found.setdefault(_decode(name), []).append(_decode(value))
    return found


def _decode(text: bytes) -> bytes:
    text = text.replace(b"+", b" ")
    return unquote_to_bytes(text) if b"%" in text else text
