"""The table of :mod:`tests.h2.client_cases`: the gateway as client of a server that does what it says there."""

from __future__ import annotations

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from tests.h2.client_cases import CASES, HEAD, Broken, Case, Cut, Expectation, Reset, Served
from tests.h2.raw import PROTOCOL, RST_STREAM, SETTINGS_ACK, RawH2, data, headers, settings
from tests.h2.upstreams import Answer, Script, requests

from gatewright.testing.rig import Rig


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "cut"])
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_gateway(rig: Rig, case: Case, whole: bool) -> None:
    script = Script(rig)
    client = script.ask(case.request)
    server = script.accept(bare=case.bare)
    assert [each.stream for each in requests(server)] in ([1], [] if case.bare else [1])
    server.send(*case.sent, size=0 if whole else 1 + sum(map(len, case.sent)) // 1000)
    server.read()
    answer = Answer(client, "HEAD" if case.request is HEAD else "GET")
    shown = f"{answer}\n{server.shown()}"
    check(case.expected, answer, server, shown)
    if isinstance(case.expected, (Served, Reset)) and not broken(server):
        serves_another(script, server)
    client.reset()
    rig.advance(30)


def check(expected: Expectation, answer: Answer, server: RawH2, shown: str) -> None:
    if isinstance(expected, Served):
        assert (answer.status, answer.body, answer.complete) == (expected.status, expected.body, True), shown
        assert tuple(answer.trailers) == expected.trailers
        assert expected.interim in {(), tuple(answer.interim)}
        return
    if expected.status:
        assert answer.status == expected.status, shown
        assert answer.complete, shown
    else:
        assert answer.status == 200, shown
        assert not answer.complete, shown
    if isinstance(expected, Broken):
        assert_broken(server, expected.codes)
    elif isinstance(expected, Reset):
        if broken(server) and expected.or_broken:
            assert_broken(server, expected.or_broken)
        else:
            assert [each.code for each in server.of(RST_STREAM, 1)][:1] in [[code] for code in expected.codes], shown
    else:
        assert isinstance(expected, Cut)


def broken(server: RawH2) -> bool:
    return server.goaway is not None


def assert_broken(server: RawH2, codes: tuple[int, ...]) -> None:
    server.until(lambda: server.closed)
    assert server.goaway is not None, f"closed without GOAWAY\n{server.shown()}"
    assert server.goaway.code in codes, server.shown()


def serves_another(script: Script, server: RawH2) -> None:
    """The next request takes the same connection."""
    server.send(settings((4, 65_535)))
    client = script.ask(b"GET /again HTTP/1.1\r\nhost: x\r\n\r\n")
    server.read()
    stream = requests(server)[-1].stream
    assert stream == 3, server.shown()
    assert script.origin.waiting == 0
    server.send(headers(stream, [(b":status", b"200")], 4), data(stream, b"again"))
    answer = Answer(client)
    assert (answer.status, answer.body, answer.complete) == (200, b"again", True)


#: What the h2 library lets pass: it does not look at which frame is the first, nor at resets of idle streams.
NOT_H2 = {
    "3.4-first_frame_is_PING",
    "3.4-first_frame_is_HEADERS",
    "3.4-first_frame_is_a_SETTINGS_acknowledgement",
    "5.1-RST_STREAM_on_a_stream_that_nobody_opened",
}
BREAKING = [case for case in CASES if isinstance(case.expected, Broken) and case.id not in NOT_H2]


@pytest.mark.parametrize("case", BREAKING, ids=[case.id for case in BREAKING])
def test_the_h2_library(case: Case) -> None:
    """What breaks a connection by the table breaks it by the library, which calls much of it PROTOCOL_ERROR."""
    client = H2Connection(H2Configuration(client_side=True))
    client.initiate_connection()
    client.update_settings({SettingCodes.ENABLE_PUSH: 0})
    client.receive_data(settings() + SETTINGS_ACK * 2)
    fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x")]
    client.send_headers(1, fields, end_stream=True)
    assert isinstance(case.expected, Broken)
    with pytest.raises(ProtocolError) as raised:
        client.receive_data(b"".join(case.sent))
    assert raised.value.error_code in (*case.expected.codes, PROTOCOL)


def test_cases_have_names_of_their_own() -> None:
    names = [case.id for case in CASES]
    assert len(set(names)) == len(names) > 100
