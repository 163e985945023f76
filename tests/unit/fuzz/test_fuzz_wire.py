"""The harnesses of the wire run over their corpus, and over what Hypothesis makes of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatewright.wire.h2 import hpack

ROOT = Path(__file__).resolve().parents[3]
CORPUS = ROOT / "tests" / "corpus"


@pytest.fixture(autouse=True)
def nothing_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which names peers want never indexed holds for the process; here it ends with the test."""
    monkeypatch.setattr(hpack, "_NEVER_INDEXED", set(hpack._NEVER_INDEXED))


def harness(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "fuzz" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HEAD, CHUNKED, EXCHANGE = harness("fuzz_h1_head"), harness("fuzz_chunked"), harness("fuzz_exchange")
TARGET, HPACK = harness("fuzz_target"), harness("fuzz_hpack")


@pytest.mark.parametrize(
    ("module", "folder"),
    [(HEAD, "h1"), (CHUNKED, "chunked"), (EXCHANGE, "exchange"), (TARGET, "target"), (HPACK, "hpack")],
)
def test_the_corpus(module: Any, folder: str) -> None:
    files = [file for file in sorted((CORPUS / folder).rglob("*")) if file.is_file()]
    assert len(files) >= 3
    for file in files:
        module.one_input(file.read_bytes())


def test_a_second_opinion_would_notice() -> None:
    with pytest.raises(h11.RemoteProtocolError):
        EXCHANGE.check(b"GET / HTTP/1.1\r\nhost: x\r\n\r\nrubbish\r\n\r\n")


CLIENT = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
        b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello",
        b"PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n",
        b"PUT / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nab",
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"\x81\x82mask\x01\x02",
    ]
)
ORIGIN = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"\x81\x02hi",
    ]
)


@st.composite
def inputs(draw: st.DrawFn) -> bytes:
    """Good bytes, some of them damaged, cut anywhere and woven together."""
    streams = {}
    for who, parts in ((b"c", CLIENT), (b"o", ORIGIN)):
        stream = bytearray(b"".join(draw(st.lists(parts, max_size=5))))
        for _ in range(draw(st.integers(0, 2))):
            at = draw(st.integers(0, len(stream)))
            stream[at : at + draw(st.integers(0, 3))] = draw(
                st.sampled_from([b"", b"\r\n", b"\n", b"0", b" ", b":", b"\0"])
            )
        streams[who] = bytes(stream)
    out = b""
    while streams:
        who = draw(st.sampled_from(sorted(streams)))
        size = draw(st.sampled_from([1, 3, 20, 60, 255]))
        piece, streams[who] = streams[who][:size], streams[who][size:]
        out += who + bytes([len(piece)]) + piece
        if not streams[who]:
            del streams[who]
        if not draw(st.integers(0, 9)):
            out += draw(st.sampled_from([b"e\0", b"E\0", b"r\0", b"R\0", b"t\x10", b"t\xff"]))
    return out


@settings(max_examples=120, deadline=None)
@given(inputs() | st.binary(max_size=200))
@example(b"c\x1bGET / HTTP/1.1\r\nhost: x\r\n\r\n" + b"e\0" + b"t\xff")
def test_any_exchange(data: bytes) -> None:
    EXCHANGE.one_input(data)


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    HEAD.one_input(data)
    CHUNKED.one_input(data)
    TARGET.one_input(data)
    HPACK.one_input(len(data).to_bytes(2, "big") + data)
