"""httpbin, used like a browser does: one client with cookies, redirects, kept connections and many requests at once."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from tests.acceptance.conftest import Answer, Everywhere, Way, ca_of, way_to

from gatewright.testing.gateway import Gateway
from gatewright.testing.raw_client import RawClient

pytestmark = pytest.mark.processes


def answer(response: httpx2.Response) -> Answer:
    pairs = [(name.lower(), value) for name, value in response.headers.multi_items()]
    return Answer(response.status_code, pairs, response.content)


def options(way: Way, gateway: Gateway) -> dict[str, Any]:
    """For a client that goes this way and no other."""
    trusted: Any = ssl.create_default_context(cafile=ca_of(gateway)) if way.url.startswith("https:") else False
    return {
        "base_url": way.url,
        "http1": not way.is_h2,
        "http2": way.is_h2,
        "verify": trusted,
        "follow_redirects": True,
        "timeout": 20,
        "trust_env": False,
    }


@pytest.fixture(params=["http1", "h2c", "http1 tls", "h2"])
def way(request: pytest.FixtureRequest, plain: Gateway) -> Way:
    return way_to(plain, request.param)


@pytest.fixture
def client(way: Way, plain: Gateway) -> Iterator[httpx2.Client]:
    with httpx2.Client(**options(way, plain)) as made:
        yield made


Request = Callable[[httpx2.Client, str], httpx2.Response]
TABLE: dict[str, Request] = {
    "form": lambda c, u: c.post(u + "/post", data={"a": "1", "b": ["2", "3"]}),
    "json": lambda c, u: c.post(u + "/post", json={"a": [1, None, "é"]}),
    "multipart": lambda c, u: c.post(u + "/post", files={"f": ("n.txt", b"x" * 100_000)}, data={"a": "1"}),
    "generated": lambda c, u: c.put(u + "/put", content=(b"%d" % n * 100 for n in range(300))),
    "redirects": lambda c, u: c.get(u + "/redirect/5"),
    "redirect of a post": lambda c, u: c.post(u + "/redirect-to?url=/post&status_code=307", data={"a": "1"}),
    "digest": lambda c, u: c.get(u + "/digest-auth/auth/me/pw", auth=httpx2.DigestAuth("me", "pw")),
    "basic": lambda c, u: c.get(u + "/basic-auth/me/pw", auth=("me", "pw")),
    "gzip": lambda c, u: c.get(u + "/gzip"),
    "deflate": lambda c, u: c.get(u + "/deflate"),
    "head": lambda c, u: c.head(u + "/image/jpeg"),
    "image": lambda c, u: c.get(u + "/image/jpeg"),
    "stream": lambda c, u: c.get(u + "/stream/50"),
    "links": lambda c, u: c.get(u + "/links/10"),
    "options": lambda c, u: c.options(u + "/get"),
}


@pytest.mark.parametrize("request_", TABLE.values(), ids=TABLE)
def test_the_same_answer(everywhere: Everywhere, plain: Gateway, request_: Request) -> None:
    changing = {"set-cookie"}  # of /digest-auth, whose last nonce is a new one each time

    def ask(way: Way) -> Answer:
        with httpx2.Client(**options(way, plain)) as client:
            response = request_(client, way.url)
        assert response.http_version == ("HTTP/2" if way.is_h2 else "HTTP/1.1")
        got = answer(response)
        got.headers = [pair for pair in got.headers if pair[0] not in changing]
        return got

    direct, through = everywhere(ask, without={"upgrade"})
    assert through == dict.fromkeys(through, direct)
    assert direct.status == 200


def test_cookies_come_back(client: httpx2.Client) -> None:
    assert client.get("/cookies/set?a=1&b=two").json() == {"cookies": {"a": "1", "b": "two"}}
    assert client.get("/cookies/delete?a=").json() == {"cookies": {"b": "two"}}


def test_pieces_come_one_by_one(client: httpx2.Client) -> None:
    with client.stream("GET", "/drip?duration=0.4&numbytes=4&delay=0") as response:
        pieces = list(response.iter_raw())
    assert pieces == [b"*"] * 4


async def test_many_at_once(way: Way, plain: Gateway) -> None:
    """A page with a hundred resources, over six connections or one: each gets its own answer."""
    limits = httpx2.Limits(max_connections=6)
    async with httpx2.AsyncClient(**options(way, plain), limits=limits) as client:
        paths = [f"/anything/{n}" if n % 3 else f"/bytes/{n * 500}?seed={n}" for n in range(100)]
        answers = await asyncio.gather(*(client.get(path) for path in paths))
    for n, response in enumerate(answers):
        assert response.status_code == 200
        if n % 3:
            assert json.loads(response.content)["url"].endswith(f"/anything/{n}")
        else:
            assert len(response.content) == n * 500


async def test_a_client_that_breaks_off_is_noticed_at_once(plain: Gateway) -> None:
    async with RawClient(plain.port) as client:
        await client.send(b"GET /delay/9?broken=1 HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.to_thread(plain.until, lambda: any(each["exchanges"] for each in plain.status()["workers"]))
        client.reset()
        await asyncio.to_thread(plain.until, lambda: any(each["query"] == "broken=1" for each in plain.log_lines()))
    (line,) = [each for each in plain.log_lines() if each["query"] == "broken=1"]
    assert (line["status"], line["reason"]) == (499, "client.gone")
    assert line["duration_ms"] < 5000
