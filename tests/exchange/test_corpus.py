"""Every request of the corpus against the data plane: what is good goes upstream once and right, what is not never."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gatewright.snapshot import model
from gatewright.testing.corpus import Case, Request, read_corpus
from gatewright.testing.rig import Rig, route, upstream
from gatewright.testing.wires import Peer

CORPUS = Path(__file__).parents[1] / "corpus" / "h1"
INVALID = read_corpus(CORPUS / "invalid")
VALID = read_corpus(CORPUS / "valid")
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Z]")


class Bench:
    """A client, and an origin that answers every complete request at once."""

    def __init__(self, rig: Rig) -> None:
        rig.apply(route("all", "/*", "a"), upstream("a", passive=None, pool=model.Pool(max_idle=4)))
        self.rig = rig
        self.client = rig.client()
        self.origins: list[Peer] = []
        self.unread: dict[int, bytes] = {}
        self.heads: list[bytes] = []
        self.requests: list[Request] = []

    def send(self, data: bytes, size: int) -> None:
        """Send in segments of ``size``, and let the origin answer what it gets."""
        for at in range(0, len(data), size):
            self.client.send(data[at : at + size])
            self.serve()

    def serve(self) -> None:
        """Accept and answer until nothing moves any more."""
        origin = self.rig.origin("a")
        moved = True
        while moved:
            moved = False
            while origin.waiting:
                self.origins.append(origin.accept())
                moved = True
            for i, peer in enumerate(self.origins):
                data = self.unread.get(i, b"") + peer.take()
                rest = self.request(data)
                self.unread[i] = data if rest is None else rest
                if rest is not None:
                    peer.send(ANSWER)
                    moved = True

    def request(self, data: bytes) -> bytes | None:
        """Take a complete request off the front: what is behind it, or None."""
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            return None
        line, *fields = head.split(b"\r\n")
        method, target, version = line.split(b" ")
        assert version == b"HTTP/1.1"
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(b":") for field in fields)}
        body = b""
        if headers.get(b"transfer-encoding") == b"chunked":
            assert b"content-length" not in headers
            while True:
                size, end, rest = rest.partition(b"\r\n")
                if not end:
                    return None
                count = int(size, 16)
                if not count:
                    trailers, end, after = (b"\r\n" + rest).partition(b"\r\n\r\n")
                    if not end:
                        return None
                    rest = after
                    head += trailers
                    break
                if len(rest) < count + 2:
                    return None
                body, rest = body + rest[:count], rest[count + 2 :]
        else:
            count = int(headers.get(b"content-length", b"0"))
            if len(rest) < count:
                return None
            body, rest = rest[:count], rest[count:]
        self.heads.append(head.lower())
        self.requests.append(Request(method, target, headers[b"host"], body))
        return rest


def sizes(case: Case) -> int:
    """The size of small segments: single octets, unless that were very many."""
    return 1 if len(case.data) < 2000 else 997


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "cut"])
@pytest.mark.parametrize("case", VALID, ids=[case.name for case in VALID])
def test_good_requests_go_upstream(rig: Rig, case: Case, whole: bool) -> None:
    bench = Bench(rig)
    bench.send(case.data, len(case.data) if whole else sizes(case))
    assert bench.requests == list(case.requests)
    for head in bench.heads:
        for name in case.lacks:
            assert b"\r\n%b:" % name not in head
    assert STATUS.findall(bench.client.received) == [b"204"] * len(case.requests)
    if not case.keeps:
        bench.client.end()
        rig.advance(5.0)
    assert bench.client.closed is not case.keeps


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "cut"])
@pytest.mark.parametrize("case", INVALID, ids=[case.name for case in INVALID])
def test_bad_requests_are_refused(rig: Rig, case: Case, whole: bool) -> None:
    bench = Bench(rig)
    bench.send(case.data, len(case.data) if whole else sizes(case))
    if case.waits:
        assert len(STATUS.findall(bench.client.received)) == case.after
        rig.advance(40.0)
    received = bench.client.received
    assert STATUS.findall(received) == [b"204"] * case.after + [b"%d" % case.status]
    head = received[received.rindex(b"HTTP/1.1 %d" % case.status) :]
    assert b"\r\nconnection: close\r\n" in head
    assert len(bench.requests) == case.after, "it has reached the upstream"
    bench.client.end()
    rig.advance(5.0)
    assert bench.client.closed
