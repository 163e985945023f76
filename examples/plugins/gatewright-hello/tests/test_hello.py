"""The policy in a whole gateway, on scripted connections: see gatewright.testing."""

from hashlib import sha256

import pytest
from gatewright_hello import Hello

from gatewright.snapshot.model import Consumer, Credential
from gatewright.testing.rig import Rig, route, upstream


@pytest.fixture
def greeting(rig: Rig) -> Rig:
    rig.add_policy(Hello)
    acme = Consumer("acme", credentials=(Credential("api_key", sha256(b"secret").hexdigest()),))
    policies = {"api_key": {"optional": True}, "hello": {"strangers": False}}
    rig.apply(acme, upstream("a"), route("all", "/*", "a", policies=policies))
    return rig


def test_consumers_are_greeted(greeting: Rig) -> None:
    client = greeting.client()
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\nx-api-key: secret\r\n\r\n")
    greeting.origin("a").accept().send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert b"\r\nx-greeting: Hello, acme\r\n" in client.received


def test_strangers_are_not_let_in(greeting: Rig) -> None:
    client = greeting.client()
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert client.received.startswith(b"HTTP/1.1 403 ")
    assert b'"hello.stranger"' in client.received
