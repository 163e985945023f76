"""Closes, resets, time limits, policies and new configurations in any order.

Whatever happens when, every request that reached an exchange leaves exactly one record, the client sees at most one
response to it, and nothing stays behind: no connection in flight, no waiter, no deadline, no task.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gatewright.http.reply import Reply
from gatewright.sdk import ExchangeView, Outcome, Policy, PolicyConfig
from gatewright.snapshot import model
from gatewright.testing.rig import Rig, Waiting, route, upstream
from gatewright.testing.wires import Peer

REQUESTS = (
    b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
    b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST /wait HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab",
    b"GET /ask HTTP/1.1\r\nhost: x\r\ncookie: a=1\r\n\r\n",
    b"POST /ask HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab",
    b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    b"GET /none\x00 HTTP/1.1\r\nhost: x\r\n\r\n",
)
MORE = (b"cd", b"2\r\ncd\r\n0\r\n\r\n", b"0\r\n\r\n", b"x" * 70_000, b"\x81\x80\0\0\0\0", REQUESTS[0])
ORIGINS = ("a", "b", "f", "auth")
ASKS = {"forward_auth": {"url": "http://auth", "copy_to_client": ["x-a"]}}
RESPONSES = (
    b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nab",
    b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x81\x00",
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nab",
    b"garbage\r\n\r\n",
    b"cd",
    b"0\r\n\r\n",
    b"y" * 300_000,
)


class Config(PolicyConfig):
    pass


class Wait(Policy[Config]):
    """Waits for the test before and after the upstream."""

    name, stage, config = "wait", "limit", Config
    waits: list[Waiting]

    def on_request(self, ex: ExchangeView) -> Outcome:
        return self._wait()

    def on_response(self, ex: ExchangeView) -> Outcome:
        return self._wait()

    async def _wait(self) -> Any:
        waiting = Waiting()
        self.waits.append(waiting)
        return await waiting


class AnyOrder(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        self.rig.add_policy(Wait)
        Wait.waits = []
        self.began: list[int] = []
        self.apply(timeout=None, attempts=1)
        self.clients: list[Peer] = []

    @rule(timeout=st.sampled_from([None, 3.0]), attempts=st.integers(0, 2))
    def apply(self, timeout: float | None, attempts: int) -> None:
        retries = model.Retries(attempts=attempts, on=("connect", "reset", "timeout", "503"))
        self.rig.apply(
            route("wait", "/wait", to="u", timeout=timeout, retries=retries, policies={"wait": {}}),
            route("ask", "/ask", to="u", timeout=timeout, retries=retries, policies=ASKS),
            route("all", to="u", timeout=timeout, retries=retries, websocket_idle=5.0),
            upstream("u", "a", "b", failover="f", pool=model.Pool(max_connections=2, wait_timeout=2.0)),
            upstream("f"),
        )

    @precondition(lambda self: len(self.clients) < 4)
    @rule()
    def connect(self) -> None:
        self.clients.append(self.rig.client())

    @rule(
        request=st.sampled_from(REQUESTS),
        accept=st.booleans(),
        responses=st.lists(st.sampled_from(RESPONSES[:-1]), max_size=2),
    )
    def exchange_begins(self, request: bytes, accept: bool, responses: list[bytes]) -> None:
        """The usual beginning, so that the other rules find something to disturb."""
        client = self.rig.client()
        self.clients = [*self.clients, client][-4:]
        client.send(request)
        for name in ORIGINS if accept else ():
            while self.rig.origin(name).waiting:
                origin = self.rig.origin(name).accept()
                for response in responses:
                    origin.send(response)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), text=st.sampled_from(REQUESTS + MORE))
    def client_sends(self, data: st.DataObject, text: bytes) -> None:
        data.draw(st.sampled_from(self.clients)).send(text)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), how=st.sampled_from(["end", "reset", "close", "stall", "unstall"]))
    def client_does(self, data: st.DataObject, how: str) -> None:
        getattr(data.draw(st.sampled_from(self.clients)), how)()

    @rule(name=st.sampled_from(ORIGINS), accept=st.booleans())
    def origin_answers_the_connection(self, name: str, accept: bool) -> None:
        origin = self.rig.origin(name)
        if origin.waiting:
            if accept:
                origin.accept()
            else:
                origin.refuse()

    @rule(name=st.sampled_from(ORIGINS), text=st.sampled_from(RESPONSES), data=st.data())
    def origin_sends(self, name: str, text: bytes, data: st.DataObject) -> None:
        peers = self.rig.origin(name).connections
        if peers:
            data.draw(st.sampled_from(peers[-4:])).send(text)

    @rule(
        name=st.sampled_from(ORIGINS),
        how=st.sampled_from(["end", "reset", "close", "stall", "unstall"]),
        data=st.data(),
    )
    def origin_does(self, name: str, how: str, data: st.DataObject) -> None:
        peers = self.rig.origin(name).connections
        if peers:
            getattr(data.draw(st.sampled_from(peers[-4:])), how)()

    @precondition(lambda self: Wait.waits)
    @rule(reply=st.sampled_from([None, Reply(403, "wait.no")]), data=st.data())
    def policy_goes_on(self, reply: Reply | None, data: st.DataObject) -> None:
        waiting = Wait.waits.pop(data.draw(st.integers(0, len(Wait.waits) - 1)))
        waiting.complete(reply)
        self.rig.settle()

    @rule(seconds=st.sampled_from([0.05, 0.5, 4.0, 20.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.rig.advance(seconds)

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert not self.rig.world.bugs, self.rig.world.bugs
        seen = [id(record) for record in self.rig.records]
        assert len(seen) == len(set(seen)), "an exchange was recorded twice"
        for record in self.rig.records:
            assert record.ended
            assert record.status, record.reason
        runtime = self.rig.runtime
        assert runtime is not None
        for each in runtime.upstreams.values():
            for endpoint in each.endpoints:
                assert endpoint.in_flight >= 0
                assert endpoint.pool.open >= len(endpoint.pool.idle) + endpoint.pool.connecting
                assert endpoint.pool.open <= endpoint.pool.most_open

    def teardown(self) -> None:
        while Wait.waits:
            Wait.waits.pop().complete()
        for client in self.rig.clients:
            if not client.closed:
                client.reset()
        while Wait.waits:
            Wait.waits.pop().complete()
        for name in ORIGINS:
            while self.rig.origin(name).waiting:
                self.rig.origin(name).refuse()
        self.rig.advance(10)
        self.rig.check_idle()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
