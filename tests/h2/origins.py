"""Endpoints behind the gateway on the rig, for tests that look at the client's side only."""

from __future__ import annotations

import h11

from gatewright.snapshot import model
from gatewright.testing.rig import Rig
from gatewright.testing.wires import Peer

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class H1Origin:
    """Answers every complete HTTP/1.1 request, as h11 reads it, at once.

    Attributes:
        requests: The complete ones: method, target, fields, body, trailers.
        begun: The number of heads.
    """

    def __init__(self, rig: Rig, name: str = "a", answer: bytes = OK) -> None:
        self.rig = rig
        self.name = name
        self.answer = answer
        self.begun = 0
        self.requests: list[tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes, list[tuple[bytes, bytes]]]] = []
        self._peers: list[tuple[Peer, h11.Connection]] = []
        self._head: dict[int, tuple[h11.Request, bytes]] = {}

    def serve(self) -> None:
        """Accept and answer until nothing moves."""
        origin = self.rig.origin(self.name)
        moved = True
        while moved:
            moved = False
            while origin.waiting:
                self._peers.append((origin.accept(), h11.Connection(h11.SERVER)))
                moved = True
            for peer, parser in self._peers:
                data = peer.take()
                if data:
                    parser.receive_data(data)
                    self._read(peer, parser)
                    moved = True

    def _read(self, peer: Peer, parser: h11.Connection) -> None:
        key = id(parser)
        while True:
            event = parser.next_event()
            if isinstance(event, h11.Request):
                self.begun += 1
                self._head[key] = event, b""
            elif isinstance(event, h11.Data):
                self._head[key] = self._head[key][0], self._head[key][1] + bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                head, body = self._head.pop(key)
                self.requests.append((head.method, head.target, list(head.headers), body, list(event.headers)))
                parser.send(h11.Response(status_code=200, headers=[("content-length", "2")]))
                if head.method != b"HEAD":
                    parser.send(h11.Data(data=b"ok"))
                parser.send(h11.EndOfMessage())
                parser.start_next_cycle()
                peer.send(self.answer.removesuffix(b"ok") if head.method == b"HEAD" else self.answer)
            else:
                return


def listener(**limits: object) -> model.Listener:
    """A plain listener that speaks both versions."""
    return model.Listener("public", "127.0.0.1:0", protocols=("http1", "h2c"), limits=model.Limits(**limits))
