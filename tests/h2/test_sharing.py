"""What streams of one connection share must not let one of them stop, starve or outlive the others."""

from __future__ import annotations

import pytest
from tests.h2.origins import listener
from tests.h2.raw import END_HEADERS, WINDOW_UPDATE, RawH2, RigLink, data, headers, request

from gatewright.testing.rig import Rig, route, upstream


@pytest.fixture
def client(rig: Rig) -> RawH2:
    rig.apply(route("all", to="a"), upstream("a", passive=None), listener())
    return RawH2(RigLink(rig, rig.client()))


def post(stream: int) -> bytes:
    return headers(stream, request(method=b"POST"), END_HEADERS)


def test_many_uploads_at_once_do_not_stop_each_other(client: RawH2) -> None:
    """Each of them has taken less than half of its own window, all together more than the connection's."""
    client.shake_hands()
    streams = range(1, 80, 2)
    for stream in streams:
        client.send(post(stream))
    sent = 0
    for _ in range(3):
        for stream in streams:
            sent += 16_000
            client.read()
            credit = sum(update.number for update in client.of(WINDOW_UPDATE, 0))
            assert sent <= 65_535 + credit, "the connection's window is closed, though nobody is slow"
            client.send(data(stream, b"x" * 16_000, 0))
