"""Foreign hooks and conditions, on the rig: what a plugin does wrong ends one request and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from gatewright.ipc.messages import Log
from gatewright.plugins.guard import compile_hook
from gatewright.policies.cors import Cors, CorsConfig
from gatewright.sdk import BodyPolicy, Policy, PolicyConfig, Refused, Reply
from gatewright.snapshot.model import PolicySpec
from gatewright.testing.rig import Rig, Waiting, route, upstream

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
GET_MARKED = b"GET / HTTP/1.1\r\nhost: x\r\nx-mark: 1\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"
MARKED = "'x-mark' in request.headers"


class NoConfig(PolicyConfig):
    """None."""


def make(**hooks: Any) -> type[Policy[Any]]:
    """A policy ``odd`` with these hooks."""
    namespace = {"__doc__": "Odd.", "name": "odd", "stage": "authorize", "config": NoConfig, **hooks}
    base = BodyPolicy if any(name.endswith("_chunk") for name in hooks) else Policy
    return type("Odd", (base,), namespace)


def serve(rig: Rig, policy: type[Policy[Any]], when: str = "", *more: PolicySpec) -> None:
    rig.add_policy(policy)
    policies = (*more, PolicySpec("odd", {}, when))
    rig.apply(upstream("a"), route("all", "/*", "a", policies=policies))


def exchange(rig: Rig, request: bytes = GET) -> bytes:
    """What the client receives when the upstream, if it is asked, answers 204."""
    client = rig.client()
    client.send(request)
    origin = rig.origin("a")
    if origin.waiting:
        origin.accept().send(NO_CONTENT)
    return bytes(client.received)


def notes(rig: Rig) -> list[Log]:
    return [message for message in rig.messages if isinstance(message, Log) and message.event == "plugin.failed"]


def counted(rig: Rig, name: str) -> list[float]:
    return list(rig.stats.counters[f"gatewright_{name}"].drain().values())


def broken(self: Any, ex: Any) -> Any:
    raise RuntimeError("broken on purpose")


def odd_result(self: Any, ex: Any) -> Any:
    return "yes"


async def broken_later(self: Any, ex: Any) -> Any:
    raise RuntimeError("broken on purpose")


async def odd_result_later(self: Any, ex: Any) -> Any:
    return "yes"


@pytest.mark.parametrize("hook", [broken, odd_result, broken_later, odd_result_later], ids=lambda hook: hook.__name__)
@pytest.mark.parametrize("name", ["on_request", "on_response"])
def test_a_failing_hook_becomes_a_500(rig: Rig, hook: Any, name: str) -> None:
    serve(rig, make(**{name: hook}))
    received = exchange(rig)
    assert received.startswith(b"HTTP/1.1 500 ")
    assert b'"plugin.odd.failed"' in received
    assert b"on purpose" not in received
    assert [record.reason for record in rig.records] == ["plugin.odd.failed"]
    assert counted(rig, "plugin_failures_total") == [1.0]
    (note,) = notes(rig)
    assert note.fields["policy"] == "odd"
    assert note.fields["hook"] == name
    if hook in {broken, broken_later}:
        assert "RuntimeError: broken on purpose" in note.fields["error"]
        assert __file__ in note.fields["traceback"]


def test_failures_are_all_counted_but_reported_once_a_second(rig: Rig) -> None:
    serve(rig, make(on_request=broken))
    for _ in range(5):
        assert exchange(rig).startswith(b"HTTP/1.1 500 ")
    assert [note.fields["unreported"] for note in notes(rig)] == ["0"]
    rig.advance(1.5)
    exchange(rig)
    assert [note.fields["unreported"] for note in notes(rig)] == ["0", "4"]
    assert counted(rig, "plugin_failures_total") == [6.0]


def test_a_failing_record_hook_harms_nobody(rig: Rig) -> None:
    serve(rig, make(on_record=broken))
    assert exchange(rig).startswith(b"HTTP/1.1 204 ")
    assert len(notes(rig)) == 1
    assert counted(rig, "plugin_failures_total") == [1.0]


def test_async_hooks_wait_and_go_on(rig: Rig) -> None:
    waiting = Waiting()

    async def on_request(self: Any, ex: Any) -> Reply | None:
        answer: Reply | None = await waiting
        return answer

    serve(rig, make(on_request=on_request))
    client = rig.client()
    client.send(GET)
    assert not rig.origin("a").waiting
    waiting.complete(Reply(403, "odd.later"))
    assert client.received.startswith(b"HTTP/1.1 403 ")


def test_built_in_hooks_are_not_wrapped() -> None:
    policy = Cors(CorsConfig(origins=("*",)), env=None)  # type: ignore[arg-type]
    guards: dict[Any, Any] = {}
    assert compile_hook(policy, "on_request", None, None, guards) == policy.on_request  # type: ignore[arg-type]
    assert not guards


def test_a_hook_of_ours_that_raises_is_our_bug(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cors, "on_request", broken)
    rig.apply(upstream("a"), route("all", "/*", "a", policies={"cors": {"origins": ["*"]}}))
    assert b'"internal.error"' in exchange(rig)
    assert [str(bug) for _, bug in rig.world.bugs] == ["broken on purpose"]
    rig.world.bugs.clear()


@pytest.mark.parametrize("name", ["on_request", "on_response"])
def test_a_failing_hook_under_a_condition_is_guarded_too(rig: Rig, name: str) -> None:
    serve(rig, make(**{name: broken}), "true")
    assert b'"plugin.odd.failed"' in exchange(rig)
    assert len(notes(rig)) == 1


# --- when: --------------------------------------------------------------------------------------------------------


def refuse(self: Any, ex: Any) -> Reply:
    return Reply(403, "odd.refused")


def mark(self: Any, ex: Any) -> None:
    ex.response.headers.set(b"x-marked", b"yes")


def test_a_condition_decides_whether_the_policy_applies(rig: Rig) -> None:
    serve(rig, make(on_request=refuse), MARKED)
    assert exchange(rig).startswith(b"HTTP/1.1 204 ")
    assert exchange(rig, GET_MARKED).startswith(b"HTTP/1.1 403 ")


def test_a_condition_holds_for_policies_with_only_a_response_hook(rig: Rig) -> None:
    serve(rig, make(on_response=mark), MARKED)
    assert b"x-marked" not in exchange(rig)
    assert b"x-marked: yes\r\n" in exchange(rig, GET_MARKED)


def test_it_is_decided_once(rig: Rig) -> None:
    """A policy that removes what its own condition asks for still gets its later hooks."""
    seen: list[str] = []

    def on_request(self: Any, ex: Any) -> None:
        ex.request.headers.drop(b"x-mark")
        seen.append("request")

    def on_response(self: Any, ex: Any) -> None:
        seen.append("response")

    def on_record(self: Any, ex: Any) -> None:
        seen.append("record")

    serve(rig, make(on_request=on_request, on_response=on_response, on_record=on_record), MARKED)
    exchange(rig)
    assert seen == []
    exchange(rig, GET_MARKED)
    assert seen == ["request", "response", "record"]


def test_later_hooks_are_not_called_when_the_policys_turn_never_came(rig: Rig) -> None:
    seen: list[str] = []

    def on_record(self: Any, ex: Any) -> None:
        seen.append("record")

    hooks = make(on_request=refuse, on_record=on_record)
    serve(rig, hooks, "true", PolicySpec("ip_filter", {"deny": ["127.0.0.1"]}))
    assert b"ip_filter.denied" in exchange(rig)
    assert seen == []


@pytest.mark.parametrize("when", ["request.headers['x-none'] == 'a'", "request.method"])
def test_a_condition_that_cannot_be_evaluated_counts_as_true(rig: Rig, when: str) -> None:
    serve(rig, make(on_request=refuse), when)
    assert exchange(rig).startswith(b"HTTP/1.1 403 ")
    assert counted(rig, "policy_condition_failures_total") == [1.0]


@pytest.mark.parametrize(("request_", "expected"), [(GET, b"abc"), (GET_MARKED, b"ABC")])
def test_body_hooks_under_a_condition(rig: Rig, request_: bytes, expected: bytes) -> None:
    def on_response_chunk(self: Any, ex: Any, data: bytes, last: bool) -> bytes:
        return data.upper()

    serve(rig, make(on_response_chunk=on_response_chunk), MARKED)
    client = rig.client()
    client.send(request_)
    rig.origin("a").accept().send(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc")
    assert client.received.endswith(b"\r\n\r\n" + expected)


def test_a_body_hook_may_refuse(rig: Rig) -> None:
    def on_request_chunk(self: Any, ex: Any, data: bytes, last: bool) -> bytes:
        raise Refused(Reply(422, "odd.body", detail="Not like this"))

    serve(rig, make(on_request_chunk=on_request_chunk))
    client = rig.client()
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc")
    assert client.received.startswith(b"HTTP/1.1 422 ")
    assert b"Not like this" in client.received
    assert [record.reason for record in rig.records] == ["odd.body"]
    assert notes(rig) == []
    rig.origin("a").refuse()


def test_a_failing_body_hook_ends_the_message(rig: Rig) -> None:
    def on_response_chunk(self: Any, ex: Any, data: bytes, last: bool) -> bytes:
        raise RuntimeError("broken on purpose")

    serve(rig, make(on_response_chunk=on_response_chunk))
    client = rig.client()
    client.send(GET)
    rig.origin("a").accept().send(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc")
    assert not client.received.endswith(b"abc")
    assert client.closed
    assert [record.reason for record in rig.records] == ["plugin.odd.failed"]
    assert len(notes(rig)) == 1
