"""Two gRPC servers for the example, without generated code: messages are plain octets.

Run with a Python that has grpcio: ``python examples/grpc/server.py``. Ctrl-C ends it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent import futures

import grpc


class Orders:
    """The methods of ``shop.Orders``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._calls = itertools.count(1)

    def get(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """Which server this is, and how much time it was given. Every fifth call is unavailable, once."""
        if next(self._calls) % 5 == 0:
            context.abort(grpc.StatusCode.UNAVAILABLE, "try somebody else")
        left = context.time_remaining()
        return f"{self.name} got {request!r} and {left if left is None else round(left, 1)} s".encode()

    def watch(self, _request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """A message a second, until the client has enough."""
        for number in itertools.count(1):
            if not context.is_active():
                return
            yield f"{self.name}: {number}".encode()
            time.sleep(1)


def serve(name: str, port: int) -> tuple[grpc.Server, int]:
    """Start a server. Returns it and its port, for 0 is any that is free."""
    orders = Orders(name)
    server = grpc.server(futures.ThreadPoolExecutor(8))
    handlers = {
        "Get": grpc.unary_unary_rpc_method_handler(orders.get),
        "Watch": grpc.unary_stream_rpc_method_handler(orders.watch),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Orders", handlers),))
    taken = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, taken


def main() -> None:
    """Serve on the ports that gateway.yaml names."""
    for server, _ in [serve("first", 50051), serve("second", 50052)]:
        server.wait_for_termination()


if __name__ == "__main__":
    main()
