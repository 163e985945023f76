"""forward_auth in a whole gateway on the rig: what the service is shown, and what becomes of its answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gatewright.policies.forward_auth import ForwardAuth
from gatewright.sdk import InvalidPolicy
from gatewright.snapshot.checking import CheckEnv
from gatewright.testing.rig import Rig, route, upstream

AUTH = "http://auth:9000/check?app=shop"
HEAD = b"GET /orders/%37?a=1 HTTP/1.1\r\nhost: shop.example\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nset-cookie: a=1\r\n\r\nok"


def serve(rig: Rig, lines: bytes = b"", request: bytes = HEAD, **config: Any) -> Any:
    policies = {"forward_auth": {"url": AUTH, **config}}
    rig.apply(upstream("a"), route("all", to="a", policies=policies))
    client = rig.client()
    client.send(request + lines + b"\r\n")
    return client


def fields(message: bytes) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for line in message.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        name, _, value = line.partition(b": ")
        found.setdefault(name.lower(), []).append(value)
    return found


def asked(rig: Rig) -> tuple[Any, dict[bytes, list[bytes]]]:
    auth = rig.origin("auth").accept()
    return auth, fields(auth.received)


def answer(status: bytes, lines: bytes = b"", body: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, lines, len(body), body)


def test_the_service_is_shown_the_head_and_lets_pass(rig: Rig) -> None:
    lines = (
        b"authorization: Bearer t\r\ncookie: a=1\r\nx-other: 1\r\nx-forwarded-for: 6.6.6.6\r\nx-forwarded-uri: /\r\n"
    )
    client = serve(rig, lines, add={"x-from": "shop"})
    auth, shown = asked(rig)
    assert auth.received.startswith(b"GET /check?app=shop HTTP/1.1\r\nhost: auth:9000\r\n")
    assert shown == {
        b"host": [b"auth:9000"],
        b"x-forwarded-method": [b"GET"],
        b"x-forwarded-proto": [b"http"],
        b"x-forwarded-host": [b"shop.example"],
        b"x-forwarded-uri": [b"/orders/7?a=1"],
        b"x-forwarded-for": [b"127.0.0.1"],
        b"x-from": [b"shop"],
        b"authorization": [b"Bearer t"],
        b"cookie": [b"a=1"],
        b"user-agent": [b"gatewright"],
    }
    assert not rig.origin("a").waiting
    auth.send(answer(b"204 No Content"))
    origin = rig.origin("a").accept()
    assert b"authorization: Bearer t\r\n" in origin.received
    origin.send(OK)
    assert client.received.startswith(b"HTTP/1.1 200 ")


def test_a_body_is_not_shown_and_waits(rig: Rig) -> None:
    request = b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n"
    client = serve(rig, request=request, send="all")
    client.send(b"body")
    auth, shown = asked(rig)
    assert auth.received.startswith(b"GET ")
    assert auth.received.endswith(b"\r\n\r\n")
    assert shown[b"x-forwarded-method"] == [b"POST"]
    assert shown[b"content-type"] == [b"text/plain"]
    assert {b"content-length", b"expect", b"transfer-encoding"}.isdisjoint(shown)
    auth.send(answer(b"200 OK"))
    assert rig.origin("a").accept().received.endswith(b"\r\n\r\nbody")
    client.reset()


def test_all_fields_but_those_of_the_connection_and_of_the_upstream(rig: Rig) -> None:
    lines = (
        b"x-a: 1\r\nx-a: 2\r\ncookie: a=1\r\ncookie: b=2\r\nuser-agent: curl\r\nif-none-match: *\r\nrange: bytes=0-\r\n"
        b"accept-encoding: br\r\nconnection: x-mine\r\nx-mine: 1\r\nvia: 1.0 me\r\nforwarded: for=6.6.6.6\r\n"
    )
    client = serve(rig, lines, send="all")
    _, shown = asked(rig)
    ours = {name for name in shown if name.startswith(b"x-forwarded-")}
    assert {name: values for name, values in shown.items() if name not in ours} == {
        b"host": [b"auth:9000"],
        b"x-a": [b"1", b"2"],
        b"cookie": [b"a=1; b=2"],
        b"user-agent": [b"curl"],
    }
    client.reset()


def test_fields_of_the_answer_go_upstream_and_the_clients_never_do(rig: Rig) -> None:
    client = serve(rig, b"x-user: root\r\nX_User: root\r\nx-groups: admin\r\n", copy_to_upstream=["X-User", "x-groups"])
    auth, shown = asked(rig)
    assert b"x-user" not in shown
    auth.send(answer(b"200 OK", b"x-user: anna\r\nx-user: berta\r\nx-else: 1\r\n"))
    received = fields(rig.origin("a").accept().received)
    assert received[b"x-user"] == [b"anna", b"berta"]
    assert {b"x-groups", b"x-else", b"x_user"}.isdisjoint(received)
    client.reset()


def test_fields_of_the_answer_go_back_to_the_client(rig: Rig) -> None:
    client = serve(rig, copy_to_client=["set-cookie"])
    auth, _ = asked(rig)
    auth.send(answer(b"200 OK", b"set-cookie: s=2\r\nset-cookie: t=3\r\nx-a: 1\r\n"))
    rig.origin("a").accept().send(OK)
    received = fields(client.received)
    assert received[b"set-cookie"] == [b"a=1", b"s=2", b"t=3"]
    assert b"x-a" not in received


def test_a_refusal_is_passed_on(rig: Rig) -> None:
    client = serve(rig, copy_to_client=["x-why"])
    auth, _ = asked(rig)
    lines = (
        b'www-authenticate: Bearer realm="a"\r\nset-cookie: s=1\r\nset-cookie: t=2\r\ncontent-type: text/html\r\n'
        b"server: nginx\r\nx-why: because\r\nx-user: anna\r\n"
    )
    auth.send(answer(b"401 Unauthorized", lines, b"<p>no"))
    received = fields(client.received)
    assert client.received.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert client.received.endswith(b"\r\n\r\n<p>no")
    assert received.pop(b"date")
    assert received == {
        b"content-type": [b"text/html"],
        b"content-length": [b"5"],
        b"www-authenticate": [b'Bearer realm="a"'],
        b"set-cookie": [b"s=1", b"t=2"],
        b"x-why": [b"because"],
    }
    assert not rig.origin("a").waiting
    assert [(each.status, each.reason) for each in rig.records] == [(401, "forward_auth.denied")]


@pytest.mark.parametrize("status", [b"302 Found", b"303 See Other", b"403 Forbidden", b"429 Too Many", b"304 Not Mod"])
def test_every_other_status_below_500_is_the_clients(rig: Rig, status: bytes) -> None:
    client = serve(rig, on_error="allow")
    auth, _ = asked(rig)
    auth.send(answer(status, b"location: https://login.example/\r\n"))
    assert client.received.startswith(b"HTTP/1.1 " + status[:4])
    assert fields(client.received)[b"location"] == [b"https://login.example/"]
    assert not rig.origin("a").waiting


def test_head_requests_get_no_body(rig: Rig) -> None:
    client = serve(rig, request=b"HEAD / HTTP/1.1\r\nhost: x\r\n")
    auth, _ = asked(rig)
    assert auth.received.startswith(b"GET ")
    auth.send(answer(b"403 Forbidden", body=b"nothing"))
    assert client.received.endswith(b"content-length: 7\r\n\r\n") or client.received.endswith(b"\r\n\r\n")
    assert b"nothing" not in client.received


def fail(rig: Rig, how: str) -> None:
    if how == "refused":
        rig.origin("auth").refuse()
        rig.advance(0.1)
        rig.origin("auth").refuse()
        return
    auth, _ = asked(rig)
    if how == "slow":
        rig.advance(3.0)
    elif how == "error":
        auth.send(answer(b"500 Internal Server Error", b"x-user: root\r\n", b"Traceback"))
    elif how == "large":
        auth.send(answer(b"200 OK", b"x-user: root\r\n", b"x" * 70_000))
    else:
        auth.send(b"HTTP/1.1 200 OK\r\nx-user: root\r\ncontent-length: 5\r\n\r\nhal")
        auth.reset()


FAILURES = pytest.mark.parametrize("how", ["refused", "slow", "error", "large", "cut off"])


@FAILURES
def test_without_an_answer_nobody_passes(rig: Rig, how: str) -> None:
    client = serve(rig)
    fail(rig, how)
    assert client.received.startswith(b"HTTP/1.1 503 ")
    assert json.loads(client.received.partition(b"\r\n\r\n")[2])["reason"] == "forward_auth.unavailable"
    assert b"Traceback" not in client.received
    assert not rig.origin("a").waiting


@FAILURES
def test_without_an_answer_everybody_passes_when_wanted(rig: Rig, how: str) -> None:
    client = serve(rig, b"x-user: root\r\n", on_error="allow", copy_to_upstream=["x-user"])
    fail(rig, how)
    assert b"x-user" not in rig.origin("a").accept().received
    client.reset()


def test_answers_are_counted(rig: Rig) -> None:
    client = serve(rig)
    for status in (b"200 OK", b"403 No", b"500 No"):
        asked(rig)[0].send(answer(status, b"connection: close\r\n"))
        if status == b"200 OK":
            rig.origin("a").accept().send(OK)
        client.send(HEAD + b"\r\n")
    client.reset()
    counts = rig.stats.counters["gatewright_forward_auth_answers_total"].drain()
    assert {key.partition("\x1f")[2]: value for key, value in counts.items()} == {"allowed": 1, "denied": 1, "error": 1}


def test_a_client_that_leaves_is_not_asked_about_any_more(rig: Rig) -> None:
    client = serve(rig)
    auth, _ = asked(rig)
    client.reset()
    assert auth.aborted
    assert [each.reason for each in rig.records] == ["client.gone"]


@pytest.mark.parametrize(("status", "code"), [(b"401 No", b"16"), (b"403 No", b"7"), (b"302 Found", b"2")])
def test_grpc_calls_get_a_status(rig: Rig, status: bytes, code: bytes) -> None:
    request = b"POST /a.B/C HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc-web\r\ncontent-length: 5\r\n"
    policies = {"grpc_web": {}, "forward_auth": {"url": AUTH}}
    rig.apply(upstream("a"), route("all", to="a", policies=policies))
    client = rig.client()
    client.send(request + b"\r\n" + b"\0" * 5)
    asked(rig)[0].send(answer(status, b"content-type: text/html\r\n", b"<p>no"))
    assert fields(client.received)[b"content-type"] == [b"application/grpc-web"]
    assert b"grpc-status:%b\r\ngrpc-message:forward_auth.denied: " % code in client.received
    assert b"<p>no" not in client.received


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"send": ["cookie", "X-Forwarded-For"]}, "send[1]"),
        ({"send": ["host"]}, "send[0]"),
        ({"send": ["content-length"]}, "send[0]"),
        ({"add": {"x-forwarded-method": "GET"}}, "add.x-forwarded-method"),
        ({"copy_to_upstream": ["connection"]}, "copy_to_upstream[0]"),
        ({"copy_to_upstream": ["content-length"]}, "copy_to_upstream[0]"),
        ({"copy_to_client": ["transfer-encoding"]}, "copy_to_client[0]"),
    ],
)
def test_fields_of_the_gateways_own_are_refused(config: Any, path: str) -> None:
    with pytest.raises(InvalidPolicy) as caught:
        ForwardAuth(ForwardAuth.config.model_validate({"url": AUTH, **config}), CheckEnv())
    assert caught.value.path == path
