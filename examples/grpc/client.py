"""Calls through the gateway, and what they end with. Run beside ``server.py`` and the gateway."""

from __future__ import annotations

import sys

import grpc


def main(address: str = "127.0.0.1:8000") -> None:
    """Make some calls."""
    with grpc.insecure_channel(address) as channel:
        get = channel.unary_unary("/shop.Orders/Get")
        for number in range(12):  # one connection, two servers; what one refuses the other does
            print(get(b"order %d" % number, metadata=(("x-api-key", "shop-demo-key"),)).decode())
        for metadata, method in (((), "Get"), ((("x-api-key", "shop-demo-key"),), "Unknown")):
            try:
                channel.unary_unary(f"/shop.Orders/{method}")(b"", metadata=metadata)
            except grpc.RpcError as error:
                print(error.code().name, "-", error.details())
        for message in channel.unary_stream("/shop.Orders/Watch")(b"", timeout=2.5):
            print(message.decode())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except grpc.RpcError as error:
        print(error.code().name, "-", error.details())  # DEADLINE_EXCEEDED: the stream was watched for long enough
