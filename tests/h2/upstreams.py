"""A scripted HTTP/2 server behind the gateway, and an HTTP/1.1 client in front of it."""

from __future__ import annotations

import h11
from tests.h2.raw import HEADERS, PREFACE, RawH2, RigLink, Seen, settings

from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream
from gatewright.testing.wires import Peer


class Answer:
    """What a client has been sent, as h11 reads it."""

    def __init__(self, peer: Peer, method: str = "GET") -> None:
        self.status = 0
        self.body = b""
        self.interim: list[int] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(peer.received)
        if peer.closed:
            parser.receive_data(b"")
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError:
                return  # it breaks off
            if isinstance(event, h11.InformationalResponse):
                self.interim.append(event.status_code)
            elif isinstance(event, h11.Response):
                self.status, self.headers = event.status_code, list(event.headers)
            elif isinstance(event, h11.Data):
                self.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.complete, self.trailers = True, list(event.headers)
                return
            else:
                return

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.body[:80]!r} complete={self.complete}>"


class _AfterPreface(RigLink):
    """Takes the client's preface off."""

    missing = PREFACE

    def receive(self) -> bytes:
        came = super().receive()
        taken = min(len(came), len(self.missing))
        assert came[:taken] == self.missing[:taken], "this is not the preface"
        self.missing = self.missing[taken:]
        return came[taken:]


class Script:
    """The gateway with an upstream of HTTP/2.

    Args:
        rig: The data plane.
        retries: How often a request is tried again.
        pool: Of the upstream.
    """

    def __init__(self, rig: Rig, retries: int = 0, **pool: object) -> None:
        self.rig = rig
        tries = model.Retries(attempts=retries, on=("connect", "reset"))
        rig.apply(
            route("all", to="a"),
            upstream("a", passive=None, protocol="h2", retries=tries, pool=model.Pool(**pool)),  # type: ignore[arg-type]
            model.Listener("public", "127.0.0.1:0"),
        )
        self.origin = rig.origin("a")

    def ask(self, request: bytes) -> Peer:
        """A client that sends this."""
        client = self.rig.client()
        client.send(request)
        return client

    def accept(self, *pairs: tuple[int, int], bare: bool = False) -> RawH2:
        """Take the connection that the gateway opens; say SETTINGS, unless ``bare``."""
        peer = RawH2(_AfterPreface(self.rig, self.origin.accept()))
        if not bare:
            peer.send(settings(*pairs))
        peer.read()
        return peer


def requests(peer: RawH2) -> list[Seen]:
    """The request heads that have come."""
    return [each for each in peer.of(HEADERS) if any(name == b":method" for name, _ in each.fields)]
