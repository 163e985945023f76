"""Policies on a small exchange of real heads: request hooks, then, where the request passes, response hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any

import pytest

from gatewright.clock import ManualClock
from gatewright.http.head import HTTP11, RequestHead, ResponseHead
from gatewright.http.headers import Fields, Headers
from gatewright.policies import BUILTIN
from gatewright.proxy.record import WorkerStats
from gatewright.proxy.shared import SharedTable
from gatewright.sdk import Consumer, Policy, Reply
from gatewright.snapshot import model
from gatewright.snapshot.env import PolicyEnv

Pairs = Iterable[tuple[bytes, bytes]]

CONSUMERS = (
    model.Consumer(
        "acme",
        groups=("gold",),
        metadata={"plan": "big"},
        credentials=(
            model.Credential("api_key", sha256(b"acme-key").hexdigest()),
            model.Credential("api_key", sha256(b"acme-next-key").hexdigest()),
        ),
    ),
    model.Consumer("initech", credentials=(model.Credential("api_key", sha256(b"initech-key").hexdigest()),)),
)


class FakeExchange:
    """An :class:`gatewright.sdk.ExchangeView`."""

    def __init__(self, target: bytes = b"/", headers: Pairs = (), **settings: Any) -> None:
        path, mark, query = target.partition(b"?")
        self.request = RequestHead(
            method=settings.pop("method", b"GET"),
            target=target,
            path=path,
            query=query if mark else None,
            authority=b"api.example.com",
            host=b"api.example.com",
            scheme=settings.pop("scheme", b"http"),
            version=HTTP11,
            headers=Headers(Fields(headers)),
        )
        self.response: ResponseHead | None = None
        self.params: dict[bytes, bytes] = {}
        self.client_addr = "192.0.2.1"
        self.consumer: Consumer | None = None
        self.request_id = b""
        self.vars: dict[str, Any] = {}
        self.reply: Reply | None = None
        self.started = 1000.0
        self.max_body = 64 * 1024 * 1024
        self.has_body = False
        self.route_name = "orders"
        for name, value in settings.items():
            setattr(self, name, value)

    @property
    def upstream_saw(self) -> list[tuple[bytes, bytes]]:
        """The request's fields as the upstream gets them."""
        return list(self.request.headers)

    @property
    def client_saw(self) -> list[tuple[bytes, bytes]]:
        """The response's fields as the client gets them."""
        assert self.response is not None
        return list(self.response.headers)

    def sent(self, name: bytes) -> list[bytes]:
        """Values of one field of the response."""
        assert self.response is not None
        return self.response.headers.all(name)


class Bench:
    """Builds policies and sends exchanges through them."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.stats = WorkerStats()
        self.table = SharedTable.private()
        self.notes: list[tuple[str, dict[str, str]]] = []
        self.snapshot = model.Snapshot(consumers=CONSUMERS)
        self.types: dict[str, type[Policy[Any]]] = {policy.name: policy for policy in BUILTIN}

    def note(self, event: str, level: str = "warning", **fields: str) -> None:
        self.notes.append((event, fields))

    def env(self, policy: str = "", scope: str = "") -> PolicyEnv:
        return PolicyEnv(self.snapshot, policy, scope, self.clock, self.table, self.stats, self.note)

    def policy(self, kind: str, config: Mapping[str, Any] | None = None, scope: str = "", **more: Any) -> Policy[Any]:
        cls = self.types[kind]
        checked = cls.config.model_validate({**(config or {}), **more})
        # As between controller and worker: written out as data, read again.
        again = cls.config.model_validate(checked.model_dump(mode="json", exclude_unset=True))
        assert again == checked
        return cls(again, self.env(kind, scope))

    def counted(self, name: str) -> dict[str, float]:
        """A counter's changes, by label values."""
        counter = self.stats.counters[f"gatewright_{name}"]
        return {key.partition("\x1f")[2]: value for key, value in counter.drain().items()}


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def exchange() -> type[FakeExchange]:
    """The class of exchanges that nothing has been done to."""
    return FakeExchange


Send = Callable[..., FakeExchange]


@pytest.fixture
def send() -> Send:
    """``send(policy, target, headers, status=…, response=…, …)`` runs one whole exchange."""

    def run(
        *policies: Policy[Any],
        target: bytes = b"/",
        headers: Pairs = (),
        status: int = 200,
        response: Pairs = (),
        record: bool = True,
        **settings: Any,
    ) -> FakeExchange:
        ex = FakeExchange(target, headers, **settings)
        reached: list[Policy[Any]] = []
        for policy in policies:
            reached.append(policy)
            out = policy.on_request(ex)
            assert out is None or type(out) is Reply
            if out is not None:
                ex.reply = out
                break
        reply = ex.reply
        if reply is not None:
            ex.response = ResponseHead(reply.status, Headers())
            ex.response.headers.added.extend(reply.headers)
        else:
            ex.response = ResponseHead(status, Headers(Fields(response)))
        for policy in reversed(reached):
            assert policy.on_response(ex) is None
        if record:
            for policy in policies:
                policy.on_record(ex)
        for name, value in [*ex.request.headers.added, *ex.response.headers.added]:
            Headers().add(name, value)  # whatever was put there directly is legal
        return ex

    return run


@pytest.fixture
def reason() -> Callable[[FakeExchange], tuple[int, str] | None]:
    """Status and reason of the gateway's own answer; None when there was none."""

    def of(ex: FakeExchange) -> tuple[int, str] | None:
        return (ex.reply.status, ex.reply.reason) if ex.reply is not None else None

    return of
