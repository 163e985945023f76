"""TLS between a socket and what speaks HTTP, wherever the octets are cut and whenever reading is paused."""

from __future__ import annotations

import ssl
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.testing.certs import Authority
from gatewright.worker.net.tls_server import TlsServer


class Tcp:
    """The socket: keeps what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class App:
    """What speaks HTTP: keeps what it is handed."""

    def __init__(self) -> None:
        self.got = b""
        self.pieces = 0

    def data_received(self, data: bytes) -> None:
        self.got += data
        self.pieces += 1


class Line:
    """A client, and our layer after the handshake."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.sealed = to_server
        self.client = client.wrap_bio(to_client, to_server, server_hostname="localhost")
        session = server.wrap_bio(incoming, outgoing, server_side=True)
        for _ in range(5):
            for side in (self.client, session):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    pass
                incoming.write(to_server.read())
                to_client.write(outgoing.read())
        self.app = App()
        self.soon: list[Any] = []
        world: Any = SimpleNamespace(now=0.0, soon=self.soon.append)
        self.layer = layer = TlsServer(world, SimpleNamespace())  # type: ignore[arg-type]
        layer.tcp = Tcp()  # type: ignore[assignment]
        layer.app = self.app  # type: ignore[assignment]
        layer.session = session  # type: ignore[assignment]
        layer._read, layer._write = session.read, session.write
        layer._incoming, layer._into, layer._out = incoming, incoming.write, outgoing.read

    def seal(self, data: bytes) -> bytes:
        """Records of the client's."""
        self.client.write(data)
        return self.sealed.read()


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.pair("localhost"))
    return server, authority.client_context()


@given(
    st.lists(st.integers(1, 40_000), min_size=1, max_size=5),
    st.lists(st.integers(1, 30_000), max_size=12),
    st.sets(st.integers(0, 12)),
)
def test_what_was_sealed_arrives(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], messages: list[int], cuts: list[int], pauses: set[int]
) -> None:
    line = Line(*contexts)
    sent = b"".join(bytes([i]) * size for i, size in enumerate(messages))
    data = b"".join(line.seal(bytes([i]) * size) for i, size in enumerate(messages))
    for i, size in enumerate([*cuts, len(data)]):
        if i in pauses:
            line.layer.pause_reading()
        if data[:size]:
            line.layer.data_received(data[:size])
        data = data[size:]
        if i in pauses:
            line.layer.resume_reading()
            for callback in line.soon:
                callback()
            line.soon.clear()
    assert line.app.got == sent


def test_a_record_that_comes_whole_is_handed_on_at_once(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    line = Line(*contexts)
    for i in range(1, 4):
        line.layer.data_received(line.seal(b"a request"))
        assert (line.app.pieces, line.app.got) == (i, b"a request" * i)


def test_records_of_one_segment_are_handed_on_in_one_piece(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    line = Line(*contexts)
    line.layer.data_received(line.seal(b"one") + line.seal(b"two"))
    assert (line.app.pieces, line.app.got) == (1, b"onetwo")


def test_the_rest_of_a_large_record_may_be_small(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    line = Line(*contexts)
    line.layer.data_received(line.seal(b"first"))
    record = line.seal(bytes(16_000))
    line.layer.data_received(record[:-10])
    assert line.app.got == b"first"
    line.layer.data_received(record[-10:])
    assert line.app.got == b"first" + bytes(16_000)
