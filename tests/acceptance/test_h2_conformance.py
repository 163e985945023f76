"""The conformance table on real sockets: two workers, with a real server of HTTP/2 behind them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.h2.conftest import connect, nghttpd  # noqa: F401 - a fixture
from tests.h2.raw import RawH2
from tests.h2.server_cases import CASES, Case

from gatewright.testing.gateway import Gateway

pytestmark = pytest.mark.processes

#: nghttpd, which knows GET and POST, gives another answer; there is no telling when there is room for a stream again.
NOT_HERE = {"8.3.1-method_not_known", "5.1.2-too_many_streams"}
ASKED = [case for case in CASES if case.id not in NOT_HERE]


@pytest.fixture(scope="module")
def gate(nghttpd: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:  # noqa: F811
    file: Path = tmp_path_factory.mktemp("conformance") / "gateway.yaml"
    file.write_text(f"""
version: 1
workers: 2
telemetry: {{access_log: {{to: "off"}}}}
listeners: [{{name: public, bind: "127.0.0.1:0"}}]
upstreams: {{up: {{endpoints: ["http://127.0.0.1:{nghttpd}"], protocol: h2}}}}
routes: [{{name: all, match: {{paths: ["/*"]}}, to: up}}]
""")
    made = Gateway(file).start()
    yield made
    assert made.stop() == 0
    assert [event for event in made.events if event["level"] == "error"] == []


@pytest.mark.parametrize("case", ASKED, ids=[case.id for case in ASKED])
def test_gateway(gate: Gateway, case: Case) -> None:
    link = connect(gate.port)
    try:
        peer = RawH2(link)
        if not case.bare:
            peer.shake_hands()
        peer.send(*case.sent)
        case.expected.check(peer)
    finally:
        link.sock.close()
