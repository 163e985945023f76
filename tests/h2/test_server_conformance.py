"""The table of :mod:`tests.h2.server_cases`: against the gateway, and against nghttpd to know that the table is right."""

from __future__ import annotations

import pytest
from tests.h2.conftest import connect
from tests.h2.expect import Malformed
from tests.h2.origins import H1Origin, listener
from tests.h2.raw import RawH2, RigLink
from tests.h2.server_cases import CASES, Case

from gatewright.testing.rig import Rig, route, upstream
from gatewright.testing.wires import Peer

ASKED = [case for case in CASES if not case.not_nghttpd]


def run(peer: RawH2, case: Case, size: int = 0, lenient: bool = False) -> None:
    if not case.bare:
        peer.shake_hands()
    peer.send(*case.sent, size=size)
    case.expected.check(peer, lenient)


class Bench:
    """A client that speaks by hand, and an origin that answers whatever comes through."""

    def __init__(self, rig: Rig) -> None:
        rig.apply(route("all", to="a"), upstream("a", passive=None), listener())
        self.origin = H1Origin(rig)
        self.peer = RawH2(Served(rig, rig.client(), self.origin))


class Served(RigLink):
    """The origin has its turn after everything that the client sends."""

    def __init__(self, rig: Rig, peer: Peer, origin: H1Origin) -> None:
        super().__init__(rig, peer)
        self.origin = origin

    def send(self, data: bytes) -> None:
        super().send(data)
        self.origin.serve()


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "cut"])
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_gateway(rig: Rig, case: Case, whole: bool) -> None:
    bench = Bench(rig)
    run(bench.peer, case, size=0 if whole else 1 + sum(map(len, case.sent)) // 1000)
    if isinstance(case.expected, Malformed):
        served = [target for _, target, *_ in bench.origin.requests]
        assert served == [b"/"], "what is malformed has been served"  # the one of still_works
        body = any(each in case.name for each in ("content-length", "trailers"))
        assert bench.origin.begun == 1 or body, "what is malformed has gone upstream"


@pytest.mark.sockets
@pytest.mark.parametrize("case", ASKED, ids=[case.id for case in ASKED])
def test_nghttpd(nghttpd: int, case: Case) -> None:
    link = connect(nghttpd)
    try:
        run(RawH2(link), case, lenient=True)
    finally:
        link.sock.close()


def test_cases_have_names_of_their_own() -> None:
    names = [case.id for case in CASES]
    assert len(set(names)) == len(names) > 150
