"""HTTP/1.x heads: one strict reader for requests and responses (RFC 9112).

There is no second, more lenient parser behind this one: what is not refused here is understood in exactly one way, and
what goes upstream is written anew from what was understood. Anything that another implementation might read
differently is refused (bare CR or LF, obs-fold, space before a colon, Content-Length with Transfer-Encoding, repeated
or odd Content-Length or Host, any transfer coding but a single ``chunked``).

Validation is done by C loops over the whole section: deleting all octets that a field value may hold must leave the
line ends and nothing else. A section costs 3.5 µs for ten fields; a connection that repeats its section pays 0.1 µs
(:class:`gatewright.wire.sections.Sections`; benchmarks/micro/bench_h1_head.py).
"""

from __future__ import annotations

from typing import TypeAlias

from gatewright.errors import ProtocolError
from gatewright.http.fields import kind_of_call
from gatewright.http.forwarding import HOP_BY_HOP, NOT_FORWARDED, not_forwarded
from gatewright.http.headers import TOKEN_OCTETS, VALUE_OCTETS, Fields, Pair
from gatewright.http.target import split_target

CRLF2 = b"\r\n\r\n"

#: Framing of a body that is not a known number of bytes.
CHUNKED, UNTIL_CLOSE = -1, -2

#: Fields whose change means that the section is to be understood anew.
TELLING = frozenset(
    {
        b"connection",
        b"content-type",
        b"expect",
        b"forwarded",
        b"host",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
    }
)
MOST_CHANGED = 4

RequestLine: TypeAlias = "tuple[bytes, bytes, bytes, bytes | None, bytes, int]"
_REQUEST_LINES: dict[bytes, RequestLine] = {}
_MOST_KEPT_LINES = 2048
_MOST_KEPT_STATUS_LINES = 256
_LONGEST_KEPT_LINE = 256
#: Status lines that have been understood: there are few of them.
_STATUS_LINES: dict[bytes, tuple[int, int]] = {}
_VERSIONS = {b"HTTP/1.1": 11, b"HTTP/1.0": 10}
_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT"})
_LONGEST_METHOD = 32
_NO_TOKENS: frozenset[bytes] = frozenset()
#: Fields that may stand once in a request; in a response only those that frame it.
_SINGLE = (b"content-length", b"transfer-encoding", b"host", b"content-type")
_SINGLE_IN_RESPONSE = _SINGLE[:2]


class RequestFields(Fields):
    """A request's header section with what it says about framing and the connection."""

    __slots__ = ("call", "connection", "expects", "framing", "host", "upgrade")
    ours = NOT_FORWARDED

    def __init__(self, section: bytes, most: int) -> None:
        pairs, lines = parse_fields(section, most)
        super().__init__(pairs, lines)
        index = self.index
        if len(index) != len(pairs):
            _refuse_repeated(pairs, _SINGLE)
        #: Body length in bytes, or CHUNKED.
        self.framing = request_framing(index)
        self.connection = connection_tokens(self, index.get(b"connection"))
        #: Value of Host, or None.
        self.host = index.get(b"host")
        #: Protocol asked for with Upgrade, lower case, when Connection confirms it.
        self.upgrade = index.get(b"upgrade", b"").lower() if b"upgrade" in self.connection else b""
        self.expects = b"expect" in index
        #: ``grpc``, ``grpc-web`` or nothing.
        self.call = kind_of_call(index.get(b"content-type", b""))
        self.not_forwarded = not_forwarded(NOT_FORWARDED, self.connection)

    def inherit(self, old: RequestFields, *, reframed: bool) -> None:
        """Take over from a section that differs in nothing that matters here, but for Content-Length."""
        self.framing = request_framing(self.index) if reframed else old.framing
        self.digested = old.digested
        self.connection = old.connection
        self.host = old.host
        self.upgrade = old.upgrade
        self.expects = old.expects
        self.call = old.call
        self.not_forwarded = old.not_forwarded


class ResponseFields(Fields):
    """A response's header section with what it says about framing and the connection."""

    __slots__ = ("connection", "events", "framing", "upgrade")
    ours = HOP_BY_HOP

    def __init__(self, section: bytes, most: int) -> None:
        pairs, lines = parse_fields(section, most)
        super().__init__(pairs, lines)
        index = self.index
        if len(index) != len(pairs):
            _refuse_repeated(pairs, _SINGLE_IN_RESPONSE)
        #: Body length in bytes, CHUNKED or UNTIL_CLOSE; the method and the status may overrule it.
        self.framing = response_framing(index)
        self.connection = connection_tokens(self, index.get(b"connection"))
        self.upgrade = index.get(b"upgrade", b"").lower()
        #: Whether this is a stream of server-sent events.
        self.events = index.get(b"content-type", b"").lower().startswith(b"text/event-stream")
        self.not_forwarded = not_forwarded(HOP_BY_HOP, self.connection)

    def inherit(self, old: ResponseFields, *, reframed: bool) -> None:
        """Take over from a section that differs in nothing that matters here, but for Content-Length."""
        self.framing = response_framing(self.index) if reframed else old.framing
        self.connection = old.connection
        self.upgrade = old.upgrade
        self.events = old.events
        self.not_forwarded = old.not_forwarded


def read_request_line(line: bytes) -> RequestLine:
    """The request line with its target taken apart and normalised: (method, target, path, query, authority, version).

    Lines that have been understood are kept, up to a bound: APIs are asked for the same things again and again. A
    line that is there costs 0.1 µs instead of 1.5; one that is not pays 0.1 more (benchmarks/micro/bench_exchange.py).
    """
    known = _REQUEST_LINES.get(line)
    if known is not None:
        return known
    method, target, version = parse_request_line(line)
    if method == b"CONNECT":
        raise ProtocolError("request.tunnel", 501)
    path, query, authority, _ = split_target(method, target)
    understood = (method, target, path, query, authority, version)
    if len(line) <= _LONGEST_KEPT_LINE:
        if len(_REQUEST_LINES) >= _MOST_KEPT_LINES:
            _REQUEST_LINES.clear()
        _REQUEST_LINES[line] = understood
    return understood


def parse_request_line(line: bytes) -> tuple[bytes, bytes, int]:
    """Split ``METHOD SP target SP HTTP/1.x``. The target is checked by :mod:`gatewright.http.target`."""
    parts = line.split(b" ")
    if len(parts) != 3 or not parts[1]:
        raise ProtocolError("request.malformed", 400, "the request line does not have three parts")
    method, target, protocol = parts
    if method not in _METHODS and (not method or len(method) > _LONGEST_METHOD or method.translate(None, TOKEN_OCTETS)):
        raise ProtocolError("request.method", 400, "the method is not a token")
    version = _VERSIONS.get(protocol)
    if version is None:
        raise _bad_version(protocol)
    return method, target, version


def _bad_version(protocol: bytes) -> ProtocolError:
    name, _, number = protocol.partition(b"/")
    major, dot, minor = number.partition(b".")
    if name == b"HTTP" and dot and len(major) == 1 and len(minor) == 1 and (major + minor).isdigit():
        return ProtocolError("request.version", 505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    return ProtocolError("request.malformed", 400, "the protocol version is malformed")


def parse_status_line(line: bytes) -> tuple[int, int]:
    """Split ``HTTP/1.x SP status [SP phrase]`` into version and status."""
    known = _STATUS_LINES.get(line)
    if known is not None:
        return known
    version = _VERSIONS.get(line[:8])
    code = line[9:12]
    if version is None or line[8:9] != b" " or not code.isdigit() or len(code) != 3 or line[12:13] not in {b" ", b""}:
        raise ProtocolError("upstream.malformed", 502, "the status line is malformed")
    status = int(code)
    if status < 100 or line.translate(None, VALUE_OCTETS):
        raise ProtocolError("upstream.malformed", 502, "the status line is malformed")
    if len(line) <= _LONGEST_KEPT_LINE:
        if len(_STATUS_LINES) >= _MOST_KEPT_STATUS_LINES:
            _STATUS_LINES.clear()
        _STATUS_LINES[line] = version, status
    return version, status


def parse_fields(section: bytes, most: int) -> tuple[list[Pair], list[bytes]]:
    """Read field lines separated by CRLF into pairs, names in lower case; the lines as they came are returned too.

    Raises ProtocolError ``request.malformed`` for anything that is not exactly ``name ":" OWS value OWS``, and
    ``request.headers_too_large`` for more than ``most`` fields. (For responses the caller changes the reason.)
    """
    if not section:
        return [], []
    lines = section.split(b"\r\n")
    count = len(lines)
    if count > most:
        raise ProtocolError("request.headers_too_large", 431, f"more than {most} header fields")
    # What may not stand in a value, in order: exactly the line ends, else a control character or a bare CR or LF.
    if section.translate(None, VALUE_OCTETS) != b"\r\n" * (count - 1):
        raise ProtocolError("request.malformed", 400, "a control character stands in the header section")
    pairs: list[Pair] = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name:
            raise ProtocolError("request.malformed", 400, "a header line has no name or no colon")
        pairs.append((name.lower(), value.strip(b" \t")))
    if b"".join([pair[0] for pair in pairs]).translate(None, TOKEN_OCTETS):
        raise ProtocolError("request.malformed", 400, "a header name holds a character that is not allowed")
    return pairs, lines


def _refuse_repeated(pairs: list[Pair], single: tuple[bytes, ...]) -> None:
    """Fields that frame or address the message may stand once (RFC 9112 sections 3.2, 6.3)."""
    names = [name for name, _ in pairs]
    for name in single:
        if names.count(name) > 1:
            reason = "request.host" if name == b"host" else "request.ambiguous"
            raise ProtocolError(reason, 400, f"{name.decode()} is repeated")


def request_framing(index: dict[bytes, bytes]) -> int:
    """How long a request's body is: bytes, or CHUNKED (RFC 9112 section 6.3)."""
    length = index.get(b"content-length")
    coding = index.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise ProtocolError("request.ambiguous", 400, "Content-Length and Transfer-Encoding together")
        if coding.lower() == b"chunked":
            return CHUNKED
        raise _bad_coding(coding)
    return 0 if length is None else _length(length)


def response_framing(index: dict[bytes, bytes]) -> int:
    """How long a response's body is: bytes, CHUNKED or UNTIL_CLOSE."""
    length = index.get(b"content-length")
    coding = index.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise ProtocolError("request.ambiguous", 502, "Content-Length and Transfer-Encoding together")
        if coding.lower() != b"chunked":
            raise ProtocolError("request.transfer_coding", 502, "a transfer coding other than chunked")
        return CHUNKED
    return UNTIL_CLOSE if length is None else _length(length)


def _length(value: bytes) -> int:
    # isdigit() on bytes is ASCII only; 18 digits are more than any body and less than 2**63.
    if not value.isdigit() or len(value) > 18:
        raise ProtocolError("request.ambiguous", 400, "Content-Length is not a number")
    return int(value)


def _bad_coding(coding: bytes) -> ProtocolError:
    """A lone, well-formed coding that we do not know is 501 (RFC 9112 section 6.1); all else is ambiguous."""
    if coding.lower() in {b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"}:
        return ProtocolError("request.transfer_coding", 501, "only chunked is supported")
    return ProtocolError("request.ambiguous", 400, "Transfer-Encoding is not a single chunked")


def connection_tokens(fields: Fields, first: bytes | None) -> frozenset[bytes]:
    """The options of all Connection fields, lower case."""
    if first is None:
        return _NO_TOKENS
    known = _TOKENS.get(first)
    values = [value for name, value in fields.pairs if name == b"connection"]
    if known is not None and len(values) == 1:
        return known
    return frozenset(token.strip(b" \t") for token in b",".join(values).lower().split(b",")) - {b""}


_TOKENS = {
    b"keep-alive": frozenset({b"keep-alive"}),
    b"close": frozenset({b"close"}),
    b"Keep-Alive": frozenset({b"keep-alive"}),
    b"Upgrade": frozenset({b"upgrade"}),
}
