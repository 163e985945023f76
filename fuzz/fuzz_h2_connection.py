"""Any bytes after the greetings of HTTP/2, on either side of the gateway: nothing breaks, nothing is left behind.

What the gateway itself sends is read by hyperframe and hpack, which raise for frames and blocks that are none.

An input is the version that the endpoint speaks (an even octet: HTTP/2), then steps: who (one octet), how much (one
octet), and so many octets that are sent. ``o`` is the endpoint, ``e`` and ``E`` end the client's and the endpoint's
stream, ``r`` and ``R`` reset it, ``s`` and ``S`` let it read nothing, ``u`` and ``U`` everything, ``t`` lets time pass
(sixteenths of a second), everything else is the client. Preface and SETTINGS of both are sent before.

``fuzz_h2_connection.py tests/corpus/h2_connection`` fuzzes with atheris; ``--replay`` only runs the files, and needs no
atheris.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hpack import Decoder
from hyperframe.frame import ContinuationFrame, Frame, HeadersFrame, SettingsFrame

from gatewright.snapshot import model
from gatewright.testing.rig import Origin, Rig, route, upstream
from gatewright.testing.wires import Peer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
#: Octets of a hundred streams that are held inside, and what was written; nothing of it may grow without end.
MOST_WRITTEN = 64 << 20


def one_input(data: bytes) -> None:
    """Any order of any bytes."""
    rig = Rig()
    protocol = "http1" if data[:1] and data[0] & 1 else "h2"
    rig.apply(
        route("all", to="a", timeout=30.0),
        upstream("a", passive=None, protocol=protocol),
        model.Listener("public", "127.0.0.1:0", protocols=("http1", "h2c")),
    )
    origin = rig.origin("a")
    client = rig.client()
    client.send(PREFACE + SETTINGS)
    at = 1
    while at + 1 < len(data):
        who, size = chr(data[at]), data[at + 1]
        piece = b"" if who in "eErRsSuUt" else data[at + 2 : at + 2 + size]
        at += 2 + len(piece)
        if who == "t":
            rig.advance(size / 16)
        else:
            step(client, origin, who, piece)
        if client.closed:
            client = rig.client()
            client.send(PREFACE + SETTINGS)
        greet(origin, protocol)
    for each in [*rig.clients, *origin.connections]:
        each.unstall()
    client.reset()
    while origin.waiting:
        origin.refuse()
    rig.advance(60)
    for each in rig.clients:
        check(each.received)
    for each in origin.connections if protocol == "h2" else ():
        check(each.received.removeprefix(PREFACE))
    rig.check_idle()


def step(client: Peer, origin: Origin, who: str, piece: bytes) -> None:
    """One step of one side."""
    for peer in origin.connections[-1:] if who in "oERSU" else [client]:
        actions = {"e": peer.end, "r": peer.reset, "s": peer.stall, "u": peer.unstall}
        if who.lower() in actions:
            actions[who.lower()]()
        else:
            peer.send(piece)


def greet(origin: Origin, protocol: str) -> None:
    """Take the connections that the gateway opens."""
    while origin.waiting:
        peer = origin.accept()
        if protocol == "h2":
            peer.send(SETTINGS)


def check(received: bytes) -> None:
    """Whole frames in a possible order, or the beginning of one, to somebody else's parser."""
    if len(received) > MOST_WRITTEN:
        raise AssertionError(f"{len(received)} octets for so little")
    decoder = Decoder()
    block: bytes | None = None
    first = True
    while len(received) >= 9:
        frame, length = Frame.parse_frame_header(memoryview(received[:9]))
        if len(received) < 9 + length:
            return
        frame.parse_body(memoryview(received[9 : 9 + length]))
        received = received[9 + length :]
        if first and not isinstance(frame, SettingsFrame):
            raise AssertionError("the first frame is not SETTINGS")
        first = False
        if (block is not None) is not isinstance(frame, ContinuationFrame):
            raise AssertionError("a block is interrupted, or goes on after its end")
        if isinstance(frame, (HeadersFrame, ContinuationFrame)):
            block = (block or b"") + frame.data
            if "END_HEADERS" in frame.flags:
                decoder.decode(block)
                block = None


if __name__ == "__main__":
    if sys.argv[1:2] == ["--replay"]:
        for file in sorted(file for folder in sys.argv[2:] for file in Path(folder).rglob("*") if file.is_file()):
            one_input(file.read_bytes())
    else:
        import atheris

        atheris.Setup(sys.argv, one_input)
        atheris.Fuzz()
