"""Clients and endpoints of either version that say the same in the words of their version.

A test opens a :class:`Call`, finds the :class:`Serving` it became behind the gateway, and lets both act; what each has
received is compared in terms of RFC 9110: method, target, status, fields, content, trailers. h11 and h2 do the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import h11
from h2.settings import SettingCodes
from tests.h2.oracle import Heard, Oracle
from tests.h2.origins import listener
from tests.h2.raw import RigLink, Sent

from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream
from gatewright.testing.wires import Peer

Fields = tuple[tuple[bytes, bytes], ...]

#: Never forwarded in either direction (RFC 9113 section 8.2.2, RFC 9110 section 7.6.1).
HOP_BY_HOP = {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te"}


class Received:
    """A message that is coming in."""

    def __init__(self) -> None:
        self.fields: Fields = ()
        self.body = b""
        self.trailers: Fields = ()
        self.ended = False
        #: The other side has given up before the end.
        self.broken = False

    def get(self, name: bytes) -> bytes | None:
        """The only value of a field."""
        values = self.all(name)
        assert len(values) < 2, f"{name!r} is repeated: {values}"
        return values[0] if values else None

    def all(self, name: bytes) -> list[bytes]:
        return [value for other, value in self.fields if other == name]


class Call(Received):
    """A request as the client has it, and the response to it."""

    status = 0

    def __init__(self) -> None:
        super().__init__()
        self.informational: list[tuple[int, Fields]] = []

    def send(self, data: bytes) -> None:
        """A piece of the content."""
        raise NotImplementedError

    def end(self, *trailers: tuple[bytes, bytes]) -> None:
        """The content is complete."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Nobody wants it any more."""
        raise NotImplementedError


class Serving(Received):
    """A request as the endpoint has it."""

    method = target = authority = b""

    def inform(self, status: int, *fields: tuple[bytes, bytes]) -> None:
        """Send a 1xx response."""
        raise NotImplementedError

    def respond(self, status: int, *fields: tuple[bytes, bytes], body: bytes | None = None) -> None:
        """Begin the response; with ``body``, also end it."""
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        """A piece of the content."""
        raise NotImplementedError

    def end(self, *trailers: tuple[bytes, bytes]) -> None:
        """The content is complete."""
        raise NotImplementedError

    def reset(self) -> None:
        """Give up in the middle."""
        raise NotImplementedError


class Party(Protocol):
    """All of one side."""

    def pump(self) -> int:
        """Read and write. Returns a number that grows when something has happened."""

    def stall(self) -> None:
        """Take no more content."""

    def unstall(self) -> None:
        """Take all there is."""


# --- HTTP/1.1 ---------------------------------------------------------------------------------------------------------


class _H1Message:
    """What h11 does for both roles."""

    def __init__(self, bench: Bench, peer: Peer, role: type[h11.CLIENT | h11.SERVER]) -> None:
        self.bench = bench
        self.peer = peer
        self.parser = h11.Connection(role)
        self._over = False

    def write(self, event: h11.Event) -> None:
        data = self.parser.send(event)
        if data:
            self.peer.send(data)

    def events(self) -> list[h11.Event]:
        data = self.peer.take()
        if self._over or not (data or self.peer.closed):
            return []
        found: list[h11.Event] = []
        if data:
            self.parser.receive_data(data)
            self._gather(found)
        if self.peer.closed:
            self._over = True
            try:
                self.parser.receive_data(b"")
                self._gather(found)
            except h11.RemoteProtocolError:
                found.append(h11.ConnectionClosed())
        return found

    def _gather(self, found: list[h11.Event]) -> None:
        while isinstance(event := self.parser.next_event(), h11.Event):
            found.append(event)
            if isinstance(event, h11.ConnectionClosed):
                break


def _take(message: Received, event: h11.Event) -> None:
    if isinstance(event, h11.Data):
        message.body += bytes(event.data)
    elif isinstance(event, h11.EndOfMessage):
        message.ended = True
        message.trailers = tuple(event.headers)
    elif isinstance(event, h11.ConnectionClosed):
        message.broken = not message.ended


class H1Call(Call):
    """On a connection of its own."""

    def __init__(self, bench: Bench, method: bytes, target: bytes, fields: Fields, streams: bool) -> None:
        super().__init__()
        self.wire = _H1Message(bench, bench.rig.client(), h11.CLIENT)
        if streams and not any(name == b"content-length" for name, _ in fields):
            fields = (*fields, (b"transfer-encoding", b"chunked"))
        self.wire.write(h11.Request(method=method, target=target, headers=fields))
        if not streams:
            self.wire.write(h11.EndOfMessage())

    def send(self, data: bytes) -> None:
        self.wire.write(h11.Data(data=data))
        self.wire.bench.settle()

    def end(self, *trailers: tuple[bytes, bytes]) -> None:
        self.wire.write(h11.EndOfMessage(headers=trailers))
        self.wire.bench.settle()

    def cancel(self) -> None:
        self.wire.peer.reset()
        self.wire.bench.settle()

    def pump(self) -> int:
        events = self.wire.events()
        for event in events:
            if isinstance(event, h11.InformationalResponse):
                self.informational.append((event.status_code, tuple(event.headers)))
            elif isinstance(event, h11.Response):
                self.status, self.fields = event.status_code, tuple(event.headers)
            else:
                _take(self, event)
        return len(events)


class H1Clients:
    """Every call has its connection."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.calls: list[H1Call] = []
        self._moved = 0

    def call(self, method: bytes, target: bytes, authority: bytes, fields: Fields, streams: bool) -> Call:
        call = H1Call(self.bench, method, target, ((b"host", authority), *fields), streams)
        self.calls.append(call)
        return call

    def pump(self) -> int:
        self._moved += sum(call.pump() for call in self.calls)
        return self._moved

    def stall(self) -> None:
        for call in self.calls:
            call.wire.peer.stall()

    def unstall(self) -> None:
        for call in self.calls:
            call.wire.peer.unstall()


class H1Serving(Serving):
    """One request on a connection."""

    def __init__(self, wire: _H1Message, event: h11.Request) -> None:
        super().__init__()
        self.wire = wire
        self.method, self.target = event.method, event.target
        self.fields = tuple(event.headers)
        self.authority = self.get(b"host") or b""

    def inform(self, status: int, *fields: tuple[bytes, bytes]) -> None:
        self.wire.write(h11.InformationalResponse(status_code=status, headers=fields))
        self.wire.bench.settle()

    def respond(self, status: int, *fields: tuple[bytes, bytes], body: bytes | None = None) -> None:
        if body and not any(name == b"content-length" for name, _ in fields):
            fields = (*fields, (b"content-length", b"%d" % len(body)))
        self.wire.write(h11.Response(status_code=status, headers=fields))
        if body is not None:
            if body:
                self.wire.write(h11.Data(data=body))
            self.wire.write(h11.EndOfMessage())
        self.wire.bench.settle()

    def send(self, data: bytes) -> None:
        self.wire.write(h11.Data(data=data))
        self.wire.bench.settle()

    def end(self, *trailers: tuple[bytes, bytes]) -> None:
        self.wire.write(h11.EndOfMessage(headers=trailers))
        self.wire.bench.settle()

    def reset(self) -> None:
        self.wire.peer.reset()
        self.wire.bench.settle()


class H1Endpoint:
    """Takes as many connections as the gateway opens."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.servings: list[Serving] = []
        self.wires: list[tuple[_H1Message, list[H1Serving]]] = []
        self.stalled = False
        self._moved = 0

    def pump(self) -> int:
        origin = self.bench.rig.origin("a")
        while origin.waiting:
            peer = origin.accept()
            self.wires.append((_H1Message(self.bench, peer, h11.SERVER), []))
            if self.stalled:
                peer.stall()
            self._moved += 1
        for wire, served in self.wires:
            parser = wire.parser
            if parser.our_state is parser.their_state is h11.DONE:
                parser.start_next_cycle()
            for event in wire.events():
                self._moved += 1
                if isinstance(event, h11.Request):
                    served.append(H1Serving(wire, event))
                    self.servings.append(served[-1])
                elif served:
                    _take(served[-1], event)
        return self._moved

    def stall(self) -> None:
        self.stalled = True
        for wire, _ in self.wires:
            wire.peer.stall()

    def unstall(self) -> None:
        self.stalled = False
        for wire, _ in self.wires:
            wire.peer.unstall()


# --- HTTP/2 -----------------------------------------------------------------------------------------------------------


def _without_pseudo(fields: Sent) -> Fields:
    return tuple(pair for pair in fields if not pair[0].startswith(b":"))


def _hear(message: Received, heard: Heard) -> None:
    message.fields = _without_pseudo(heard.fields)
    message.body = bytes(heard.body)
    message.trailers = heard.trailers
    message.ended = heard.ended
    message.broken = heard.reset is not None and not heard.ended


class H2Call(Call):
    """A stream."""

    def __init__(self, clients: H2Client, heard: Heard) -> None:
        super().__init__()
        self.clients = clients
        self.heard = heard

    def update(self) -> None:
        self.status = int(self.heard.get(b":status") or 0)
        self.informational = [(int(dict(each)[b":status"]), _without_pseudo(each)) for each in self.heard.informational]
        _hear(self, self.heard)

    def send(self, data: bytes) -> None:
        self.clients.oracle.send(self.heard, data)
        self.clients.bench.settle()

    def end(self, *trailers: tuple[bytes, bytes]) -> None:
        self.clients.oracle.send(self.heard, b"", end=True, trailers=trailers)
        self.clients.bench.settle()

    def cancel(self) -> None:
        self.clients.oracle.reset(self.heard)
        self.clients.bench.settle()


class H2Client:
    """All calls on one connection."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.oracle = Oracle(RigLink(bench.rig, bench.rig.client()), client=True)
        self.calls: list[H2Call] = []

    def call(self, method: bytes, target: bytes, authority: bytes, fields: Fields, streams: bool) -> Call:
        pseudo = ((b":method", method), (b":scheme", b"http"), (b":authority", authority), (b":path", target))
        call = H2Call(self, self.oracle.open((*pseudo, *fields), end=not streams))
        self.calls.append(call)
        return call

    def pump(self) -> int:
        self.oracle.pump()
        for call in self.calls:
            call.update()
        return self.oracle.moved

    def stall(self) -> None:
        self.oracle.grant = False

    def unstall(self) -> None:
        self.oracle.grant = True
        for stream in tuple(self.oracle.streams):
            self.oracle.give(stream)


class H2Serving(Serving):
    """A stream at the endpoint."""

    def __init__(self, bench: Bench, oracle: Oracle, heard: Heard) -> None:
        super().__init__()
        self.bench = bench
        self.oracle = oracle
        self.heard = heard
        self.method, self.target = heard.get(b":method") or b"", heard.get(b":path") or b""
        self.authority = heard.get(b":authority") or b""

    def inform(self, status: int, *fields: tuple[bytes, bytes]) -> None:
        self.oracle.head(self.heard, ((b":status", b"%d" % status), *fields))
        self.bench.settle()

    def respond(self, status: int, *fields: tuple[bytes, bytes], body: bytes | None = None) -> None:
        if body and not any(name == b"content-length" for name, _ in fields):
            fields = (*fields, (b"content-length", b"%d" % len(body)))
        self.oracle.head(self.heard, ((b":status", b"%d" % status), *fields), end=body == b"")
        if body:
            self.oracle.send(self.heard, body, end=True)
        self.bench.settle()

    def send(self, data: bytes) -> None:
        self.oracle.send(self.heard, data)
        self.bench.settle()

    def end(self, *trailers: tuple[bytes, bytes]) -> None:
        self.oracle.send(self.heard, b"", end=True, trailers=trailers)
        self.bench.settle()

    def reset(self) -> None:
        self.oracle.reset(self.heard, 2)
        self.bench.settle()


class H2Endpoint:
    """Takes as many connections as the gateway opens."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.oracles: list[Oracle] = []
        #: Settings of connections that are still to come.
        self.local: dict[SettingCodes, int] = {}
        self.servings: list[Serving] = []
        self.stalled = False
        self._known: dict[tuple[int, int], H2Serving] = {}

    def pump(self) -> int:
        origin = self.bench.rig.origin("a")
        while origin.waiting:
            link = RigLink(self.bench.rig, origin.accept())
            self.oracles.append(Oracle(link, client=False, grant=not self.stalled, local=self.local))
        for number, oracle in enumerate(self.oracles):
            oracle.pump()
            for stream in oracle.streams.values():
                serving = self._known.get((number, stream.id))
                if serving is None:
                    serving = self._known[number, stream.id] = H2Serving(self.bench, oracle, stream)
                    self.servings.append(serving)
                _hear(serving, stream)
        return sum(1 + oracle.moved for oracle in self.oracles)

    def stall(self) -> None:
        self.stalled = True
        for oracle in self.oracles:
            oracle.grant = False

    def unstall(self) -> None:
        self.stalled = False
        for oracle in self.oracles:
            oracle.grant = True
            for stream in tuple(oracle.streams):
                oracle.give(stream)


# --- both -------------------------------------------------------------------------------------------------------------

VERSIONS = ("http1", "h2")


class Bench:
    """The gateway between a client and an endpoint, of one version each.

    Args:
        rig: The data plane.
        down: Version that the client speaks.
        up: Version that the endpoint speaks.
        pool: Of the upstream.
        options: Of the route.
    """

    def __init__(self, rig: Rig, down: str, up: str, pool: model.Pool | None = None, **options: object) -> None:
        self.rig = rig
        self.down, self.up = down, up
        made = upstream("a", passive=None, protocol=up, pool=pool or model.Pool())
        rig.apply(route("all", to="a", **options), made, listener())
        self.endpoint: H1Endpoint | H2Endpoint = (H1Endpoint if up == "http1" else H2Endpoint)(self)
        self.client: H1Clients | H2Client = (H1Clients if down == "http1" else H2Client)(self)

    def settle(self) -> None:
        """Until nothing moves."""
        before = -1
        while (now := self.endpoint.pump() + self.client.pump()) != before:
            before = now

    def call(
        self,
        method: bytes = b"GET",
        target: bytes = b"/",
        *fields: tuple[bytes, bytes],
        authority: bytes = b"x",
        streams: bool = False,
    ) -> Call:
        """Begin a request; with ``streams`` content follows."""
        call = self.client.call(method, target, authority, fields, streams)
        self.settle()
        return call

    def serving(self, number: int = -1) -> Serving:
        """A request that has reached the endpoint."""
        assert self.endpoint.servings, "nothing has reached the endpoint"
        return self.endpoint.servings[number]


def forwarded(fields: Iterable[tuple[bytes, bytes]], ours: Callable[[bytes], bool]) -> Fields:
    """The fields that ``ours`` says are the test's own."""
    return tuple(pair for pair in fields if ours(pair[0]))
