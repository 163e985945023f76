"""Request heads of one HTTP/2 connection, one after the other.

A client repeats itself: once its table is filled, the same request is the same few octets, and requests that differ in
their path have the same octets behind it. Both are understood once, for as long as the table does not change
(benchmarks/micro/bench_h2.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from gatewright.errors import ProtocolError
from gatewright.http.fields import kind_of_call
from gatewright.http.forwarding import VIA_HTTP2, Origin, same_way, trace_back
from gatewright.http.headers import Pair
from gatewright.proxy.runtime import ListenerRuntime
from gatewright.wire.h2.heads import H2RequestFields, RequestLine
from gatewright.wire.h2.hpack import Decoder

if TYPE_CHECKING:
    from gatewright.tls.server import Session

V = TypeVar("V")

_HEAD = (b":method", b"HEAD")

#: Heads kept for each connection, and the longest block that is.
_MOST_HEADS = 16
_LONGEST_BLOCK = 2048
#: Octets of the longest section that is kept, decoded: one octet of a block may stand for 4 KB.
_LARGEST_SECTION = 8192


class RequestSeen:
    """A request head that has been understood: what it asks, and on whose behalf."""

    __slots__ = ("fields", "line", "origin")

    def __init__(self, line: RequestLine, fields: H2RequestFields, origin: Origin) -> None:
        self.line = line
        self.fields = fields
        self.origin = origin


class Requests:
    """Reads the heads of one connection."""

    __slots__ = (
        "_authority", "_decoder", "_fields", "_generation", "_heads", "_origin", "_origin_fields", "_pairs", "_runtime",
        "_sections", "call", "head", "tls",
    )  # fmt: skip

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        #: Of the connection; None when it is plain.
        self.tls: Session | None = None
        self._generation = -1
        #: What was understood: whole blocks, and header sections without what stands before them.
        self._heads: dict[bytes, RequestSeen] = {}
        self._sections: dict[bytes, H2RequestFields] = {}
        self._runtime: ListenerRuntime | None = None
        #: The last section as it was decoded. It mostly stays, also where the table changes with every request because
        #: clients put their paths there.
        self._pairs: list[Pair] = []
        self._fields: H2RequestFields | None = None
        #: ``grpc``, ``grpc-web`` or nothing: what the last request was that could be told, to refuse one in its words.
        self.call = ""
        #: Whether the method of the last request that was read anew is HEAD.
        self.head = False
        #: On whose behalf the last one came, with what that follows from.
        self._origin: Origin | None = None
        self._origin_fields: H2RequestFields | None = None
        self._authority = b""

    def read(self, block: bytes, runtime: ListenerRuntime, peer: str, scheme: bytes) -> RequestSeen:
        """Understand a block. Hot.

        Raises H2Error when the connection cannot go on, Malformed when the stream cannot, HeadersTooLarge and
        ProtocolError when the request is to be refused. The table is in step in all but the first case.
        """
        decoder = self._decoder
        if decoder.generation == self._generation and runtime is self._runtime:
            seen = self._heads.get(block)
            if seen is not None:
                return seen
        else:
            self._forget(runtime)
        return self._anew(block, runtime, peer, scheme)

    def _forget(self, runtime: ListenerRuntime) -> None:
        self._generation = self._decoder.generation
        if runtime is not self._runtime:
            self._runtime = runtime
            self._origin = None
        self._heads.clear()
        self._sections.clear()

    def _anew(self, block: bytes, runtime: ListenerRuntime, peer: str, scheme: bytes) -> RequestSeen:
        decoder = self._decoder
        before = decoder.generation
        self.head = False
        pseudo, at = decoder.decode_until_regular(block)
        self.head = _HEAD in pseudo
        if decoder.generation != self._generation:
            self._forget(runtime)
        section = block[at:]
        fields = self._sections.get(section)
        if fields is None:
            fields = self._section(decoder.decode_from(block, at), runtime)
            if decoder.generation != self._generation:
                self._forget(runtime)
            elif _is_small(section, fields):
                _keep(self._sections, section, fields)
        self.call = fields.call
        line = RequestLine(pseudo, fields)
        if len(line.target) > runtime.spec.limits.target_bytes:
            raise ProtocolError("request.target_too_long", 414)
        if fields.expects and fields.index[b"expect"].lower() != b"100-continue":
            raise ProtocolError("request.expectation", 417)
        seen = RequestSeen(line, fields, self._way(line, fields, runtime, peer, scheme))
        if decoder.generation == before and len(block) <= _LONGEST_BLOCK and section in self._sections:
            _keep(self._heads, block, seen)
        return seen

    def _section(self, pairs: list[Pair], runtime: ListenerRuntime) -> H2RequestFields:
        fields = self._fields
        if fields is None or pairs != self._pairs:
            if len(pairs) > runtime.spec.limits.headers:
                self.call = kind_of_call(dict(pairs).get(b"content-type", b""))
                raise ProtocolError("request.headers_too_large", 431)
            fields = H2RequestFields(pairs)
            self._pairs, self._fields = pairs, fields
        return fields

    def _way(
        self, line: RequestLine, fields: H2RequestFields, runtime: ListenerRuntime, peer: str, scheme: bytes
    ) -> Origin:
        """On whose behalf the request comes; that follows from its fields and its authority alone."""
        origin = self._origin
        if origin is None or line.authority != self._authority or not self._comes_the_same_way(fields):
            tls = self.tls
            if tls is not None and not tls.serves(line.host):
                raise ProtocolError("request.misdirected", 421)
            origin = trace_back(peer, scheme, line.authority, fields, runtime.trust, VIA_HTTP2)
            if tls is not None:
                origin.lines += tls.lines
            self._origin, self._origin_fields, self._authority = origin, fields, line.authority
        return origin

    def _comes_the_same_way(self, fields: H2RequestFields) -> bool:
        """Whether the last origin is that of these fields too."""
        old = self._origin_fields
        return fields is old or (old is not None and same_way(old, fields))


def _is_small(section: bytes, fields: H2RequestFields) -> bool:
    """Whether a section is worth keeping, coded and decoded."""
    return len(section) <= _LONGEST_BLOCK and sum([len(value) for _, value in fields.pairs]) <= _LARGEST_SECTION


def _keep(kept: dict[bytes, V], key: bytes, value: V) -> None:
    if len(kept) >= _MOST_HEADS:
        kept.clear()
    kept[key] = value
