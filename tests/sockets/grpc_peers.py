"""gRPC's own library at both ends: a service for the tests, without generated code, and channels to call it."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self

import grpc
import grpc.aio

from gatewright.testing.data_plane import DataPlaneServer

#: No proxy, a connection for each channel, and messages of any size.
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)
SERVICE = "test.Service"

Metadata = tuple[tuple[str, str | bytes], ...]


class Service:
    """A server whose methods do what their names say. Messages are octets.

    ::

        async with Service() as service:
            ...  # service.url
    """

    def __init__(self, name: str = "", *, credentials: grpc.ServerCredentials | None = None) -> None:
        self.name = name
        self.credentials = credentials
        self.calls: Counter[str] = Counter()
        #: Metadata and time left (None: no deadline) of the calls, in order.
        self.seen: list[tuple[dict[str, Any], float | None]] = []
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.release = asyncio.Event()
        #: Messages sent by Flood and taken by Collect so far.
        self.sent = 0
        self.taken = 0
        #: Calls that fail before one succeeds, see flaky().
        self.failures = 0
        self.peers: set[str] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self.server = grpc.aio.server(options=[*OPTIONS, ("grpc.so_reuseport", 0)])
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, self._handlers()),))
        await self.start(0)
        return self

    async def start(self, port: int) -> None:
        """Listen."""
        address = f"127.0.0.1:{port}"
        if self.credentials is not None:
            self.port = self.server.add_secure_port(address, self.credentials)
        else:
            self.port = self.server.add_insecure_port(address)
        await self.server.start()

    async def __aexit__(self, *_: object) -> None:
        self.release.set()
        await self.server.stop(None)

    @property
    def url(self) -> str:
        return f"{'http' if self.credentials is None else 'https'}://127.0.0.1:{self.port}"

    def _handlers(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        return {
            "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "Name": grpc.unary_unary_rpc_method_handler(self.who),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Flaky": grpc.unary_unary_rpc_method_handler(self.flaky),
            "Wait": grpc.unary_unary_rpc_method_handler(self.wait),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Flood": grpc.unary_stream_rpc_method_handler(self.flood),
            "Break": grpc.unary_stream_rpc_method_handler(self.break_off),
            "Watch": grpc.unary_stream_rpc_method_handler(self.watch),
            "Sum": grpc.stream_unary_rpc_method_handler(self.sum),
            "Collect": grpc.stream_unary_rpc_method_handler(self.collect),
            "Refuse": grpc.stream_unary_rpc_method_handler(self.refuse),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
        }

    def _note(self, method: str, context: Any) -> None:
        self.calls[method] += 1
        self.peers.add(context.peer())
        fields: dict[str, Any] = {}
        for key, value in context.invocation_metadata():
            fields.setdefault(key, []).append(value)
        self.seen.append((fields, context.time_remaining()))
        self.started.set()

    # --- one message each way -------------------------------------------------------------------------------------

    async def echo(self, request: bytes, context: Any) -> bytes:
        """The request, and its metadata that begins with x-, first and last."""
        self._note("Echo", context)
        mine = tuple((key, value) for key, value in context.invocation_metadata() if key.startswith("x-echo"))
        await context.send_initial_metadata((("x-first", "1"), *mine))
        context.set_trailing_metadata((("x-last", "1"), *mine))
        return request

    async def who(self, _request: bytes, context: Any) -> bytes:
        """The name of the server."""
        self._note("Name", context)
        return self.name.encode()

    async def fail(self, request: bytes, context: Any) -> bytes:
        """End with the status whose name is the request."""
        self._note("Fail", context)
        code = grpc.StatusCode[request.decode()]
        await context.abort(code, f"{request.decode()} \u00fcber 100%", (("x-why", "told"), ("x-why-bin", b"\0\xff")))
        raise AssertionError

    async def flaky(self, request: bytes, context: Any) -> bytes:
        """Fail as often as asked, as unavailable, then answer."""
        self._note("Flaky", context)
        if self.failures > 0:
            self.failures -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return request

    async def wait(self, request: bytes, context: Any) -> bytes:
        """Answer when the test says so."""
        self._note("Wait", context)
        return await self._until_released(request)

    async def _until_released(self, request: bytes) -> bytes:
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request

    # --- streams --------------------------------------------------------------------------------------------------

    async def count(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """The numbers up to the one asked for."""
        self._note("Count", context)
        for number in range(int(request)):
            yield b"%d" % number

    async def flood(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """Messages of 64 KiB without end, or as many as asked for."""
        self._note("Flood", context)
        try:
            for number in itertools.count() if request == b"" else range(int(request)):
                yield b"%08d" % number + b"x" * (65_536 - 8)
                self.sent = number + 1
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.set()
            raise

    async def break_off(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """Some messages, then a status."""
        self._note("Break", context)
        yield b"one"
        yield b"two"
        await context.abort(grpc.StatusCode[request.decode()], "in the middle")

    async def watch(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """A message at once, and one when the test says so."""
        self._note("Watch", context)
        yield b"first"
        yield await self._until_released(request)

    async def sum(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        """The sum of the numbers sent."""
        self._note("Sum", context)
        return b"%d" % sum([int(request) async for request in requests])

    async def collect(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        """The first message at once, the others when the test says so; how many octets there were."""
        self._note("Collect", context)
        size = 0
        async for request in requests:
            size += len(request)
            self.taken += 1
            await self.release.wait()
        return b"%d" % size

    async def refuse(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        """End after the first message, while the client is still sending."""
        self._note("Refuse", context)
        async for _ in requests:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")
        raise AssertionError

    async def chat(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """An answer to each message, as it comes."""
        self._note("Chat", context)
        context.add_done_callback(lambda _: self.cancelled.set())
        async for request in requests:
            yield request.upper()


class Caller:
    """A channel to the gateway, with a method for each kind of call."""

    def __init__(self, channel: grpc.aio.Channel, service: str = SERVICE) -> None:
        self.channel = channel
        self._prefix = f"/{service}/"

    def unary(self, method: str, request: bytes = b"", timeout: float | None = 10.0, **options: Any) -> Any:
        """One message each way."""
        return self.channel.unary_unary(self._prefix + method)(request, timeout=timeout, **options)

    def stream(self, method: str, request: bytes = b"", timeout: float | None = 10.0, **options: Any) -> Any:
        """Many messages back."""
        return self.channel.unary_stream(self._prefix + method)(request, timeout=timeout, **options)

    def collect(self, method: str, requests: Any = None, timeout: float | None = 10.0, **options: Any) -> Any:
        """Many messages there."""
        return self.channel.stream_unary(self._prefix + method)(requests, timeout=timeout, **options)

    def chat(self, method: str, requests: Any = None, timeout: float | None = 10.0, **options: Any) -> Any:
        """Many messages both ways."""
        return self.channel.stream_stream(self._prefix + method)(requests, timeout=timeout, **options)


def configuration(
    *services: Service | str,
    retries: str = "{attempts: 0}",
    upstream: str = "",
    route: str = "",
    listener: str = "",
    more: str = "",
) -> str:
    """Everything goes to the services, in turn. Additions begin with a comma; ``more`` is a list of routes."""
    urls = ", ".join(f'"{each if isinstance(each, str) else each.url}"' for each in services)
    return f"""
version: 1
drain_timeout: 5s
telemetry: {{access_log: {{to: "off"}}}}
listeners: [{{name: public, bind: "127.0.0.1:0"{listener}}}]
upstreams:
  up: {{protocol: grpc, endpoints: [{urls}], retries: {retries}{upstream}}}
routes:
{more}
  - {{name: all, match: {{paths: ["/*"]}}, to: up{route}}}
"""


#: Puts a gateway in front of services; see the fixture.
Gateway = Callable[..., Awaitable[DataPlaneServer]]


def channel(server: DataPlaneServer, *options: tuple[str, Any]) -> grpc.aio.Channel:
    """A connection to the gateway."""
    return grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=[*OPTIONS, *options])


async def failure(call: Any) -> grpc.aio.AioRpcError:
    """How a call has failed. Raises AssertionError when it has not."""
    try:
        if hasattr(call, "__await__"):
            await call
        else:
            while await call.read() is not grpc.aio.EOF:
                pass
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the call has succeeded")
