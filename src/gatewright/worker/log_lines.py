"""Access log lines: an exchange in, one line of bytes out. Hot.

Whatever a client sends, the result is one line: octets outside printable ASCII and the two that JSON strings escape
are looked for with one C call for each value, and only a value that has some goes through the slow function. What
repeats from line to line (route, endpoint, status …; host; user agent) is written once and kept in bounded caches.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias, cast

from gatewright.worker.log_sinks import LINE_LIMIT
from gatewright.worker.redact import Redactor

if TYPE_CHECKING:
    from gatewright.clock import Clock
    from gatewright.http.head import RequestHead

#: Octets that stand in a line as they are.
PLAIN = bytes(octet for octet in range(0x20, 0x7F) if octet not in b'"\\')
#: Turns every other octet into another one: a third of the price of deleting the plain ones.
_PLAIN_TABLE = bytes(octet if octet in PLAIN else 32 for octet in range(256))
#: Octets kept of each value in a line that would otherwise be longer than LINE_LIMIT. There are 14 values, and
#: escaping makes at most 6 octets of one.
SHORT = 40

_CACHED = 4_096  # entries of each cache; a full one starts again
_SECONDS = 64  # seconds whose text is kept
_LONGEST = 512  # octets that an entry may have
_UNPRINTABLE = re.compile(rb'[^\x20-\x7e]|["\\]')
#: Statuses of gRPC calls that would be 5xx, and those that would be 2xx.
_GRPC_ERRORS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
_GRPC_FINE = frozenset({"", "OK"})
_MILLISECONDS = tuple(b"%03d" % i for i in range(1000))
#: Durations below 10 ms, by microsecond, as they are written in milliseconds: 90 ns instead of 260 for a float.
_DURATIONS = tuple(b"%d.%03d" % divmod(i, 1000) for i in range(10_000))

#: What repeats from line to line: status, reason, method, route, consumer, upstream, endpoint, tries, protocol,
#: listener and the status of a gRPC call.
Fixed: TypeAlias = tuple[int, str, bytes, str, str, str, str, int, str, str, str]


#: What a connection repeats: host, client, user agent.
Peer: TypeAlias = tuple[bytes, str, bytes]


class Named(Protocol):
    """A route or a consumer."""

    name: str


class Keyed(Protocol):
    """An endpoint."""

    key: str


class FinishedExchange(Protocol):
    """What the log reads of an exchange that is over. Times are seconds on the monotonic clock."""

    request: RequestHead
    request_id: bytes
    client_addr: str
    status: int
    reason: str
    started: float
    ended: float
    bytes_in: int
    bytes_out: int
    upstream_name: str
    upstream_seconds: float
    tries: int
    protocol: str
    listener_name: str
    grpc_status: str

    @property
    def route(self) -> Named:
        """The route, or what stands for none."""

    @property
    def consumer(self) -> Named | None:
        """Who called."""

    @property
    def endpoint(self) -> Keyed | None:
        """Where the last try went."""


class Lines:
    """Makes the lines of one format; here is what the formats share."""

    __slots__ = ("_fixed", "_offset", "_peers", "_redact", "_second", "_stamp", "_stamps", "_targets")

    #: Takes time, milliseconds, what repeats, request id, path, query, duration, time of the upstream, octets in,
    #: octets out and the peer.
    line: ClassVar[bytes]
    #: The same when no upstream has answered: its time is printed with precision 0 as a string, which is nothing.
    line_alone: ClassVar[bytes]
    #: Takes host, client and user agent: what a connection repeats.
    peer: ClassVar[bytes]
    #: Before a query that is not empty.
    mark: ClassVar[bytes] = b""

    def __init__(self, redact: Sequence[str] = ()) -> None:
        self._redact = Redactor(redact).query
        #: What to add to the monotonic clock to have the wall clock.
        self._offset = 0.0
        #: Beginning of the second written last, on the monotonic clock; its text; and those of other seconds.
        self._second = -2.0
        self._stamp = b""
        self._stamps: dict[int, bytes] = {}
        self._fixed: dict[Fixed, bytes] = {}
        self._peers: dict[Peer, bytes] = {}
        #: Request target → path and query.
        self._targets: dict[bytes, tuple[bytes, bytes]] = {}

    def synchronise(self, clock: Clock) -> None:
        """Find out how far the wall clock is from the monotonic one. Called at each flush: clocks are corrected."""
        self._offset = clock.wall() - clock.monotonic()
        self._second = -2.0

    def write(self, ex: FinishedExchange) -> bytes:
        """The line for an exchange, with its LF, at most LINE_LIMIT long.

        Hot: 2.2 us where an empty call costs 29 ns; msgspec takes as long for these fields without their time stamp.
        The path is the one that was asked for, before any rewriting; values of secret query parameters are masked.
        """
        since = ex.started - self._second  # the second of the line before: saves 150 ns
        if not 0.0 <= since < 1.0:
            since = self._turn_to(ex.started)
        request, consumer, endpoint = ex.request, ex.consumer, ex.endpoint
        key = (  # looking up ten names costs 250 ns; writing them into every line would cost 600
            ex.status,
            ex.reason,
            request.method,
            ex.route.name,
            "" if consumer is None else consumer.name,
            ex.upstream_name,
            "" if endpoint is None else endpoint.key,
            ex.tries,
            ex.protocol,
            ex.listener_name,
            ex.grpc_status,
        )
        peer = (request.host, ex.client_addr, request.headers.fields.index.get(b"user-agent", b""))
        path, query = request.target, b""
        if request.query is not None or path[:1] != b"/":
            asked = self._targets.get(path)
            if asked is None:
                asked = self._ask(request)
            path, query = asked
        request_id = ex.request_id
        both = path + request_id  # one look at both saves 100 ns
        if both.translate(_PLAIN_TABLE) != both:
            path, request_id = self.escape(path), self.escape(request_id)
        upstream = ex.upstream_seconds
        took, waited = int((ex.ended - ex.started) * 1e6 + 0.5), int(upstream * 1e6 + 0.5)
        line = (self.line if upstream >= 0 else self.line_alone) % (
            self._stamp,
            _MILLISECONDS[int(since * 1000)],
            self._fixed.get(key) or self._repeat(key),
            request_id,
            path,
            query,
            _DURATIONS[took] if 0 <= took < 10_000 else b"%.3f" % (took / 1000),
            _DURATIONS[waited] if 0 <= waited < 10_000 else b"%.3f" % (waited / 1000),
            ex.bytes_in,
            ex.bytes_out,
            self._peers.get(peer) or self._meet(peer),
        )
        return line if len(line) <= LINE_LIMIT else self._shortened(ex, key, peer)

    def escape(self, value: bytes) -> bytes:
        """``value`` as it may stand in a line: printable ASCII only, nothing that ends the value or the line."""
        raise NotImplementedError

    def repeating(self, key: Fixed) -> bytes:
        """The part of a line that is looked up by ``key``."""
        raise NotImplementedError

    def _ask(self, request: RequestHead) -> tuple[bytes, bytes]:
        """Path and redacted query as they are written, remembered: the same is asked for again and again."""
        path, query = self._asked_for(request)
        asked = path, self._written(query)
        if len(request.target) <= _LONGEST:
            if len(self._targets) >= _CACHED:
                self._targets.clear()
            self._targets[request.target] = asked
        return asked

    def _asked_for(self, request: RequestHead) -> tuple[bytes, bytes]:
        """Path and query of the request target, the query redacted."""
        path, _, query = request.target.partition(b"?")
        if path[:1] != b"/":  # absolute form (which may hold a password), or "*"
            path = request.path
        return path, self.mark + self._redact(query) if query else b""

    def _shortened(self, ex: FinishedExchange, key: Fixed, peer: Peer) -> bytes:
        """The line with each value cut down so that it fits whatever escaping does to it."""
        path, query = self._asked_for(ex.request)
        host, client, agent = peer
        short_key = tuple(value if isinstance(value, int) else value[:SHORT] for value in key)
        since = self._turn_to(ex.started)
        return (self.line if ex.upstream_seconds >= 0 else self.line_alone) % (
            self._stamp,
            _MILLISECONDS[int(since * 1000)],
            self.repeating(cast("Fixed", short_key)),
            self.escape(ex.request_id[:SHORT]),
            self.escape(path[:SHORT]),
            self.escape(query[:SHORT]),
            b"%.3f" % ((ex.ended - ex.started) * 1000),
            b"%.3f" % (ex.upstream_seconds * 1000),
            ex.bytes_in,
            ex.bytes_out,
            self._peer((host[:SHORT], client[:SHORT], agent[:SHORT])),
        )

    def _turn_to(self, moment: float) -> float:
        """Make the stamp that of the second in which ``moment`` lies. Returns how far it is from its beginning."""
        wall = moment + self._offset
        second = int(wall)
        self._second = second - self._offset
        if len(self._stamps) >= _SECONDS:
            self._stamps.clear()
        self._stamp = self._stamps.get(second) or time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        self._stamps[second] = self._stamp
        return wall - second

    def _repeat(self, key: Fixed) -> bytes:
        fixed = self.repeating(key)
        if len(fixed) <= _LONGEST:
            if len(self._fixed) >= _CACHED:
                self._fixed.clear()
            self._fixed[key] = fixed
        return fixed

    def _meet(self, peer: Peer) -> bytes:
        written = self._peer(peer)
        if len(written) <= _LONGEST:
            if len(self._peers) >= _CACHED:
                self._peers.clear()
            self._peers[peer] = written
        return written

    def _peer(self, peer: Peer) -> bytes:
        host, client, agent = peer
        return self.peer % (self._written(host), self._written(client.encode(errors="replace")), self._written(agent))

    def _written(self, value: bytes) -> bytes:
        return value if value.translate(_PLAIN_TABLE) == value else self.escape(value)


class JsonLines(Lines):
    """One JSON object a line; every field in every line."""

    __slots__ = ()
    line = (
        b'{"time":"%b.%bZ",%b,"request_id":"%b","path":"%b","query":"%b","duration_ms":%b,"upstream_ms":%b,'
        b'"bytes_in":%d,"bytes_out":%d,%b}\n'
    )
    line_alone = line.replace(b'"upstream_ms":%b', b'"upstream_ms":null%.0a')
    peer = b'"host":"%b","client":"%b","user_agent":"%b"'

    def escape(self, value: bytes) -> bytes:
        r"""For the inside of a JSON string. Octets that are not UTF-8 stand as ``\xNN`` in the decoded text."""
        return json.dumps(value.decode(errors="backslashreplace")).replace("\x7f", r"\u007f")[1:-1].encode()

    def repeating(self, key: Fixed) -> bytes:
        """Everything that is the gateway's own word, and the method."""
        status, reason, method, route, consumer, upstream, endpoint, tries, protocol, listener, grpc_status = key
        fields = {
            "level": _level(status, grpc_status),
            "status": status,
            "grpc_status": grpc_status,
            "reason": reason,
            "method": method.decode(errors="backslashreplace"),
            "route": route,
            "consumer": consumer,
            "upstream": upstream,
            "endpoint": endpoint,
            "tries": tries,
            "protocol": protocol,
            "listener": listener,
        }
        return json.dumps(fields, separators=(",", ":"))[1:-1].encode()


class TextLines(Lines):
    """One line for people; what is empty is left out where it can be."""

    __slots__ = ()
    line = b"%b.%bZ %b id=%b %b%b %bms upstream=%bms in=%d out=%d %b\n"
    line_alone = line.replace(b" upstream=%bms", b"%.0a")
    peer = b'host=%b client=%b agent="%b"'
    mark = b"?"

    def escape(self, value: bytes) -> bytes:
        r"""Unprintable octets, quotes and backslashes as ``\xNN``."""
        return _UNPRINTABLE.sub(lambda found: b"\\x%02x" % found[0][0], value)

    def repeating(self, key: Fixed) -> bytes:
        """``INFO 200 GET route=orders to=http://…``."""
        status, reason, method, route, consumer, upstream, endpoint, tries, protocol, listener, grpc_status = key
        level = _level(status, grpc_status)
        words = [level.upper(), str(status), method.decode(errors="backslashreplace"), protocol]
        if grpc_status:
            words.append(grpc_status)
        named = {"listener": listener, "route": route, "consumer": consumer, "upstream": upstream, "to": endpoint}
        words += [f"{name}={value}" for name, value in named.items() if value]
        if tries > 1:
            words.append(f"tries={tries}")
        if reason:
            words.append(f"reason={reason}")
        return b" ".join(self.escape(word.encode(errors="backslashreplace")) for word in words)


def _level(status: int, grpc_status: str) -> str:
    if status < 400 and grpc_status not in _GRPC_FINE:
        return "error" if grpc_status in _GRPC_ERRORS else "warn"
    if status >= 500:
        return "error"
    return "warn" if status >= 400 else "info"
