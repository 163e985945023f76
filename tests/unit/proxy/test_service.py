"""A policy asks another service: every order of events, on the rig."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest

from gatewright.ipc.messages import BreakerChange
from gatewright.proxy import ports
from gatewright.sdk import Env, ExchangeView, Policy, PolicyConfig, Reply, ServiceError, ServiceSpec
from gatewright.testing.rig import Rig, route, upstream

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
AUTH = "http://auth:9000"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-user: anna\r\n\r\nok"


class AsksConfig(PolicyConfig):
    """Whom, and how."""

    url: str = f"{AUTH}/check?a=1"
    timeout: float = 2.0
    max_body: int = 1000
    repeatable: bool = False
    method: str = "GET"
    body: str = ""


class Asks(Policy[AsksConfig]):
    """Asks, and lets pass when there is an answer."""

    __slots__ = ("_body", "_method", "_service")
    name, stage, config = "asks", "authorize", AsksConfig
    heard: ClassVar[list[Any]] = []
    headers: ClassVar[Sequence[tuple[bytes, bytes]]] = ()

    def __init__(self, config: AsksConfig, env: Env) -> None:
        self._method, self._body = config.method.encode(), config.body.encode()
        self._service = env.service(*self.services(config))

    @classmethod
    def services(cls, config: AsksConfig) -> Sequence[ServiceSpec]:
        return (ServiceSpec(config.url, config.timeout, config.max_body, config.repeatable),)

    async def on_request(self, ex: ExchangeView) -> Reply | None:
        try:
            answer = await self._service.ask(self._method, b"", self.headers, self._body)
        except (ServiceError, ValueError, asyncio.CancelledError) as error:
            self.heard.append(getattr(error, "reason", type(error).__name__))
            if isinstance(error, asyncio.CancelledError):
                raise
            return Reply(503, "asks.failed")
        self.heard.append((answer.status, answer.get(b"x-user"), answer.body))
        return None


Serve = Callable[..., Any]


@pytest.fixture
def asks(rig: Rig) -> Serve:
    """``asks(timeout=…)`` serves one route whose policy asks; gives the rig's client, whose request is sent."""
    rig.add_policy(Asks)
    Asks.heard = []
    Asks.headers = ()

    def serve(**config: Any) -> Any:
        rig.apply(upstream("a"), route("all", to="a", policies={"asks": config}))
        client = rig.client()
        client.send(GET)
        return client

    return serve


def status(client: Any) -> bytes:
    return bytes(client.received[9:12])


def finish(rig: Rig, client: Any) -> None:
    rig.origin("a").accept().send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert status(client) == b"204"


def test_the_question_and_the_answer(rig: Rig, asks: Serve) -> None:
    client = asks()
    auth = rig.origin("auth").accept()
    assert auth.received == b"GET /check?a=1 HTTP/1.1\r\nhost: auth:9000\r\nuser-agent: gatewright\r\n\r\n"
    assert not rig.origin("a").waiting
    auth.send(OK)
    assert Asks.heard == [(200, b"anna", b"ok")]
    finish(rig, client)
    assert [each.route_name for each in rig.records] == ["all"]


def test_a_question_with_a_body(rig: Rig, asks: Serve) -> None:
    Asks.headers = ((b"content-type", b"text/plain"), (b"user-agent", b"me"))
    client = asks(method="POST", body="token=1")
    assert rig.origin("auth").accept().received == (
        b"POST /check?a=1 HTTP/1.1\r\nhost: auth:9000\r\n"
        b"content-type: text/plain\r\nuser-agent: me\r\ncontent-length: 7\r\n\r\ntoken=1"
    )
    client.reset()


def test_a_post_without_a_body_says_so(rig: Rig, asks: Serve) -> None:
    client = asks(method="POST")
    assert b"content-length: 0\r\n" in rig.origin("auth").accept().received
    client.reset()


def test_an_answer_in_pieces(rig: Rig, asks: Serve) -> None:
    client = asks()
    auth = rig.origin("auth").accept()
    auth.send_split(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    auth.send_split(b"HTTP/1.1 401 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n1\r\n!\r\n0\r\n\r\n")
    assert Asks.heard == [(401, None, b"no!")]
    finish(rig, client)


def test_an_answer_that_ends_with_its_connection(rig: Rig, asks: Serve) -> None:
    client = asks()
    auth = rig.origin("auth").accept()
    auth.send(b"HTTP/1.0 200 OK\r\n\r\nall")
    assert Asks.heard == []
    auth.close()
    assert Asks.heard == [(200, None, b"all")]
    finish(rig, client)


def test_connections_are_kept_and_counted(rig: Rig, asks: Serve) -> None:
    client = asks()
    auth = rig.origin("auth").accept()
    auth.send(OK)
    finish(rig, client)
    client.send(GET)
    auth.send(OK)
    assert len(Asks.heard) == 2
    (endpoint,) = rig.runtime.upstreams[f"service {AUTH}"].endpoints  # type: ignore[union-attr]
    assert (endpoint.pool.created, endpoint.pool.reused, sum(endpoint.stats.counts.values())) == (1, 1, 2)
    client.reset()


def test_a_connection_that_was_closed_meanwhile_costs_no_question(rig: Rig, asks: Serve) -> None:
    client = asks()
    auth = rig.origin("auth").accept()
    auth.send(OK)
    finish(rig, client)
    client.send(GET)
    auth.close()  # before it has seen the question
    rig.origin("auth").accept().send(OK)
    assert len(Asks.heard) == 2
    client.reset()


@pytest.mark.parametrize(("repeatable", "again"), [(False, False), (True, True)])
def test_whether_a_post_is_asked_again_is_the_policys_to_say(
    rig: Rig, asks: Serve, repeatable: bool, again: bool
) -> None:
    client = asks(method="POST", body="x", repeatable=repeatable)
    rig.origin("auth").accept().reset()
    rig.advance(0.1)
    assert bool(rig.origin("auth").waiting) is again
    if again:
        rig.origin("auth").accept().send(OK)
        assert Asks.heard == [(200, b"anna", b"ok")]
        client.reset()
    else:
        assert Asks.heard == ["upstream.reset"]
        assert status(client) == b"503"


def test_a_service_that_cannot_be_reached(rig: Rig, asks: Serve) -> None:
    client = asks()
    rig.origin("auth").refuse()
    rig.advance(0.1)
    rig.origin("auth").refuse()
    assert Asks.heard == ["upstream.connect"]
    assert status(client) == b"503"


def test_a_service_that_breaks_off(rig: Rig, asks: Serve) -> None:
    client = asks()
    auth = rig.origin("auth").accept()
    auth.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
    auth.reset()
    assert Asks.heard == ["upstream.truncated"]
    assert status(client) == b"503"


def test_an_answer_that_is_not_http(rig: Rig, asks: Serve) -> None:
    client = asks()
    rig.origin("auth").accept().send(b"hello\r\n\r\n")
    assert Asks.heard == ["upstream.malformed"]
    assert status(client) == b"503"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n" + b"x" * 1001,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1f4\r\n" + b"x" * 500 + b"\r\n1f5\r\n" + b"x" * 501,
        b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1001,
    ],
)
def test_an_answer_that_is_too_large_is_not_read_to_its_end(rig: Rig, asks: Serve, answer: bytes) -> None:
    client = asks()
    auth = rig.origin("auth").accept()
    auth.send(answer)
    assert Asks.heard == ["upstream.too_large"]
    assert auth.aborted
    assert status(client) == b"503"


def test_the_largest_answer_passes(rig: Rig, asks: Serve) -> None:
    client = asks()
    rig.origin("auth").accept().send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b"x" * 1000)
    assert Asks.heard == [(200, None, b"x" * 1000)]
    client.reset()


@pytest.mark.parametrize("stage", ["connecting", "silent", "dripping"])
def test_time_is_over_whatever_it_was_spent_on(rig: Rig, asks: Serve, stage: str) -> None:
    client = asks()
    auth = rig.origin("auth").accept() if stage != "connecting" else None
    for _ in range(4):
        rig.advance(0.4)
        if stage == "dripping" and auth is not None:
            auth.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert Asks.heard == []
    rig.advance(0.8)
    assert Asks.heard == ["upstream.timeout"]
    assert status(client) == b"503"
    assert auth is None or auth.aborted
    (endpoint,) = rig.runtime.upstreams[f"service {AUTH}"].endpoints  # type: ignore[union-attr]
    assert endpoint.record.failures == 1
    if stage == "connecting":
        rig.origin("auth").refuse(ports.CONNECT_TIMEOUT)


def test_a_client_that_leaves_gives_the_question_up(rig: Rig, asks: Serve) -> None:
    client = asks()
    auth = rig.origin("auth").accept()
    client.reset()
    assert auth.aborted
    assert Asks.heard == ["CancelledError"]
    (endpoint,) = rig.runtime.upstreams[f"service {AUTH}"].endpoints  # type: ignore[union-attr]
    assert (endpoint.in_flight, endpoint.pool.open, endpoint.record.failures) == (0, 0, 0)


def test_a_client_that_leaves_before_there_is_a_connection(rig: Rig, asks: Serve) -> None:
    client = asks()
    client.reset()
    auth = rig.origin("auth").accept()
    assert auth.received == b""
    assert Asks.heard == ["CancelledError"]


def test_a_route_whose_time_is_over_gives_the_question_up(rig: Rig, asks: Serve) -> None:
    rig.apply(upstream("a"), route("all", to="a", timeout=1.0, policies={"asks": {}}))
    client = rig.client()
    client.send(GET)
    auth = rig.origin("auth").accept()
    rig.advance(1.5)
    assert status(client) == b"504"
    assert auth.aborted


def test_a_question_survives_a_change_of_the_configuration(rig: Rig, asks: Serve) -> None:
    client = asks()
    auth = rig.origin("auth").accept()
    before = rig.runtime.upstreams[f"service {AUTH}"]  # type: ignore[union-attr]
    rig.apply(upstream("a"), route("all", to="a", policies={"asks": {"timeout": 9.0}}))
    assert rig.runtime.upstreams[f"service {AUTH}"] is before  # type: ignore[union-attr]
    auth.send(OK)
    assert Asks.heard == [(200, b"anna", b"ok")]
    finish(rig, client)


def test_a_question_survives_that_nobody_asks_any_more(rig: Rig, asks: Serve) -> None:
    client = asks()
    auth = rig.origin("auth").accept()
    rig.apply(upstream("a"), route("all", to="a"))
    assert f"service {AUTH}" not in rig.runtime.upstreams  # type: ignore[union-attr]
    auth.send(OK)
    assert Asks.heard == [(200, b"anna", b"ok")]
    finish(rig, client)


def test_the_time_of_the_question_is_not_the_endpoints(rig: Rig, asks: Serve) -> None:
    client = asks()
    rig.advance(1.0)
    rig.origin("auth").accept().send(OK)
    rig.advance(0.25)
    finish(rig, client)
    assert rig.records[0].upstream_seconds == pytest.approx(0.25)


def test_a_service_that_fails_is_left_alone(rig: Rig, asks: Serve) -> None:
    client = asks()
    for _ in range(5):
        rig.origin("auth").accept().send(b"HTTP/1.1 500 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        rig.origin("a").accept().send(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        client.send(GET)
    assert Asks.heard[-1] == "upstream.circuit_open"
    assert not rig.origin("auth").waiting
    (change,) = (message for message in rig.messages if isinstance(message, BreakerChange))
    assert (change.upstream, change.state) == (f"service {AUTH}", "open")


def test_no_route_leads_to_a_service(rig: Rig, asks: Serve) -> None:
    with pytest.raises(KeyError):
        rig.apply(upstream("a"), route("all", to=f"service {AUTH}"))


@pytest.mark.parametrize(
    "headers",
    [
        ((b"x-a", b"1\r\nx-b: 2"),),
        ((b"X-A", b"1"),),
        ((b"host", b"other"),),
        ((b"content-length", b"9"),),
        ((b"transfer-encoding", b"chunked"),),
        ((b"connection", b"close"),),
    ],
)
def test_what_cannot_be_sent_is_not(rig: Rig, asks: Serve, headers: Any) -> None:
    Asks.headers = headers
    client = asks()
    assert Asks.heard == ["ValueError"]
    assert not rig.origin("auth").waiting
    assert status(client) == b"503"


@pytest.mark.parametrize("method", ["", "GE T", "GET\r\n"])
def test_what_is_no_method_is_not_sent(rig: Rig, asks: Serve, method: str) -> None:
    client = asks(method=method)
    assert Asks.heard == ["ValueError"]
    assert not rig.origin("auth").waiting
    assert status(client) == b"503"


@pytest.mark.parametrize("path", [b"check", b"/a b", b"/a\r\nx: y", b"/\xc3\xa9", b"/a#b"])
async def test_what_is_no_path_is_not_sent(rig: Rig, asks: Serve, path: bytes) -> None:
    asks().reset()
    policy = rig.runtime.routes["all"].policies[0]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="not a path"):
        await policy._service.ask(b"GET", path)
