"""Header sections of HTTP/2 messages: what they must be (RFC 9113 sections 8.2, 8.3), and how ours are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatewright.errors import ProtocolError
from gatewright.http.fields import kind_of_call
from gatewright.http.forwarding import HOP_BY_HOP, NOT_FORWARDED, NOT_TRAILERS
from gatewright.http.headers import VALUE_OCTETS, Fields, Headers, Pair
from gatewright.http.target import parse_authority
from gatewright.wire.h1 import CHUNKED, UNTIL_CLOSE, read_request_line
from gatewright.wire.h2.hpack import encode_pair, encode_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable

_LOWER_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_SCHEME_OCTETS = b"+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: Fields that only HTTP/1.1 has (section 8.2.2).
_OF_CONNECTION = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
_PSEUDO_OF_REQUEST = frozenset({b":method", b":scheme", b":path", b":authority", b":protocol"})
_TRAILERS = (b"te", b"trailers")
_LONGEST_LENGTH = 18

#: Fields that have been checked.
_GOOD: set[Pair] = set()
_MOST_GOOD = 4096
_LONGEST_GOOD = 128
_SECRET = frozenset({b"authorization", b"cookie", b"proxy-authorization", b"set-cookie", b"x-api-key"})
#: Trailers → their block.
_PACKED_TRAILERS: dict[tuple[Pair, ...], bytes] = {}
_MOST_TRAILERS = 256
_LONGEST_TRAILERS = 512
#: authority → host.
_HOSTS: dict[bytes, bytes] = {}
_MOST_HOSTS = 1024
_LONGEST_HOST = 256


class Malformed(Exception):
    """A message that breaks a rule of HTTP/2: a stream error PROTOCOL_ERROR (section 8.1.1)."""


class H2RequestFields(Fields):
    """A request's header section, with the same facts as one of HTTP/1.1."""

    __slots__ = ("call", "connection", "expects", "framing", "host", "upgrade")
    ours = NOT_FORWARDED

    def __init__(self, pairs: list[Pair]) -> None:
        check_fields(pairs)
        super().__init__(_joined_cookies(pairs))
        index = self.index
        if len(index) != len(self.pairs):
            _refuse_repeated(self.pairs, (b"content-length", b"host", b"content-type"))
        te = index.get(b"te")
        if te is not None and te.lower() != b"trailers":
            raise Malformed("TE other than trailers")
        #: ``grpc``, ``grpc-web`` or nothing.
        self.call = kind_of_call(index.get(b"content-type", b""))
        self.framing = _length(index, CHUNKED)
        self.connection = self.upgrade = b""
        self.host = index.get(b"host")
        self.expects = b"expect" in index
        self.not_forwarded = NOT_FORWARDED


class H2ResponseFields(Fields):
    """A response's header section, with the same facts as one of HTTP/1.1."""

    __slots__ = ("connection", "events", "framing", "upgrade")
    ours = HOP_BY_HOP

    def __init__(self, pairs: list[Pair]) -> None:
        check_fields(pairs)
        super().__init__(pairs)
        index = self.index
        if len(index) != len(pairs):
            _refuse_repeated(self.pairs, (b"content-length",))
        self.framing = _length(index, UNTIL_CLOSE)
        self.connection = self.upgrade = b""
        self.events = index.get(b"content-type", b"").lower().startswith(b"text/event-stream")
        self.not_forwarded = HOP_BY_HOP


class RequestLine:
    """What the pseudo-header fields of a request say (section 8.3.1)."""

    __slots__ = ("authority", "host", "method", "path", "query", "target", "websocket")

    def __init__(self, pseudo: list[Pair], fields: H2RequestFields) -> None:
        said = dict(pseudo)
        if len(said) != len(pseudo) or not said.keys() <= _PSEUDO_OF_REQUEST:
            raise Malformed("pseudo-header fields are repeated or unknown")
        if b"".join(said.values()).translate(None, VALUE_OCTETS):
            raise Malformed("a control character stands in a pseudo-header field")
        method = said.get(b":method", b"")
        #: RFC 8441: a WebSocket is asked for. To routes and policies it is the GET that it is in HTTP/1.1.
        self.websocket = (method == b"CONNECT" or b":protocol" in said) and _asks_for_websocket(said)
        if self.websocket and fields.framing != CHUNKED:
            raise Malformed("a CONNECT with a length")  # HTTP/1.1 endpoints would wait for so many octets
        path = said.get(b":path", b"")
        scheme = said.get(b":scheme")
        if not method or not path or not scheme or scheme.translate(None, _SCHEME_OCTETS):
            raise Malformed("a pseudo-header field is missing, or :scheme is none")
        if path[:1] != b"/" and (path != b"*" or method != b"OPTIONS"):
            raise Malformed(":path is no path")
        self.method = b"GET" if self.websocket else method
        line = read_request_line(b"%b %b HTTP/1.1" % (self.method, path))
        _, self.target, self.path, self.query, _, _ = line
        self.authority = authority = _authority(said.get(b":authority", b""), fields.host)
        host = _HOSTS.get(authority)
        self.host = _host(authority) if host is None else host


def _host(authority: bytes) -> bytes:
    """The host of an authority, remembered: there are few."""
    host = parse_authority(authority)
    if len(_HOSTS) >= _MOST_HOSTS:
        _HOSTS.clear()
    if len(authority) <= _LONGEST_HOST:
        _HOSTS[authority] = host
    return host


def _asks_for_websocket(said: dict[bytes, bytes]) -> bool:
    """Whether a CONNECT asks for a WebSocket; other tunnels are refused."""
    protocol = said.get(b":protocol")
    if said.get(b":method") != b"CONNECT":
        raise Malformed(":protocol without CONNECT")
    if protocol is None and (b":scheme" in said or b":path" in said):
        raise Malformed("CONNECT with a path")
    if protocol != b"websocket":
        raise ProtocolError("request.tunnel", 501)
    return True


def _authority(authority: bytes, host: bytes | None) -> bytes:
    """Whom the request is for; both ways of saying it have to agree."""
    if host is not None:
        if authority and authority.lower() != host.lower():
            raise ProtocolError("request.ambiguous", 400, "Host differs from :authority")
        authority = authority or host
    if not authority:
        raise ProtocolError("request.host", 400, "a request needs an :authority or a Host")
    return authority


def read_status(pseudo: list[Pair]) -> int:
    """The status of a response."""
    if len(pseudo) != 1 or pseudo[0][0] != b":status":
        raise Malformed("a response has exactly one pseudo-header field, :status")
    value = pseudo[0][1]
    if len(value) != 3 or not value.isdigit() or value < b"100" or value == b"101":
        raise Malformed("the status is not one")
    return int(value)


def check_fields(pairs: Iterable[Pair]) -> None:
    """Names and values of regular fields (section 8.2.1), and none that only HTTP/1.1 has. Raises Malformed.

    Fields that have been found good are remembered, but for those that hold secrets: most come again. Saves 4 µs for
    ten fields.
    """
    unknown = [pair for pair in pairs if pair not in _GOOD]
    if unknown:
        _check(unknown)
        if len(_GOOD) >= _MOST_GOOD:
            _GOOD.clear()
        _GOOD.update([pair for pair in unknown if len(pair[1]) <= _LONGEST_GOOD and pair[0] not in _SECRET])


def _check(pairs: list[Pair]) -> None:
    names = [name for name, _ in pairs]
    values = [value for _, value in pairs]
    if b"".join(names).translate(None, _LOWER_TOKEN) or b"" in names:
        raise Malformed("a field name holds what it may not")
    if b"".join(values).translate(None, VALUE_OCTETS) or [value.strip(b" \t") for value in values] != values:
        raise Malformed("a field value holds what it may not")
    if not _OF_CONNECTION.isdisjoint(names):
        raise Malformed("a field of HTTP/1.1's connections")


def read_trailers(pairs: list[Pair]) -> tuple[Pair, ...]:
    """Trailers: checked, without what may not stand there (RFC 9110 section 6.5.1)."""
    check_fields(pairs)
    return tuple(pair for pair in pairs if pair[0] not in NOT_TRAILERS)


def _length(index: dict[bytes, bytes], otherwise: int) -> int:
    value = index.get(b"content-length")
    if value is None:
        return otherwise
    if not value.isdigit() or len(value) > _LONGEST_LENGTH:
        raise Malformed("Content-Length is not a number")
    return int(value)


def _refuse_repeated(pairs: tuple[Pair, ...], single: tuple[bytes, ...]) -> None:
    names = [name for name, _ in pairs]
    for name in single:
        if names.count(name) > 1:
            raise Malformed(f"{name.decode()} is repeated")


def _joined_cookies(pairs: list[Pair]) -> list[Pair]:
    """Cookies that were split for compression are one field again (section 8.2.3)."""
    crumbs = [value for name, value in pairs if name == b"cookie"]
    if len(crumbs) < 2:
        return pairs
    joined = [pair for pair in pairs if pair[0] != b"cookie"]
    joined.append((b"cookie", b"; ".join(crumbs)))
    return joined


# --- writing ----------------------------------------------------------------------------------------------------------


def pack(headers: Headers) -> bytes:
    """The block of what is to be forwarded of ``headers``. Unchanged fields are encoded once. Hot."""
    fields = headers.fields
    packed = fields.packed
    dropped = headers.dropped
    if packed is None or packed[0] != dropped:
        packed = fields.packed = dropped, _pack(fields, dropped)
    if not headers.added:
        return packed[1]
    ours = fields.ours
    return packed[1] + encode_pairs([pair for pair in headers.added if pair[0] not in ours])


def _pack(fields: Fields, dropped: frozenset[bytes]) -> bytes:
    without = fields.not_forwarded | dropped
    pairs = [pair for pair in fields.pairs if pair[0] not in without]
    if b"cookie" in fields.index:
        pairs = [crumb for pair in pairs for crumb in _crumbs(pair)]
    return encode_pairs(pairs)


def _crumbs(pair: Pair) -> list[Pair]:
    """A cookie field as one field a cookie, which compress better (section 8.2.3)."""
    if pair[0] != b"cookie":
        return [pair]
    return [(b"cookie", crumb) for crumb in pair[1].split(b"; ")]


def pack_lines(lines: bytes) -> bytes:
    """The block of fields written as HTTP/1.1 lines, as :class:`gatewright.http.forwarding.Origin` has them."""
    pairs = [line.partition(b": ") for line in lines.split(b"\r\n") if line]
    return encode_pairs([(name, value) for name, _, value in pairs])


def pack_trailers(trailers: tuple[Pair, ...]) -> bytes:
    """The block of trailers, remembered: nearly all calls end in the same words."""
    block = _PACKED_TRAILERS.get(trailers)
    if block is None:
        block = encode_pairs([pair for pair in trailers if pair[0] not in NOT_TRAILERS])
        if len(_PACKED_TRAILERS) >= _MOST_TRAILERS:
            _PACKED_TRAILERS.clear()
        if len(block) <= _LONGEST_TRAILERS:
            _PACKED_TRAILERS[trailers] = block
    return block


TE_TRAILERS = encode_pair(*_TRAILERS)
