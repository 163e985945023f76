"""HTTP/2 clients of a whole gateway that stops or gets a new configuration: nothing that was taken is lost."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.h2 import raw
from tests.h2.raw import DEADLINE, GOAWAY, PING, RawH2, SocketLink, headers, request, window_update

pytestmark = pytest.mark.processes

SIZE = 2 << 20
HIGHEST = (1 << 31) - 1


def config(word: str) -> str:
    return f"""
version: 1
workers: 2
drain_timeout: 20s
telemetry: {{access_log: {{to: "off"}}}}
listeners: [{{name: public, bind: "127.0.0.1:0"}}]
routes: [{{name: here, match: {{paths: ["/*"]}}, respond: {{status: 200, body: "{word}"}}}}]
"""


@pytest.fixture
def connect() -> Iterator[Callable[[int], RawH2]]:
    """Connects to a port, and closes in the end."""
    socks: list[socket.socket] = []

    def made(port: int) -> RawH2:
        socks.append(socket.create_connection(("127.0.0.1", port), DEADLINE))
        client = RawH2(SocketLink(socks[-1]))
        client.shake_hands()
        return client

    yield made
    for sock in socks:
        sock.close()


def test_a_download_is_finished_before_the_gateway_stops(gateway: Any, connect: Callable[[int], RawH2]) -> None:
    made = gateway(config("one" * (SIZE // 3)))
    client = connect(made.port)
    idle = connect(made.port)
    client.send(headers(1, request()))
    client.until(lambda: len(client.body(1)) == 65_535)
    made.signal(signal.SIGTERM)
    client.until(lambda: client.of(GOAWAY))
    assert [(each.number, each.code) for each in client.of(GOAWAY)] == [(HIGHEST, 0)]
    client.send(headers(3, request()))
    client.until(lambda: client.of(PING))
    client.send(raw.ping(client.of(PING)[-1].payload, raw.ACK))
    client.until(lambda: len(client.of(GOAWAY)) == 2)
    goodbye = client.of(GOAWAY)[1]
    # On a machine that is so busy that a second goes by in between, the second request comes too late.
    assert (goodbye.number, goodbye.code) in {(3, 0), (1, 0)}
    idle.until(lambda: idle.closed)
    assert all(each.code == 0 for each in idle.of(GOAWAY))
    client.send(window_update(0, 1 << 24), window_update(1, 1 << 24), window_update(3, 1 << 24))
    client.until(lambda: client.closed)
    size = SIZE // 3 * 3
    assert (len(client.body(1)), client.ended(1)) == (size, True)
    if goodbye.number == 3:
        assert (len(client.body(3)), client.ended(3)) == (size, True)
    assert made.stop() == 0


def test_new_configurations_are_not_noticed_by_connections(gateway: Any, connect: Callable[[int], RawH2]) -> None:
    program = shutil.which("h2load")
    if program is None:
        pytest.skip("h2load is not installed")
    text = config("word")
    made = gateway(text)
    client = connect(made.port)
    load = subprocess.Popen(
        [program, "-n", "20000", "-c", "4", "-m", "10", made.url + "/"], stdout=subprocess.PIPE, text=True
    )
    try:
        for i in range(4):
            made.reload(text.replace("word", f"word{i}"))
            client.send(headers(1 + 2 * i, request()))
            client.until(lambda i=i: client.ended(1 + 2 * i))
            assert client.body(1 + 2 * i) == b"word%d" % i
        told, _ = load.communicate(timeout=40)
    finally:
        load.kill()
        load.wait()
    assert re.search(r"20000 succeeded, 0 failed, 0 errored, 0 timeout", told), told
    assert client.of(GOAWAY) == []
