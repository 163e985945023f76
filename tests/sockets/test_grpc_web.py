"""gRPC-Web clients in front of gRPC's own server, over both versions of HTTP and in both forms."""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote_to_bytes

import httpx2
import pytest
from tests.h2 import raw
from tests.sockets.grpc_peers import SERVICE, Service, configuration

from gatewright.testing.data_plane import DataPlaneServer
from gatewright.testing.raw_client import RawClient, eventually

ROUTE = ', policies: [cors: {origins: ["https://app.test"], grpc_web: true}, grpc_web: {}]'


def pack(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


class Web:
    """A gRPC-Web client made by hand."""

    def __init__(self, client: httpx2.AsyncClient, *, text: bool) -> None:
        self.client = client
        self.text = text
        self.kind = "application/grpc-web-text+proto" if text else "application/grpc-web+proto"

    def request(self, method: str, message: bytes, **headers: str) -> httpx2.Request:
        body = b64encode(pack(message)) if self.text else pack(message)
        fields = {"content-type": self.kind, "x-grpc-web": "1", "x-user-agent": "by-hand/1", **headers}
        return self.client.build_request("POST", f"/{SERVICE}/{method}", content=body, headers=fields)

    async def call(self, method: str, message: bytes = b"", **headers: str) -> tuple[list[bytes], dict[str, str]]:
        """The messages and the trailers."""
        answer = Answer(self.text)
        response = await self.client.send(self.request(method, message, **headers))
        assert (response.status_code, response.headers["content-type"]) == (200, self.kind)
        answer.headers = response.headers
        answer.feed(response.content)
        assert answer.trailers is not None
        return answer.messages, answer.trailers

    async def stream(self, method: str, message: bytes = b"", **headers: str) -> AsyncIterator[bytes | dict[str, str]]:
        """Messages as they come, then the trailers."""
        answer = Answer(self.text)
        response = await self.client.send(self.request(method, message, **headers), stream=True)
        try:
            async for piece in response.aiter_raw():
                answer.feed(piece)
                while answer.messages:
                    yield answer.messages.pop(0)
            assert answer.trailers is not None
            yield answer.trailers
        finally:
            await response.aclose()


class Answer:
    """Reads a body, cut wherever."""

    def __init__(self, text: bool) -> None:
        self.text = text
        self.messages: list[bytes] = []
        self.trailers: dict[str, str] | None = None
        self.headers: httpx2.Headers
        self._chars = b""
        self._octets = b""

    def feed(self, piece: bytes) -> None:
        if self.text:
            self._chars += piece
            whole = len(self._chars) // 4 * 4
            segments = re.findall(rb"[^=]+={0,2}", self._chars[:whole])
            self._octets += b"".join(b64decode(segment, validate=True) for segment in segments)
            self._chars = self._chars[whole:]
        else:
            self._octets += piece
        while len(self._octets) >= 5:
            size = int.from_bytes(self._octets[1:5], "big")
            if len(self._octets) < 5 + size:
                return
            flags, message, self._octets = self._octets[0], self._octets[5 : 5 + size], self._octets[5 + size :]
            assert self.trailers is None, "nothing comes behind the trailers"
            if flags == 0x80:
                lines = message.decode().split("\r\n")[:-1]
                self.trailers = dict(line.split(":", 1) for line in lines)
            else:
                assert flags == 0
                self.messages.append(message)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service("a") as each:
        yield each


@pytest.fixture
async def server(service: Service) -> AsyncIterator[DataPlaneServer]:
    """In the end nothing may be in use and no bug reported."""
    async with DataPlaneServer(configuration(service, route=ROUTE)) as made:
        yield made
        await made.settled()
    assert made.bugs == []


@pytest.fixture(params=["http1", "http2"])
async def client(request: pytest.FixtureRequest, server: DataPlaneServer) -> AsyncIterator[httpx2.AsyncClient]:
    h2 = request.param == "http2"
    async with httpx2.AsyncClient(
        base_url=server.url, http1=not h2, http2=h2, timeout=10, trust_env=False, follow_redirects=False
    ) as made:
        yield made


@pytest.fixture(params=[False, True], ids=["binary", "text"])
def web(request: pytest.FixtureRequest, client: httpx2.AsyncClient) -> Web:
    return Web(client, text=request.param)


async def test_a_unary_call(web: Web, server: DataPlaneServer, service: Service) -> None:
    messages, trailers = await web.call("Echo", b"hello", **{"x-echo-me": "yes"})
    assert messages == [b"hello"]
    assert {"grpc-status": "0", "x-last": "1", "x-echo-me": "yes"}.items() <= trailers.items()
    ((metadata, _),) = service.seen
    assert metadata["x-user-agent"] == ["by-hand/1"]
    assert "x-grpc-web" not in metadata
    record = await server.record()
    assert (record.protocol, record.grpc_status, record.reason) == ("grpc-web", "OK", "")


@pytest.mark.parametrize("size", [0, 1, 2, 65_531, 3_000_000])
async def test_messages_of_any_size(web: Web, size: int) -> None:
    message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert (await web.call("Echo", message))[0] == [message]


async def test_many_messages_back(web: Web) -> None:
    messages, trailers = await web.call("Count", b"300")
    assert messages == [b"%d" % n for n in range(300)]
    assert trailers["grpc-status"] == "0"


async def test_messages_come_one_by_one(web: Web, service: Service) -> None:
    stream = web.stream("Watch", b"second")
    assert await anext(stream) == b"first"
    service.release.set()
    assert await anext(stream) == b"second"
    assert (await anext(stream))["grpc-status"] == "0"  # type: ignore[call-overload]
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_call_that_fails(web: Web, server: DataPlaneServer) -> None:
    messages, trailers = await web.call("Fail", b"NOT_FOUND")
    assert messages == []
    assert (trailers["grpc-status"], trailers["x-why"]) == ("5", "told")
    assert b64decode(trailers["x-why-bin"] + "==") == b"\0\xff"
    assert unquote_to_bytes(trailers["grpc-message"]).decode() == "NOT_FOUND über 100%"
    assert (await server.record()).grpc_status == "NOT_FOUND"


async def test_a_method_that_nobody_knows(web: Web) -> None:
    messages, trailers = await web.call("Nothing")
    assert (messages, trailers["grpc-status"]) == ([], "12")


async def test_a_stream_that_fails_in_the_middle(web: Web) -> None:
    messages, trailers = await web.call("Break", b"DATA_LOSS")
    assert messages == [b"one", b"two"]
    assert (trailers["grpc-status"], trailers["grpc-message"]) == ("15", "in the middle")


@pytest.mark.parametrize(("method", "expected"), [("Wait", []), ("Watch", [b"first"])])
async def test_a_deadline(web: Web, server: DataPlaneServer, service: Service, method: str, expected: object) -> None:
    """It passes here or there, whoever is first; the endpoint is told in both cases."""
    messages, trailers = await web.call(method, b"?", **{"grpc-timeout": "300m"})
    assert (messages, trailers["grpc-status"]) == (expected, "4")
    async with asyncio.timeout(5):
        await service.cancelled.wait()
    assert (await server.record()).grpc_status == "DEADLINE_EXCEEDED"


async def test_a_call_that_is_made_again(service: Service) -> None:
    """What was decoded is kept, and sent once more as it is."""
    service.failures = 2
    config = configuration(service, route=ROUTE, retries="{attempts: 3, on: [grpc_unavailable], budget: 100%}")
    async with (
        DataPlaneServer(config) as server,
        httpx2.AsyncClient(base_url=server.url, timeout=10, trust_env=False) as client,
    ):
        messages, trailers = await Web(client, text=True).call("Flaky", b"once more")
        assert (messages, trailers["grpc-status"]) == ([b"once more"], "0")
        record = await server.record()
        assert (record.tries, service.calls["Flaky"]) == (3, 3)


async def test_an_endpoint_that_is_gone(web: Web, server: DataPlaneServer, service: Service) -> None:
    await service.server.stop(None)
    messages, trailers = await web.call("Echo", b"hello")
    assert (messages, trailers["grpc-status"]) == ([], "14")
    assert trailers["grpc-message"].startswith("upstream.")
    assert (await server.record()).protocol == "grpc-web"


async def test_many_calls_at_once(web: Web) -> None:
    answers = await asyncio.gather(*(web.call("Echo", b"%d" % n * 100) for n in range(100)))
    assert [messages for messages, _ in answers] == [[b"%d" % n * 100] for n in range(100)]


async def test_a_page_of_another_origin(client: httpx2.AsyncClient) -> None:
    asks = "content-type,grpc-timeout,x-grpc-web,x-user-agent"
    preflight = {
        "origin": "https://app.test",
        "access-control-request-method": "POST",
        "access-control-request-headers": asks,
    }
    answer = await client.options(f"/{SERVICE}/Echo", headers=preflight)
    assert (answer.status_code, answer.headers["access-control-allow-headers"]) == (204, asks)
    web = Web(client, text=False)
    for method in ("Echo", "Nothing"):
        response = await client.send(web.request(method, b"hello", origin="https://app.test"))
        assert response.headers["access-control-allow-origin"] == "https://app.test"
        assert "grpc-status" in response.headers["access-control-expose-headers"]


async def test_the_example_of_the_page(service: Service) -> None:
    """Its configuration and its command, with our service in the place of the shop."""
    page = Path(__file__).parents[2].joinpath("docs/policies/grpc_web.md").read_text("utf-8")
    page = page.replace("http://127.0.0.1:50051", service.url).replace("shop.Orders/List", f"{SERVICE}/Echo")
    page = page.replace("shop.Orders", SERVICE)
    (config,), (command,) = (re.findall(rf"(?ms)^```{kind}\n(.*?)^```", page) for kind in ("yaml", "sh"))
    async with DataPlaneServer(config) as server:
        command = command.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        await server.settled()
    assert b"grpc-status:0\r\n" in said
    assert service.calls["Echo"] == 1


# --- pace and what is wrong, octet by octet ---------------------------------------------------------------------------

HEAD = (
    b"POST /%b/%%b HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc-web-text\r\ntransfer-encoding: chunked\r\n\r\n"
    % SERVICE.encode()
)


async def test_a_client_that_does_not_read_stops_the_endpoint(server: DataPlaneServer, service: Service) -> None:
    async with RawClient(server.port) as client:
        body = b64encode(pack(b""))
        await client.send(HEAD % b"Flood" + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        await client.head()
        last = -1
        while service.sent != last:
            last = service.sent
            await asyncio.sleep(0.3)  # no message in this time: it has come to a stop
        assert 0 < last < 500, "buffers of sockets and windows, not the memory of the gateway"
        client.reset()
        async with asyncio.timeout(5):
            await service.cancelled.wait()
    assert (await server.record()).reason == "client.gone"


@pytest.mark.parametrize("reset", [True, False], ids=["stream reset", "connection closed"])
async def test_a_client_that_goes_away_cancels_the_call(server: DataPlaneServer, service: Service, reset: bool) -> None:
    kind = (b"content-type", b"application/grpc-web")
    asks = raw.request(kind, method=b"POST", path=f"/{SERVICE}/Watch".encode())
    async with RawClient(server.port) as client:
        await client.send(raw.PREFACE + raw.settings(), raw.headers(1, asks, raw.END_HEADERS), raw.data(1, pack(b"")))
        await client.until(pack(b"first"))
        if reset:
            await client.send(raw.rst(1))
        else:
            client.writer.close()
        async with asyncio.timeout(5):
            await service.cancelled.wait()
    record = await server.record()
    assert (record.protocol, record.grpc_status, record.reason) == ("grpc-web", "CANCELLED", "client.gone")


async def test_a_request_that_comes_octet_by_octet(server: DataPlaneServer) -> None:
    async with RawClient(server.port) as client:
        body = b64encode(pack(b"slow")[:7]) + b64encode(pack(b"slow")[7:]).rstrip(b"=")
        await client.send(HEAD % b"Echo")
        for number in range(len(body)):
            await client.send(b"1\r\n%b\r\n" % body[number : number + 1])
            await asyncio.sleep(0)
        await client.send(b"0\r\n\r\n")
        response = await client.response()
    answer = Answer(text=True)
    answer.feed(response.body)
    assert answer.messages == [b"slow"]


@pytest.mark.parametrize(("body", "reason"), [(b"AAAA*", "grpc_web.base64"), (b"AAAAAAk=", "grpc_web.cut_off")])
async def test_a_broken_request_never_reaches_a_method(
    server: DataPlaneServer, service: Service, body: bytes, reason: str
) -> None:
    async with RawClient(server.port) as client:
        await client.send(HEAD % b"Echo" + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        response = await client.response()
    answer = Answer(text=True)
    answer.feed(response.body)
    assert answer.trailers is not None
    assert answer.trailers["grpc-status"] == "3"
    assert answer.trailers["grpc-message"].startswith(reason)
    await eventually(lambda: not service.calls["Echo"])
