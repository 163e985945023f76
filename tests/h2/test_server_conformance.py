"""The table of :mod:`tests.h2.server_cases`: against the gateway, and against nghttpd to know that the table is right."""

from __future__ import annotations

import pytest
from tests.h2.conftest import connect
from tests.h2.raw import RawH2
from tests.h2.server_cases import CASES, Case

ASKED = [case for case in CASES if not case.not_nghttpd]


def run(peer: RawH2, case: Case, size: int = 0, lenient: bool = False) -> None:
    if not case.bare:
        peer.shake_hands()
    peer.send(*case.sent, size=size)
    case.expected.check(peer, lenient)


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
