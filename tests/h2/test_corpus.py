"""The corpus of HTTP/1.1 requests with HTTP/2 on one side or both: the same is good, the same is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.h2.actors import VERSIONS, Bench, Serving

from gatewright.testing.corpus import Case, Request, read_corpus
from gatewright.testing.rig import Rig

CORPUS = Path(__file__).parents[1] / "corpus" / "h1"
INVALID = read_corpus(CORPUS / "invalid")
VALID = read_corpus(CORPUS / "valid")
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Z]")


class Answering:
    """An endpoint of HTTP/2 that answers every complete request with 204."""

    def __init__(self, rig: Rig) -> None:
        self.bench = Bench(rig, "http1", "h2")
        self.client = rig.client()
        self.done: list[Serving] = []

    def send(self, data: bytes, size: int) -> None:
        for at in range(0, len(data), size):
            self.client.send(data[at : at + size])
            self.serve()

    def serve(self) -> None:
        moved = True
        while moved:
            self.bench.settle()
            ready = [each for each in self.bench.endpoint.servings if each.ended and each not in self.done]
            for each in ready:
                self.done.append(each)
                each.respond(204, body=b"")
            moved = bool(ready)

    @property
    def requests(self) -> list[Request]:
        return [Request(each.method, each.target, each.authority, each.body) for each in self.done]

    @property
    def statuses(self) -> list[bytes]:
        return STATUS.findall(self.client.received)


def sizes(case: Case) -> int:
    return 1 if len(case.data) < 500 else 997


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "cut"])
@pytest.mark.parametrize("case", VALID, ids=[case.name for case in VALID])
def test_good_requests_go_upstream_over_http2(rig: Rig, case: Case, whole: bool) -> None:
    bench = Answering(rig)
    bench.send(case.data, len(case.data) if whole else sizes(case))
    assert bench.requests == list(case.requests)
    for serving in bench.done:
        for name in case.lacks:
            assert serving.get(name) is None or (name, serving.get(name)) == (b"te", b"trailers")
    assert bench.statuses == [b"204"] * len(case.requests)
    if not case.keeps:
        bench.client.end()
        rig.advance(5.0)
    assert bench.client.closed is not case.keeps


@pytest.mark.parametrize("case", INVALID, ids=[case.name for case in INVALID])
def test_bad_requests_never_go_upstream_over_http2(rig: Rig, case: Case) -> None:
    bench = Answering(rig)
    bench.send(case.data, len(case.data))
    if case.waits:
        rig.advance(40.0)
        bench.serve()
    assert bench.statuses == [b"204"] * case.after + [b"%d" % case.status]
    assert len(bench.requests) == case.after, "it has reached the upstream"
    bench.client.end()
    rig.advance(5.0)
    assert bench.client.closed


GOOD = [
    pytest.param(request, id=f"{case.name}-{number}")
    for case in VALID
    for number, request in enumerate(case.requests)
    if request.host and request.target != b"*"  # a request needs an authority; and a route
]


@pytest.mark.parametrize("up", VERSIONS)
@pytest.mark.parametrize("request_", GOOD)
def test_the_same_requests_from_http2(rig: Rig, request_: Request, up: str) -> None:
    bench = Bench(rig, "h2", up)
    method, target, host, body = request_
    call = bench.call(method, target, authority=host, streams=bool(body))
    if body:
        call.send(body)
        call.end()
    serving = bench.serving()
    assert Request(serving.method, serving.target, serving.authority, serving.body) == request_
    assert serving.ended
    serving.respond(204, body=b"")
    assert (call.status, call.ended) == (204, True)
