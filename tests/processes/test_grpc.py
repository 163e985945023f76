"""The example of the documentation, with its own server and client, through a real process tree."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest

pytestmark = pytest.mark.processes

EXAMPLE = Path(__file__).parents[2] / "examples" / "grpc"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"grpc_example_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ports() -> Iterator[dict[str, int]]:
    """The example's servers, on free ports instead of its own."""
    orders = load("server")
    servers, found = [], {}
    for name, port in (("first", "50051"), ("second", "50052")):
        server, found[port] = orders.serve(name, 0)
        servers.append(server)
    yield found
    for server in servers:
        server.stop(0).wait()


def test_the_example_works(gateway: Any, ports: dict[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    text = (EXAMPLE / "gateway.yaml").read_text(encoding="utf-8").replace("127.0.0.1:8000", "127.0.0.1:0")
    for port, free in ports.items():
        text = text.replace(port, str(free))
    front = gateway(text, workers=2)
    with pytest.raises(grpc.RpcError) as caught:  # the stream is watched for a while and then given up
        load("client").main(f"127.0.0.1:{front.port}")
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    said = capsys.readouterr().out.splitlines()
    assert (
        len([line for line in said if re.fullmatch(r"(first|second) got b'order \d+' and (4\.9|5\.0) s", line)]) == 12
    )
    assert {line.split()[0] for line in said[:12]} == {"first", "second"}
    assert said[12].startswith("UNAUTHENTICATED - api_key.missing: ")
    assert said[13].startswith("UNIMPLEMENTED - ")
    lines = front.log_lines(15)
    assert {line["protocol"] for line in lines} == {"grpc"}
    assert [line["grpc_status"] for line in lines] == ["OK"] * 12 + [
        "UNAUTHENTICATED",
        "UNIMPLEMENTED",
        "DEADLINE_EXCEEDED",
    ]
    assert max(line["tries"] for line in lines) >= 2  # every fifth answer of a server is UNAVAILABLE

    def counted() -> bool:
        total = front.metric("gatewright_grpc_requests_total")
        fine = front.metric("gatewright_grpc_requests_total", method="shop.Orders/Get", status="OK")
        return (total, fine) == (15, 12)

    front.until(counted)
