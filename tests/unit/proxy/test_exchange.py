"""What hooks may do to an exchange: answer, wait, change bodies; and that whatever they do, messages stay apart."""

from __future__ import annotations

from typing import Any

import pytest

from gatewright.http.reply import Refused, Reply
from gatewright.sdk import BodyPolicy, ExchangeView, Policy, PolicyConfig
from gatewright.snapshot import model
from gatewright.testing.rig import Rig, Waiting, route, upstream
from gatewright.testing.wires import Peer

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
HEAD = GET.replace(b"GET", b"HEAD")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
STREAMED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n"
PUT = b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n"


#: Hooks that change a length which has been promised.
WRONG = {
    "more": lambda data, _last: data + b"!",
    "less": lambda data, _last: data[1:],
    "later": lambda _data, last: b"!" * last,
}


class Config(PolicyConfig):
    pass


class Hooks(BodyPolicy[Config]):
    """Does what the test says."""

    name, stage, config = "hooks", "transform", Config
    request: Any = None
    response: Any = None
    up: Any = None
    down: Any = None
    seen: list[ExchangeView]

    def on_request(self, ex: ExchangeView) -> Any:
        self.seen.append(ex)
        return self.request(ex) if self.request else None

    def on_response(self, ex: ExchangeView) -> Any:
        return self.response(ex) if self.response else None

    def on_request_chunk(self, ex: ExchangeView, data: bytes, last: bool) -> bytes:
        return self.up(data, last) if self.up else data

    def on_response_chunk(self, ex: ExchangeView, data: bytes, last: bool) -> bytes:
        return self.down(data, last) if self.down else data


@pytest.fixture
def hooks(rig: Rig) -> type[Hooks]:
    """The policy's class; functions set on it are called by its hooks."""

    class Own(Hooks):
        """Of one test."""

    Own.seen = []
    rig.add_policy(Own)
    rig.apply(
        route("all", to="a", policies={"hooks": {}}), upstream("a", retries=model.Retries(attempts=0), passive=None)
    )
    return Own


def does(function: Any) -> Any:
    return staticmethod(function)


def drop_length(ex: ExchangeView) -> None:
    ex.request.headers.drop(b"content-length")
    if ex.response is not None:
        ex.response.headers.drop(b"content-length")


def asked(rig: Rig, request: bytes = GET) -> tuple[Peer, Peer]:
    client = rig.client()
    client.send(request)
    return client, rig.origin("a").accept()


def body(received: bytes) -> bytes:
    return received.partition(b"\r\n\r\n")[2]


def test_a_policy_sees_the_route(rig: Rig, hooks: type[Hooks]) -> None:
    client, origin = asked(rig)
    origin.send(OK)
    assert hooks.seen[0].route_name == "all"
    assert body(client.received) == b"ok"


# --- bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [OK, STREAMED])
def test_a_response_of_another_length_is_sent_in_chunks(rig: Rig, hooks: type[Hooks], answer: bytes) -> None:
    hooks.response = does(drop_length)
    hooks.down = does(lambda data, last: data * 2 + b"!" * last)
    client, origin = asked(rig)
    origin.send(answer)
    tail = b"x: y\r\n" if answer is STREAMED else b""
    assert body(client.received) == b"4\r\nokok\r\n1\r\n!\r\n0\r\n" + tail + b"\r\n"
    assert b"content-length" not in client.received
    client.send(GET)
    origin.send(answer)
    assert client.received.count(b"HTTP/1.1 200 ") == 2


@pytest.mark.parametrize(
    "request_or_answer",
    [
        (HEAD, OK[:-2]),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"),
    ],
)
def test_a_hook_cannot_give_a_body_to_a_response_that_has_none(
    rig: Rig, hooks: type[Hooks], request_or_answer: tuple[bytes, bytes]
) -> None:
    """RFC 9112 section 6.3, rule 1: a client would take it for the next response."""
    hooks.response = does(drop_length)
    hooks.down = does(lambda _data, last: b"HTTP/1.1 200 OK\r\n\r\n" * last)
    client, origin = asked(rig, request_or_answer[0])
    origin.send(request_or_answer[1])
    assert body(client.received) == b""
    assert b"transfer-encoding" not in client.received
    assert not client.closed


def test_an_empty_response_may_get_a_body(rig: Rig, hooks: type[Hooks]) -> None:
    hooks.response = does(drop_length)
    hooks.down = does(lambda _data, last: b"more" * last)
    client, origin = asked(rig)
    origin.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert body(client.received) == b"4\r\nmore\r\n0\r\n\r\n"


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_another_length_than_promised_ends_the_response_where_it_is_seen(
    rig: Rig, hooks: type[Hooks], change: Any
) -> None:
    hooks.down = does(change)
    client, origin = asked(rig)
    origin.send(OK[:-1])
    origin.send(OK[-1:])
    assert client.aborted
    assert len(body(client.received)) <= 2
    assert rig.records[0].reason == "plugin.failed"


@pytest.mark.parametrize(("kept", "tail"), [(True, b"x: y\r\n"), (False, b"")])
def test_a_body_hook_may_put_trailers_into_the_body(rig: Rig, hooks: type[Hooks], kept: bool, tail: bytes) -> None:
    def down(data: bytes, last: bool) -> bytes:
        if not last:
            return data
        ex = hooks.seen[0]
        trailers = ex.response_trailers
        ex.response_trailers = trailers if kept else ()
        return b"%b=%b" % trailers[0]

    hooks.down = does(down)
    client, origin = asked(rig)
    origin.send(STREAMED)
    assert body(client.received) == b"2\r\nok\r\n3\r\nx=y\r\n0\r\n" + tail + b"\r\n"


def test_trailers_are_there_also_when_a_hook_has_waited(rig: Rig, hooks: type[Hooks]) -> None:
    hooks.down = does(lambda data, last: b"%d" % len(hooks.seen[0].response_trailers) if last else data)
    waiting = Waiting()
    hooks.response = does(lambda _ex: waiting)
    client, origin = asked(rig)
    origin.send(STREAMED)
    assert client.received == b""
    waiting.complete()
    assert body(client.received) == b"2\r\nok\r\n1\r\n1\r\n0\r\nx: y\r\n\r\n"


def test_a_body_hook_may_refuse_what_has_begun(rig: Rig, hooks: type[Hooks]) -> None:
    def down(data: bytes, last: bool) -> bytes:
        if last:
            raise Refused(Reply(502, "hooks.bad"))
        return data

    hooks.down = does(down)
    client, origin = asked(rig)
    origin.send(STREAMED[:-12])
    origin.send(STREAMED[-12:])
    assert body(client.received) == b"2\r\nok\r\n"
    assert client.aborted
    assert rig.records[0].reason == "hooks.bad"


def test_a_request_of_another_length_is_sent_in_chunks(rig: Rig, hooks: type[Hooks]) -> None:
    hooks.request = does(drop_length)
    hooks.up = does(lambda data, last: data * 2 + b"!" * last)
    client, origin = asked(rig, PUT + b"ab")
    client.send(b"cd")
    assert body(origin.received) == b"4\r\nabab\r\n4\r\ncdcd\r\n1\r\n!\r\n0\r\n\r\n"
    origin.send(OK)
    assert client.received.startswith(b"HTTP/1.1 200 ")


def test_a_changed_body_waits_for_its_connection_whole(rig: Rig, hooks: type[Hooks]) -> None:
    hooks.request = does(drop_length)
    hooks.up = does(lambda data, last: data.upper() + b"." * last)
    client = rig.client()
    client.send(PUT + b"ab")
    client.send(b"cd")
    origin = rig.origin("a").accept()
    assert body(origin.received) == b"2\r\nAB\r\n2\r\nCD\r\n1\r\n.\r\n0\r\n\r\n"
    client.reset()


class InFront(Policy[Config]):
    """InFront, in front of all others."""

    name, stage, config = "waits", "admission", Config
    waiting: Waiting

    def on_request(self, ex: ExchangeView) -> Any:
        return self.waiting


@pytest.mark.parametrize("connected", [True, False])
def test_no_body_hook_runs_before_its_policys_turn(rig: Rig, hooks: type[Hooks], connected: bool) -> None:
    """A policy in front waits while the body comes: what comes is held as it is."""
    if connected:
        origin = asked(rig, GET)[1]
        origin.send(OK)
    InFront.waiting = Waiting()
    rig.add_policy(InFront)
    hooks.seen.clear()
    hooks.request = does(drop_length)

    def up(data: bytes, last: bool) -> bytes:
        assert hooks.seen, "its request hook has not been called"
        return data.upper() + b"." * last

    hooks.up = does(up)
    rig.apply(route("all", to="a", policies={"waits": {}, "hooks": {}}), upstream("a", passive=None))
    client = rig.client()
    client.send(PUT + b"ab")
    client.send(b"cd")
    InFront.waiting.complete()
    origin = origin if connected else rig.origin("a").accept()
    assert body(origin.take()).endswith(b"2\r\nAB\r\n2\r\nCD\r\n1\r\n.\r\n0\r\n\r\n")
    origin.send(OK)
    assert body(client.received) == b"ok"


def test_a_body_hook_may_refuse_what_came_while_others_waited(rig: Rig, hooks: type[Hooks]) -> None:
    def up(_data: bytes, last: bool) -> bytes:
        raise Refused(Reply(422, "hooks.bad"))

    InFront.waiting = Waiting()
    rig.add_policy(InFront)
    hooks.up = does(up)
    rig.apply(route("all", to="a", policies={"waits": {}, "hooks": {}}), upstream("a"))
    client = rig.client()
    client.send(PUT + b"abcd")
    assert client.received == b""
    InFront.waiting.complete()
    assert client.received.startswith(b"HTTP/1.1 422 ")
    assert not rig.origin("a").waiting


def test_a_limit_that_is_lowered_while_the_body_comes(rig: Rig, hooks: type[Hooks]) -> None:
    def lower(ex: ExchangeView) -> None:
        ex.max_body = 3

    InFront.waiting = Waiting()
    rig.add_policy(InFront)
    hooks.request = does(lower)
    rig.apply(route("all", to="a", policies={"waits": {}, "hooks": {}}), upstream("a"))
    client = rig.client()
    client.send(PUT.replace(b"content-length: 4", b"transfer-encoding: chunked") + b"4\r\nabcd\r\n0\r\n\r\n")
    InFront.waiting.complete()
    assert client.received.startswith(b"HTTP/1.1 413 ")
    assert not rig.origin("a").waiting


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_another_length_than_promised_upstream_fails_the_request(
    rig: Rig, hooks: type[Hooks], change: Any, connected: bool
) -> None:
    """What is too much would be the beginning of somebody else's request on that connection."""
    hooks.up = does(change)
    client = rig.client()
    client.send(PUT + b"ab")
    if connected:
        rig.origin("a").accept()
    client.send(b"cd")
    assert client.received.startswith(b"HTTP/1.1 500 ")
    assert b"plugin.failed" in client.received
    for origin in rig.origin("a").connections:
        assert origin.aborted
        assert len(body(origin.received)) <= 4
    while rig.origin("a").waiting:
        rig.origin("a").refuse()


def test_a_hook_that_fails_within_a_body_ends_the_message(rig: Rig, hooks: type[Hooks]) -> None:
    def fails(data: bytes, last: bool) -> bytes:
        raise RuntimeError("no")

    hooks.down = does(fails)
    client, origin = asked(rig)
    origin.send(OK)
    assert client.aborted
    assert rig.records[0].reason == "plugin.hooks.failed"
    hooks.up = does(fails)
    client = rig.client()
    client.send(PUT + b"abcd")
    assert client.received.startswith(b"HTTP/1.1 500 ")
    rig.origin("a").refuse()


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_hook_that_fails_with_the_last_piece(rig: Rig, hooks: type[Hooks], direction: str) -> None:
    def fails(data: bytes, last: bool) -> bytes:
        if last:
            raise RuntimeError("no")
        return data

    setattr(hooks, direction, does(fails))
    client, origin = asked(rig, PUT + b"abcd")
    origin.send(OK)
    assert client.aborted or client.received.startswith(b"HTTP/1.1 500 ")
    assert rig.records[0].reason == "plugin.hooks.failed"


# --- waiting --------------------------------------------------------------------------------------------------------


class Waits:
    """Hooks that wait; ``go`` lets the oldest go on."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.waiting: list[Waiting] = []
        self.error: Exception | None = None

    def __call__(self, _ex: ExchangeView) -> Any:
        return self.wait()

    async def wait(self) -> Any:
        waiting = Waiting()
        self.waiting.append(waiting)
        result = await waiting
        if isinstance(result, Exception):
            raise result
        return result

    def go(self, result: Any = None) -> None:
        self.waiting.pop(0).complete(result)
        self.rig.settle()


@pytest.fixture
def waits(rig: Rig) -> Waits:
    return Waits(rig)


@pytest.mark.parametrize(
    ("result", "status"), [(None, b"200"), (Reply(403, "no"), b"403"), (ValueError("x"), b"500"), (7, b"500")]
)
def test_a_request_hook_that_waits(rig: Rig, hooks: type[Hooks], waits: Waits, result: Any, status: bytes) -> None:
    hooks.request = does(waits)
    client = rig.client()
    client.send(PUT + b"ab")
    client.send(b"cd")
    assert rig.origin("a").waiting == 0
    waits.go(result)
    if rig.origin("a").waiting:
        origin = rig.origin("a").accept()
        assert origin.received.endswith(b"\r\n\r\nabcd")
        origin.send(OK)
    assert client.received.startswith(b"HTTP/1.1 " + status)
    assert not client.closed


@pytest.mark.parametrize(("result", "status"), [(None, b"200"), (Reply(503, "no"), b"503"), (ValueError("x"), b"500")])
def test_a_response_hook_that_waits(rig: Rig, hooks: type[Hooks], waits: Waits, result: Any, status: bytes) -> None:
    hooks.response = does(waits)
    client, origin = asked(rig)
    origin.send(OK[:-1])
    assert not origin.transport.reading
    assert client.received == b""
    waits.go(result)
    if result is None:
        origin.send(OK[-1:])
        assert body(client.received) == b"ok"
    while waits.waiting:
        waits.go()
    assert client.received.startswith(b"HTTP/1.1 " + status)
    assert client.received.count(b"HTTP/1.1 ") == 1


def test_a_response_that_is_complete_while_its_hook_waits(rig: Rig, hooks: type[Hooks], waits: Waits) -> None:
    hooks.response = does(waits)
    client, origin = asked(rig)
    origin.send(OK)
    assert client.received == b""
    waits.go()
    assert body(client.received) == b"ok"
    assert not origin.closed


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_response_that_breaks_off_while_its_hook_waits_is_forgotten(
    rig: Rig, hooks: type[Hooks], waits: Waits, how: str
) -> None:
    """Else a second try's response would follow the first one's, in the middle of it."""
    retries = model.Retries(attempts=1, on=("reset",), backoff=0.01)
    rig.apply(route("all", to="a", policies={"hooks": {}}, retries=retries), upstream("a", passive=None))
    hooks.response = does(waits)
    client, origin = asked(rig)
    origin.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nn")
    getattr(origin, how)()
    waits.go()
    assert client.received == b""
    rig.advance(1.0)
    rig.origin("a").accept().send(OK)
    waits.go()
    assert client.received.count(b"HTTP/1.1 ") == 1
    assert body(client.received) == b"ok"


def test_who_has_gone_is_not_answered(rig: Rig, hooks: type[Hooks], waits: Waits) -> None:
    hooks.request = does(waits)
    client = rig.client()
    client.send(GET)
    client.reset()
    waits.go(Reply(403, "no"))
    assert [(record.status, record.reason) for record in rig.records] == [(499, "client.gone")]


def test_time_over_while_a_hook_waits(rig: Rig, hooks: type[Hooks], waits: Waits) -> None:
    rig.apply(route("all", to="a", timeout=2.0, policies={"hooks": {}}), upstream("a"))
    hooks.request = does(waits)
    client = rig.client()
    client.send(GET)
    rig.advance(2.1)
    assert client.received.startswith(b"HTTP/1.1 504 ")
    waits.go(Reply(403, "no"))
    assert client.received.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("error", [ValueError("x"), None])
def test_a_bug_behind_a_wait_is_500(
    rig: Rig, hooks: type[Hooks], waits: Waits, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    """Nobody above would end the exchange: it is called from a task."""

    def broken(*_: Any) -> Any:
        raise RuntimeError("a bug")

    async def fails() -> Any:
        if error is not None:
            raise error

    monkeypatch.setattr("gatewright.plugins.guard.Guard.awaited", lambda _guard, out: out)
    rig.apply(route("own", to="a", policies={"hooks": {}}), upstream("a"))
    hooks.request = does(lambda _ex: fails())
    monkeypatch.setattr("gatewright.proxy.exchange.Exchange.go", broken)
    client = rig.client()
    client.send(GET)
    assert client.received.startswith(b"HTTP/1.1 500 ")
    assert (b"internal.error" if error is None else b"plugin.failed") in client.received
    assert len(rig.world.bugs) == 1
    rig.world.bugs.clear()


# --- answers --------------------------------------------------------------------------------------------------------


def test_a_response_hook_answers_instead_of_the_endpoint(rig: Rig, hooks: type[Hooks]) -> None:
    hooks.response = does(lambda ex: Reply(502, "hooks.no") if ex.reply is None else None)
    client, origin = asked(rig)
    origin.send(OK)
    assert client.received.startswith(b"HTTP/1.1 502 ")
    assert b"hooks.no" in client.received
    assert origin.aborted
    assert not client.closed


def test_an_answer_to_head_says_how_long_it_would_be(rig: Rig, hooks: type[Hooks]) -> None:
    """RFC 9110 section 9.3.2."""
    hooks.request = does(lambda _ex: Reply(200, "", body=b"hello"))
    client = rig.client()
    client.send(HEAD)
    assert b"content-length: 5\r\n" in client.received
    assert body(client.received) == b""


def test_a_policy_that_splits_its_answer_fails(rig: Rig, hooks: type[Hooks]) -> None:
    hooks.request = does(lambda _ex: Reply(200, "", ((b"x", b"a\r\n\r\nHTTP/1.1 200 OK"),)))
    client = rig.client()
    client.send(GET)
    assert client.received.startswith(b"HTTP/1.1 500 ")
    assert client.received.count(b"HTTP/1.1 ") == 1


def test_a_policy_that_splits_the_response_fails(rig: Rig, hooks: type[Hooks]) -> None:
    hooks.response = does(lambda ex: (ex.reply is None and ex.response.headers.set(b"x", b"a\r\nb: c")) or None)
    client, origin = asked(rig)
    origin.send(OK)
    assert client.received.startswith(b"HTTP/1.1 500 ")
    assert b"\r\nb: c" not in client.received


def test_an_answer_comes_once(rig: Rig, hooks: type[Hooks]) -> None:
    client, origin = asked(rig)
    exchange = client.protocol.exchange  # type: ignore[attr-defined]
    origin.send(OK)
    before = client.received
    exchange.answer(Reply(500, "late"), 0)
    exchange.on_time_over()
    exchange.on_client_gone()
    exchange.upstream_failed("reset")
    assert client.received == before
    assert len(rig.records) == 1
