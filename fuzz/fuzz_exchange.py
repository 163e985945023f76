"""Two byte streams through the whole data plane: nothing breaks, nothing is left, only whole requests go upstream.

An input is a sequence of steps: who (one octet), how much (one octet), and so many octets that are sent. ``o`` is the
endpoint, ``e`` and ``E`` end the client's and the endpoint's stream, ``r`` and ``R`` reset it, ``t`` lets time pass
(sixteenths of a second), everything else is the client.

``fuzz_exchange.py tests/corpus/exchange`` fuzzes with atheris; ``--replay`` only runs the files, and needs no atheris.
"""

from __future__ import annotations

import sys
from pathlib import Path

import h11

from gatewright.testing.rig import Rig, route, upstream


def one_input(data: bytes) -> None:
    """Any order of any bytes."""
    rig = Rig()
    rig.apply(route("all", to="a", timeout=30.0), upstream("a", passive=None))
    client, origin = rig.client(), rig.origin("a")
    at = 0
    while at + 1 < len(data):
        who, size = chr(data[at]), data[at + 1]
        piece = b"" if who in "eErRt" else data[at + 2 : at + 2 + size]
        at += 2 + len(piece)
        if who == "t":
            rig.advance(size / 16)
        elif who in "er":
            client.end() if who == "e" else client.reset()
        elif who in "oER":
            for peer in origin.connections[-1:]:
                peer.send(piece) if who == "o" else peer.end() if who == "E" else peer.reset()
        else:
            client.send(piece)
        if client.closed:
            client = rig.client()
        while origin.waiting:
            origin.accept()
    for peer in origin.connections:
        check(peer.received)
    client.reset()
    rig.advance(60)
    rig.check_idle()


def check(received: bytes) -> None:
    """Whole requests one after the other, or the beginning of one, to somebody else's parser."""
    while received:
        server = h11.Connection(h11.SERVER)
        server.receive_data(received)
        event = server.next_event()
        upgrades = isinstance(event, h11.Request) and any(name == b"upgrade" for name, _ in event.headers)
        while isinstance(event, (h11.Request, h11.Data)):
            event = server.next_event()
        if event is h11.NEED_DATA or upgrades:  # frames follow, not requests
            return
        received = server.trailing_data[0]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--replay"]:
        for file in sorted(file for folder in sys.argv[2:] for file in Path(folder).rglob("*") if file.is_file()):
            one_input(file.read_bytes())
    else:
        import atheris

        atheris.Setup(sys.argv, one_input)
        atheris.Fuzz()
